"""What a child's environment says about spinning and about GPUs."""

import pytest

from gateway.engine.launcher.environment import child_environment, visible_gpus


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)


def test_threads_spin_shortly_unless_told_otherwise() -> None:
    assert child_environment({})["GOMP_SPINCOUNT"] == "2000"


@pytest.mark.parametrize("name", ["GOMP_SPINCOUNT", "OMP_WAIT_POLICY"])
def test_the_users_own_setting_counts(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "7")
    environment = child_environment({"OTHER": "x"})
    assert environment[name] == "7"
    assert environment["OTHER"] == "x"
    assert environment.get("GOMP_SPINCOUNT", "7") == "7"


def test_gpus_are_counted_by_their_bus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,0")
    environment = child_environment({})
    assert environment["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    assert environment["CUDA_VISIBLE_DEVICES"] == visible_gpus() == "1,0"
