"""What a model of this folder and these settings can be asked for: steps, guidance, sizes, limits. Pure."""

from msgspec import Struct

from backends.diffusion import sizes
from backends.diffusion.folder import PipelineFacts
from backends.diffusion.steps import FEW, MANY
from config.parameters import DiffusionParameters

MOST_PICTURES = 10
"""In a request, as in OpenAI's API."""
MOST_PREVIEWS = 8
_GUIDANCE = {"sd": 7.5, "xl": 5.0}
"""Where neither a request nor the configuration says: what diffusers' pipelines have."""


class Abilities(Struct, frozen=True):
    steps: int
    quality: dict[str, int]
    """Steps of low, medium and high."""
    most_steps: int
    guidance: float
    strength: float
    sizes: list[sizes.Size]
    """The default first."""

    @property
    def size_names(self) -> list[str]:
        return [sizes.named(size) for size in self.sizes]


def abilities(facts: PipelineFacts, parameters: DiffusionParameters) -> Abilities:
    """Raises ValueError for settings that the model cannot follow."""
    most = min(parameters.max_steps, facts.trained_steps)
    quality = dict(FEW if facts.few_steps else MANY)
    if (own := parameters.quality_steps) is not None:
        quality = {"low": own.low, "medium": own.medium, "high": own.high}
    steps = (
        quality["low" if facts.few_steps else "medium"] if parameters.steps == "auto" else parameters.steps
    )
    for name, value in {
        "steps": steps,
        **{f"quality_steps.{name}": value for name, value in quality.items()},
    }.items():
        if value > most:
            raise ValueError(f"{name} is {value}, but this model paints in at most {most}")
    return Abilities(
        steps=steps,
        quality=quality,
        most_steps=most,
        guidance=_guidance(facts) if parameters.guidance == "auto" else parameters.guidance,
        strength=parameters.strength,
        sizes=_sizes(facts, parameters),
    )


def _guidance(facts: PipelineFacts) -> float:
    return 0.0 if facts.few_steps else _GUIDANCE[facts.kind]


def _sizes(facts: PipelineFacts, parameters: DiffusionParameters) -> list[sizes.Size]:
    if parameters.sizes:
        return [sizes.parse(name) for name in parameters.sizes]
    return sizes.native_sizes(facts.native)
