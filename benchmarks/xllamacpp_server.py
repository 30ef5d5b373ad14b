"""Runs the xllamacpp wheel's HTTP server until it is stopped; started by `benchmarks.peers`.

usage: python -m benchmarks.xllamacpp_server MODEL PORT SLOTS CONTEXT THREADS
"""

import signal
import sys

import xllamacpp  # type: ignore[import-not-found,unused-ignore]


def main() -> None:
    model, port, slots, context, threads = sys.argv[1:]
    parameters = xllamacpp.CommonParams()
    parameters.model.path = model
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = int(port)
    parameters.n_parallel = int(slots)
    parameters.n_ctx = int(context)
    parameters.cpuparams.n_threads = int(threads)
    parameters.cpuparams_batch.n_threads = int(threads)
    parameters.cache_prompt = False
    parameters.cache_ram_mib = 0
    parameters.warmup = True
    server = xllamacpp.Server(parameters)
    print(server.listening_address, flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})


if __name__ == "__main__":
    main()
