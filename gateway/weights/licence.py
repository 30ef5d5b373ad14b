"""Which licences need the user's explicit yes.

Owns one rule: what forbids commercial use is not fetched in passing. Must not judge anything else.
"""

import re

from gateway.weights.errors import LicenceRefused

# cc-by-nc-4.0, CC BY-NC-SA, cpml or coqui-public-model-license (XTTS), "non-commercial", qwen-research …
_RESTRICTED = re.compile(
    r"(\bcc[- ]by[- ]nc)|(\bcpml\b)|(coqui-public)|(non[- ]?commercial)|research|(-nc\b)", re.I
)


def forbids_commercial_use(licence: str) -> bool:
    return bool(_RESTRICTED.search(licence))


def require(name: str, licence: str | None, accepted: bool) -> None:
    """Raises LicenceRefused if the licence of model `name` needs accepting and that has not been done."""
    if licence and forbids_commercial_use(licence) and not accepted:
        raise LicenceRefused(
            f"{name}: its licence ({licence}) forbids commercial use; "
            f"if that suits you: llm-cortex pull {name} --accept-license"
        )
