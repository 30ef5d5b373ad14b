"""Model name or alias -> ModelSpec, and which version of it serves."""

from collections import Counter
from collections.abc import Sequence

from config.schema import ModelSpec
from gateway.engine.errors import ModelNotFound


class Registry:
    """What is served. Versions of a name count up from 1, also over its removal."""

    def __init__(self, specs: Sequence[ModelSpec]) -> None:
        self.specs = {spec.name: spec for spec in specs}
        """By name, in the order in which they were configured or added."""
        self._versions = dict.fromkeys(self.specs, 1)
        self._last = Counter(self._versions)
        self._index()

    def resolve(self, name: str) -> ModelSpec:
        """The model of this name or alias. Raises ModelNotFound."""
        spec = self._names.get(name)
        if spec is None:
            shown = name if len(name) <= 100 else name[:100] + "…"
            raise ModelNotFound(
                f"The model {shown!r} does not exist; GET /v1/models lists those that do.", param="model"
            )
        return spec

    def version(self, name: str) -> int:
        """The version that serves; 0: there is none."""
        return self._versions.get(name, 0)

    def next_version(self, name: str) -> int:
        """A number for a version that is to come; never given twice."""
        self._last[name] += 1
        return self._last[name]

    def put(self, spec: ModelSpec, version: int | None = None) -> None:
        """Serve this from now on, under its name; None: as the version that serves already."""
        self.specs[spec.name] = spec
        if version is not None:
            self._versions[spec.name] = version
        self._index()

    def remove(self, name: str) -> None:
        del self.specs[name]
        del self._versions[name]
        self._index()

    def _index(self) -> None:
        aliases = {alias: spec for spec in self.specs.values() for alias in spec.aliases}
        self._names = aliases | self.specs
