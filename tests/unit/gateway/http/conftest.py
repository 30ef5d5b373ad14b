from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.unit.gateway.http.fakes import Site, open_site


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """An app without keys over an engine that answers at once."""
    async with open_site(tmp_path / "keys.json") as opened:
        yield opened
