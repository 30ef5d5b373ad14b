"""What is declared twice for the import rules' sake must say the same."""

import tomllib
from pathlib import Path

from backends.llama_cpp.sampling import check_defaults
from config.validate import PARAMETERS, SAMPLING_DEFAULTS


def test_the_llama_backend_takes_every_sampling_default() -> None:
    check_defaults(dict.fromkeys(SAMPLING_DEFAULTS, 1.0))


def test_parameters_belong_to_backends_that_exist() -> None:
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    assert set(PARAMETERS) <= set(project["entry-points"]["llm_cortex.backends"])
