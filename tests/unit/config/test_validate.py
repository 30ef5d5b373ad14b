"""What is declared twice for the import rules' sake must say the same."""

from importlib.metadata import entry_points

from backends.llama_cpp.sampling import check_defaults
from config.validate import PARAMETERS, SAMPLING_DEFAULTS


def test_the_llama_backend_takes_every_sampling_default() -> None:
    check_defaults(dict.fromkeys(SAMPLING_DEFAULTS, 1.0))


def test_parameters_belong_to_backends_that_exist() -> None:
    assert set(PARAMETERS) <= {entry.name for entry in entry_points(group="llm_cortex.backends")}
