"""Which licences ask for a yes."""

import pytest

from gateway.weights.errors import LicenceRefused
from gateway.weights.licence import forbids_commercial_use, require

RESTRICTED = [
    "cc-by-nc-4.0",
    "CC BY-NC-SA 4.0",
    "cpml",
    "CPML",
    "coqui-public-model-license",
    "Non-Commercial",
    "noncommercial",
    "qwen-research",
]
FREE = [
    "Apache-2.0",
    "MIT",
    "cc-by-4.0",
    "cc-by-sa-3.0",
    "llama3.1",
    "gemma",
    "openrail",
    "bsd-3-clause",
    "other",
]


@pytest.mark.parametrize("licence", RESTRICTED)
def test_restricted(licence: str) -> None:
    assert forbids_commercial_use(licence)
    with pytest.raises(LicenceRefused, match=r"llm-cortex pull m --accept-license"):
        require("m", licence, accepted=False)
    require("m", licence, accepted=True)


@pytest.mark.parametrize("licence", [*FREE, "", None])
def test_free(licence: str | None) -> None:
    assert not forbids_commercial_use(licence or "")
    require("m", licence, accepted=False)
