"""Model name or alias -> ModelSpec."""

from collections.abc import Sequence

from config.schema import ModelSpec
from gateway.engine.errors import ModelNotFound


class Registry:
    """What the configuration serves."""

    def __init__(self, specs: Sequence[ModelSpec]) -> None:
        self.specs = {spec.name: spec for spec in specs}
        self._names = {alias: spec for spec in specs for alias in spec.aliases} | self.specs

    def resolve(self, name: str) -> ModelSpec:
        """The model of this name or alias. Raises ModelNotFound."""
        spec = self._names.get(name)
        if spec is None:
            shown = name if len(name) <= 100 else name[:100] + "…"
            raise ModelNotFound(
                f"The model {shown!r} does not exist; GET /v1/models lists those that do.", param="model"
            )
        return spec
