import shutil
from collections.abc import AsyncIterator

import pytest

from tests.unit.gateway.http.fakes import Site, answer, make_site


@pytest.fixture(scope="session")
def lasting_site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Making an app takes longer than most tests of it."""
    return make_site(tmp_path_factory.mktemp("site") / "keys.json")


@pytest.fixture
async def site(lasting_site: Site) -> AsyncIterator[Site]:
    """An app without keys over an engine that answers at once. Its metrics count on from test to test."""
    lasting_site.engine.renew(answer)
    shutil.rmtree(lasting_site.spool, ignore_errors=True)
    lasting_site.spool.mkdir()
    async with lasting_site.new_client() as lasting_site.client:
        yield lasting_site
