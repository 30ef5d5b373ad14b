"""Row 23: ten thousand broken model files, and a gateway that is given some of them to load."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from tests.faults.cast import CHAT, chat, fake
from tests.faults.ledger import Ledger, Manner
from tests.faults.outside import zombies
from tests.faults.table import Figure, Stage, exactly, row, told
from tests.faults.tiny_models import write_tiny_bert, write_tiny_gguf
from tests.gateway_process import GatewayProcess

SEED = 23
_RUN_S = 3000
_FAILED = ("refused 503 model_failed", "refused 503 insufficient_memory")


@row(23, "mutated GGUF and safetensors files")
def mutants(stage: Stage) -> list[Figure]:
    folder = stage.folder / "tiny"
    folder.mkdir()
    gguf = write_tiny_gguf(write_tiny_bert(folder), stage.folder / "tiny.gguf")
    kept = stage.folder / "kept"
    kept.mkdir()
    counts = {"llama_cpp": stage.size(9000, 100), "sentence": stage.size(1000, 0)}
    files = {"llama_cpp": gguf, "sentence": folder / "model.safetensors"}
    endings: Counter[str] = Counter()
    for backend, file in files.items():
        if not counts[backend]:
            continue
        endings += _load_all(file, backend, counts[backend], kept)
    figures = [told(f"{sum(endings.values())} in children of a harness", dict(endings))]
    figures.append(exactly("hung", endings["hung"], 0))
    return figures + _serve(stage, sorted(kept.iterdir()))


def _load_all(file: Path, backend: str, count: int, kept: Path) -> Counter[str]:
    command = [
        sys.executable,
        "-m",
        "tests.faults.mutant_loader",
        str(file),
        backend,
        str(count),
        str(SEED),
        str(kept),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_RUN_S, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return Counter(json.loads(done.stdout.splitlines()[-1])["endings"])


def _serve(stage: Stage, broken: list[Path]) -> list[Figure]:
    """Ask a gateway for each of them."""
    if not stage.full:  # the others are tried again and again before the gateway gives up
        broken = [path for path in broken if "refused" in path.name][:2]
    models = [_broken(f"broken-{number}", path) for number, path in enumerate(broken)]
    with (
        GatewayProcess.serving({"models": [fake(step_ms=20), *models]}, stage.folder) as gateway,
        Ledger(gateway.base_url) as ledger,
    ):
        gateway.wait_until_ready()
        patience = Manner(patience_s=700)
        (stream,) = ledger.send(CHAT, chat("@tokens:100000"), manner=patience)
        asked = [{"model": model["name"], "input": "a b c"} for model in models]
        entries = ledger.settle(ledger.send_each("/v1/embeddings", asked, at_once=2, manner=patience), 600)
        told_of = [entry.verdict for entry in entries]
        return [
            exactly("given to a gateway and failed", sum(v in _FAILED for v in told_of), len(models)),
            exactly("a stream meanwhile", stream.outcome, None),
            exactly("gateway lives", gateway.process.poll(), None),
            exactly("zombies", zombies(gateway.process.pid), 0),
            exactly("next", ledger.answer(CHAT, chat("@tokens:2")).verdict, "done"),
        ]


def _broken(name: str, path: Path) -> dict[str, Any]:
    backend = "sentence" if path.is_dir() else "llama_cpp"
    settings: dict[str, Any] = {"n_threads": 1} if backend == "llama_cpp" else {}
    return {"name": name, "backend": backend, "tasks": ["embed"], "source": str(path), "parameters": settings}
