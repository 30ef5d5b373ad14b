"""Row 27: the configuration is read anew while it is wrong."""

import yaml

from tests.faults.cast import CHAT, chat, fake
from tests.faults.ledger import Ledger
from tests.faults.table import Figure, Stage, exactly, row
from tests.gateway_process import GatewayProcess, wait_for

RELOAD = "/admin/config/reload"


@row(27, "reload with bad YAML, an unknown key, missing weights, half a file")
def bad_reloads(stage: Stage) -> list[Figure]:
    settings = {"models": [fake(step_ms=10), fake("second", step_ms=10)]}
    file = stage.folder / "config.yaml"
    with GatewayProcess.serving(settings, stage.folder) as gateway, Ledger(gateway.base_url) as ledger:
        gateway.wait_until_ready()
        good = file.read_text()
        missing = fake("third") | {"source": str(stage.folder / "nowhere")}
        wrong = {
            "bad YAML": "models: [}{",
            "an unknown key": good + "\nsevrer: {port: 1}\n",
            "missing weights": yaml.safe_dump({"models": [*settings["models"], missing]}),
            "half a file": good[: len(good) // 2],
            "no file": None,
        }
        streams = ledger.send(CHAT, chat("@tokens:200"), count=5)
        told_of: dict[str, str] = {}
        for what, text in wrong.items():
            file.unlink() if text is None else file.write_text(text)
            told_of[what] = ledger.answer(RELOAD, {}).verdict
            streams += ledger.send(CHAT, chat("@tokens:5", model="second"), count=3)
        refused = gateway.metric("config_reloads_total", outcome="refused")
        wait_for(lambda: all(entry.events or entry.outcome for entry in streams), 20)
        file.write_text(yaml.safe_dump({"server": {"port": 0}, "models": settings["models"][:1]}))
        mended = ledger.answer(RELOAD, {})
        ledger.settle(streams)
        gone = ledger.answer(CHAT, chat("hi", model="second"))
        return [
            *(exactly(what, verdict.startswith("refused 400"), True) for what, verdict in told_of.items()),
            exactly("counted as refused", int(refused), len(wrong)),
            exactly(f"of {len(streams)} requests done", ledger.counts(streams)["done"], len(streams)),
            exactly("a good file", mended.verdict, "done"),
            exactly("and counts", gone.verdict, "refused 404 model_not_found"),
        ]
