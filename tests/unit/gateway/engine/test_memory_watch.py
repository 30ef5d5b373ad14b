"""What is measured, again and again, and what keeps that from going on."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from backends.protocol import Description
from config.schema import Config
from gateway.engine import memory_view, memory_watch
from gateway.engine.devices import Devices
from gateway.engine.events import MemoryMeasured, MemoryReturned, ModelDescribed, ModelWanted, StartWorker
from gateway.engine.gpus import Gpus
from gateway.engine.host_memory import HostMemory
from gateway.engine.learned import LearnedPeaks
from gateway.engine.memory_watch import MemoryWatch, Subject
from gateway.engine.placement import Device
from tests.unit.gateway.engine.desk import Desk
from tests.unit.gateway.engine.fake_nvml import FakeCard, FakeNvml


def watch(folder: Path, subjects: Any, post: Any, *cards: FakeCard) -> MemoryWatch:
    gpus = Gpus(nvml=FakeNvml(*cards))
    devices = Devices(Config(memory_fraction=1), gpus, lambda: HostMemory(1000, 900))
    return MemoryWatch(devices, LearnedPeaks(folder), subjects, post)


async def first_look(watching: MemoryWatch, seen: Sequence[MemoryMeasured]) -> None:
    running = asyncio.create_task(watching.run())
    async with asyncio.timeout(5.0):
        while not seen:
            await asyncio.sleep(0.01)
    running.cancel()


async def test_a_failure_to_name_who_lives_does_not_end_the_watch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_watch, "IDLE_S", 0.05)
    answers: list[Any] = [KeyError("m"), []]

    def subjects() -> list[Subject]:
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return list(answer)

    seen: list[MemoryMeasured] = []
    await first_look(watch(tmp_path, subjects, seen.append), seen)
    assert seen


@pytest.mark.parametrize("by_pid", [{}, {4711: 60}], ids=["the process is gone", "the driver still names it"])
async def test_gpu_memory_of_a_dead_worker_that_is_not_back_counts_once(
    tmp_path: Path, by_pid: dict[int, int | None]
) -> None:
    desk = Desk("a", "b", devices=[Device("cuda:0", 100), Device("cpu", 900)])
    for name in "ab":
        gpu = Description(["generate"], [], memory_bytes=60, device_kinds=["cuda"])
        desk.tell(ModelDescribed(name, gpu))
    desk.tell(ModelWanted("a"))
    desk.ready(1)
    desk.job("x", "b")
    desk.die(1, memory_back=False)
    seen: list[MemoryMeasured] = []
    dead = watch(
        tmp_path,
        lambda: memory_view.subjects(desk.fleet, {}, pytest.fail),
        seen.append,
        FakeCard(100, 60, by_pid),
    )
    await first_look(dead, seen)
    assert seen[0].devices[0].budget_bytes == 100
    assert desk.tell(seen[0]) == []
    assert desk.tell(MemoryReturned(1)) == [StartWorker(2, "b", "cuda:0")]
    assert LearnedPeaks(tmp_path).read("", ["cuda"]) == {}, "a dead worker says nothing of the next load"
