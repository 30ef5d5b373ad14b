"""What a new configuration file means for a server that runs."""

import msgspec

from config.schema import Config, LimitsConfig, ModelSpec, ServerConfig
from gateway.engine.reload_plan import ReloadPlan, plan_reload, served_after


def model(name: str, **settings: object) -> ModelSpec:
    plain = {"name": name, "backend": "fake", "tasks": ["generate"], "source": "x"}
    return msgspec.convert(plain | settings, ModelSpec)


A, B = model("a"), model("b")


def plan(old: list[ModelSpec], new: list[ModelSpec], served: list[ModelSpec] | None = None) -> ReloadPlan:
    before, after = Config(models=old), Config(models=new)
    return plan_reload(
        before, before, after, {spec.name: spec for spec in (old if served is None else served)}
    )


def test_nothing_new() -> None:
    assert plan([A], [A]) == ReloadPlan([], [], [], [], [])


def test_models_come_go_and_change() -> None:
    other = model("a", source="y")
    assert plan([A, B], [other, model("c")]) == ReloadPlan([model("c")], ["b"], [other], [], [])


def test_settings_that_workers_do_not_know_need_no_swap() -> None:
    other = model("a", aliases=["x"], replicas=2, pinned=True, idle_ttl_s=5, note="n")
    assert plan([A], [other]) == ReloadPlan([], [], [], [other], [])


def test_what_was_done_on_request_stays_unless_the_file_speaks_of_it_anew() -> None:
    swapped, added = model("a", source="mine"), model("mine")
    assert plan([A, B], [A, B], [swapped, added]) == ReloadPlan([], [], [], [], [])
    file = model("a", source="theirs")
    assert plan([A, B], [file], [swapped, added]) == ReloadPlan([], [], [file], [], [])
    assert plan([A], [A, added], [A, added]) == ReloadPlan([], [], [], [], []), "it stands in the file now"
    changed = model("b", source="y")
    assert plan([A, B], [A, changed], [A]).added == [changed], "it was removed on request"


def test_what_counts_only_after_a_restart_is_told() -> None:
    start = Config(server=ServerConfig(port=1))
    new = Config(server=ServerConfig(port=2), limits=LimitsConfig(open_requests=3), memory_fraction=0.5)
    told = plan_reload(start, new, new, {})
    assert told.needs_restart == ["limits.open_requests", "memory_fraction", "server.port"]


def test_the_models_as_they_will_be() -> None:
    served = {name: model(name) for name in ("stays", "goes", "swaps", "changes")}
    fresh = [model(name, note="n") for name in ("new", "swaps", "changes")]
    after = served_after(ReloadPlan(fresh[:1], ["goes"], fresh[1:2], fresh[2:], []), served)
    assert {spec.name: spec.note for spec in after} == {
        "stays": None,
        "swaps": "n",
        "changes": "n",
        "new": "n",
    }
