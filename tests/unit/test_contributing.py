"""CONTRIBUTING.md shows the example backend as it is, and what it says about it holds."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "CONTRIBUTING.md").read_text()
EXAMPLE = ROOT / "examples" / "letters"


def shown(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.S)


def test_the_backend_that_it_shows_is_the_examples() -> None:
    """tests/process/test_third_party.py installs and serves it."""
    (code,) = shown("python")
    written = (EXAMPLE / "letters_backend" / "__init__.py").read_text()
    assert code == written.partition("\n\n")[2], "the page and the example's code differ"


def test_the_registration_that_it_shows_is_the_examples() -> None:
    (lines,) = shown("toml")
    assert lines in (EXAMPLE / "pyproject.toml").read_text()


def test_its_links_lead_somewhere() -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", PAGE) if "://" not in link]
    assert "examples/letters" in links
    assert [link for link in links if not (ROOT / link).exists()] == []
