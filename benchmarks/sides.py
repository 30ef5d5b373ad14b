"""The sides of a comparison: our gateway and the peers, all with the same model, cells and threads.

Owns the command-line settings that every measurement of chat shares, and starting the servers they mean.
"""

import argparse
import contextlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks import ours, peers
from benchmarks.servers import Server, stop_on_sigterm

STARTER = "smollm2-135m-instruct"
GATEWAY = "gateway"


def settings(text: str | None, *, context: int) -> argparse.ArgumentParser:
    """A parser with what all share; `text` is the module's docstring."""
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="GGUF file for all; default: the starter chat model")
    parser.add_argument(
        "--peer", nargs="+", choices=["auto", *peers.PEERS, "none"], default=["auto"], help=peers.AUTO
    )
    parser.add_argument(
        "--speculation",
        choices=["off", "lookup"],
        default="off",
        help="of the gateway; a tiny model's greedy answers repeat themselves, which flatters lookup",
    )
    parser.add_argument("--no-gateway", action="store_true", help="measure the peers alone")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--context", type=int, default=context, help="KV cells for all streams together")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--deadline-s", type=float, default=3600.0, help="the whole run gives up after this")
    parser.add_argument("--peer-arguments", default="", help="more for llama-server, in one string")
    return parser


def setting(arguments: argparse.Namespace, slots: int, *, prompt_cache: bool = False) -> peers.Setting:
    return peers.Setting(
        model=(arguments.model or ours.starter_weights(STARTER)).resolve(),
        slots=slots,
        context=arguments.context,
        threads=arguments.threads,
        prompt_cache=prompt_cache,
    )


@contextlib.contextmanager
def started(
    arguments: argparse.Namespace, alike: peers.Setting, models: Sequence[str] = ("bench",)
) -> Iterator[list[Server]]:
    """The gateway with `models`, all of the same file, and the peers asked for; stopped at the end."""
    stop_on_sigterm()
    kinds = [peers.best() if kind == "auto" else kind for kind in arguments.peer]
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        sides = []
        if not arguments.no_gateway:
            served = [_our_model(name, alike, arguments.speculation) for name in models]
            sides.append(stack.enter_context(ours.gateway(served, scratch)))
        for kind in dict.fromkeys(kinds):
            if kind != "none":
                peer = peers.PEERS[kind](alike, scratch, arguments.peer_arguments.split())
                sides.append(stack.enter_context(peer))
        yield sides


def _our_model(name: str, alike: peers.Setting, speculation: str) -> dict[str, Any]:
    """A model of the gateway's configuration."""
    return {
        "name": name,
        "backend": "llama_cpp",
        "tasks": ["generate"],
        "source": str(alike.model),
        "parameters": {
            "n_ctx": alike.context,
            "n_seq_max": alike.slots,
            "n_threads": alike.threads,
            "n_threads_batch": alike.threads,
            # As llama-server does it: each slot has its share of the cells.
            "kv_unified": False,
            "prefix_cache": alike.prompt_cache,
            "speculation": speculation,
        },
    }
