"""Pictures that a request names by address: fetched where the configuration allows it, else refused.

Owns what the client is told: one and the same for every failure, since the reason would tell what there is
around this server. gateway.remote owns the fetching.
"""

import asyncio
from collections.abc import Sequence

import structlog
from msgspec.structs import replace

from backends.protocol import Inline, Item, Media, Remote
from compat.pictures import not_fetched, not_taken, room_left
from gateway.engine.errors import QueueTimeout
from gateway.http.services import Services
from gateway.remote.errors import NotFetched
from gateway.remote.fetching import Budget, Fetcher

Outcome = bytes | NotFetched | TimeoutError

log = structlog.get_logger(__name__)


async def with_pictures(services: Services, items: Sequence[Item]) -> list[Item]:
    """The items, with the bytes of every picture. Raises InvalidRequest, QueueTimeout."""
    whole = iter(await fetched(services, [item for item in items if isinstance(item, Media)]))
    return [next(whole) if isinstance(item, Media) else item for item in items]


async def fetched(services: Services, pictures: Sequence[Media]) -> list[Media]:
    """The pictures of one request, with the bytes of each. Raises InvalidRequest, QueueTimeout."""
    remote = {place: one.blob.ref for place, one in enumerate(pictures) if isinstance(one.blob, Remote)}
    if not remote:
        return [*pictures]
    if services.fetcher is None:
        raise not_taken(pictures[next(iter(remote))].param)
    outcomes = await _all(services.fetcher, [*remote.values()], Budget(room_left(pictures)))
    whole = [*pictures]
    for place, outcome in zip(remote, outcomes, strict=True):
        whole[place] = _with_bytes(pictures[place], outcome)
    return whole


def _with_bytes(item: Media, outcome: Outcome) -> Media:
    if isinstance(outcome, NotFetched):
        log.info("picture not fetched", reason=str(outcome))
        raise not_fetched(item.param)
    if isinstance(outcome, TimeoutError):
        raise QueueTimeout("Too many pictures are being fetched; try again.", param=item.param)
    return replace(item, blob=Inline(outcome))


async def _all(fetcher: Fetcher, urls: Sequence[str], budget: Budget) -> list[Outcome]:
    async def one(url: str) -> Outcome:
        try:
            return await fetcher.fetch(url, budget)
        except (NotFetched, TimeoutError) as error:
            return error

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(url)) for url in urls]
    return [task.result() for task in tasks]
