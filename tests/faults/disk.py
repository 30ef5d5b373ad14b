"""Row 26: the disk is full, or the folder cannot be written."""

import resource
import shutil
import signal
from pathlib import Path

from tests.faults.cast import CHAT, chat, fake
from tests.faults.ledger import Entry, Ledger, post_bytes
from tests.faults.soak.traffic import TRANSCRIPTION, form_data
from tests.faults.table import Figure, Stage, exactly, row
from tests.gateway_process import GatewayProcess, start

_FILE_BYTES = 300_000
"""So much of a file can be written: to the gateway a larger one is as on a full disk."""


@row(26, "disk full, and a folder that is gone or read-only")
def disk(stage: Stage) -> list[Figure]:
    spool = stage.folder / "spool"
    ears = fake("ears") | {"tasks": ["transcribe"]}
    settings = {"models": [fake(step_ms=10), ears], "paths": {"spool_dir": str(spool)}}
    with (
        GatewayProcess.serving(settings, stage.folder, preexec_fn=_limit_files) as gateway,
        Ledger(gateway.base_url) as ledger,
    ):
        gateway.wait_until_ready()
        stream = ledger.send(CHAT, chat("@tokens:300"))
        small = _upload(ledger, 10_000)
        full = _upload(ledger, 3 * _FILE_BYTES)
        left_over = [file for file in spool.rglob("*") if file.is_file()]
        after = _upload(ledger, 10_000)
        for folder in spool.glob("llm-cortex-*"):
            shutil.rmtree(folder)
        gone = _upload(ledger, 10_000)
        beside = ledger.answer(CHAT, chat("@tokens:2"))
        ledger.settle(stream)
        return [
            exactly("an upload", small.verdict, "done"),
            exactly("disk full", full.verdict, "refused 503 storage_failed"),
            exactly("files left over", len(left_over), 0),
            exactly("an upload that fits", after.verdict, "done"),
            exactly("folder gone", gone.verdict, "refused 503 storage_failed"),
            exactly("chat meanwhile", [entry.verdict for entry in stream], ["done"]),
            exactly("chat after", beside.verdict, "done"),
            *_unwritable(stage.folder / "read-only"),
        ]


def _unwritable(folder: Path) -> list[Figure]:
    """A start with a folder for temporary files that is none: even root cannot write into a file's inside."""
    folder.mkdir()
    (folder / "file").touch()
    process = start({"models": [fake()], "paths": {"spool_dir": str(folder / "file" / "spool")}}, folder)
    process.communicate(timeout=20)
    lines = (folder / "log").read_text().splitlines()
    return [
        exactly("start without a folder", process.returncode, 1),
        exactly("lines that name it", sum("spool_dir" in line for line in lines), 1),
    ]


def _upload(ledger: Ledger, size: int) -> Entry:
    recording = b"RIFF @tokens:2" + bytes(size)
    data = form_data({"model": "ears"}, recording)
    request = post_bytes(TRANSCRIPTION, data, "multipart/form-data; boundary=a-line-between-parts")
    (entry,) = ledger.settle(ledger.send_raw(TRANSCRIPTION, [request]), 30)
    return entry


def _limit_files() -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (_FILE_BYTES, _FILE_BYTES))
