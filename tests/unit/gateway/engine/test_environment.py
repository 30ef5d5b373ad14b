"""What a child's environment says about spinning."""

import pytest

from gateway.engine.launcher.environment import child_environment


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
