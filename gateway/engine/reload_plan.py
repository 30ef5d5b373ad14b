"""What a new configuration file means for a server that runs: which models come, go and change. Pure."""

from collections.abc import Mapping

import msgspec
from msgspec import Struct

from config.schema import Config, ModelSpec

AT_ONCE = frozenset(
    {
        "aliases",
        "note",
        "licence",
        "preload",
        "pinned",
        "idle_ttl_s",
        "replicas",
        "max_sessions",
        "exclusive_group",
        "exclusive_device",
    }
)
"""Settings of a model that its workers do not know: they count without another worker."""


class ReloadPlan(Struct, frozen=True):
    added: list[ModelSpec]
    removed: list[str]
    swapped: list[ModelSpec]
    changed: list[ModelSpec]
    needs_restart: list[str]
    """Paths of settings that have changed and count only after a restart."""


def plan_reload(start: Config, old: Config, new: Config, served: Mapping[str, ModelSpec]) -> ReloadPlan:
    """`start`: what the server was started with; `old`: what the file said last; `served`: what is so now.

    Only what the file says anew counts: a model that was added or swapped on request stays as it is.
    """
    before = {spec.name: spec for spec in old.models}
    now = {spec.name: spec for spec in new.models}
    fresh = [spec for spec in new.models if before.get(spec.name) != spec]
    known = [spec for spec in fresh if spec.name in served and served[spec.name] != spec]
    return ReloadPlan(
        [spec for spec in fresh if spec.name not in served],
        [name for name in before if name not in now and name in served],
        [spec for spec in known if not _only_at_once(served[spec.name], spec)],
        [spec for spec in known if _only_at_once(served[spec.name], spec)],
        _needs_restart(start, new),
    )


def served_after(plan: ReloadPlan, served: Mapping[str, ModelSpec]) -> list[ModelSpec]:
    """The models as they will be."""
    fresh = {spec.name: spec for spec in (*plan.added, *plan.swapped, *plan.changed)}
    return list(({name: spec for name, spec in served.items() if name not in plan.removed} | fresh).values())


def _only_at_once(before: ModelSpec, after: ModelSpec) -> bool:
    return _differing(before, after) <= AT_ONCE


def _needs_restart(start: Config, new: Config) -> list[str]:
    paths: list[str] = []
    for section in sorted(_differing(start, new) - {"models"}):
        before, after = getattr(start, section), getattr(new, section)
        if isinstance(before, Struct):
            paths += [f"{section}.{name}" for name in sorted(_differing(before, after))]
        else:
            paths.append(section)
    return paths


def _differing(before: Struct, after: Struct) -> set[str]:
    """Names of the fields in which they differ."""
    fields = (field.name for field in msgspec.structs.fields(type(before)))
    return {name for name in fields if getattr(before, name) != getattr(after, name)}
