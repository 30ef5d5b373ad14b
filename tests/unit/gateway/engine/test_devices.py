"""Devices from the configuration and from the machine, and how much of them models may take."""

from typing import Any

import psutil
import pytest

from config.schema import Config, DeviceConfig
from gateway.engine.devices import Devices, DeviceState, Holder, worker_bytes
from gateway.engine.gpus import Gpus
from gateway.engine.host_memory import HostMemory
from gateway.engine.launcher.memory import GroupMemory
from gateway.engine.placement import Device
from tests.unit.gateway.engine.fake_nvml import FakeCard, FakeNvml

NOTHING = GroupMemory()


def look(config: Config, *cards: FakeCard, holders: Any = (), host: Any = None) -> dict[str, DeviceState]:
    devices = Devices(config, Gpus(nvml=FakeNvml(*cards)), lambda: host or HostMemory(1000, 900))
    return {state.name: state for state in devices.look(holders)[0]}


def test_gpus_come_first_and_the_cpu_last() -> None:
    found = look(Config(memory_fraction=0.5), FakeCard(400), FakeCard(800))
    assert list(found) == ["cuda:0", "cuda:1", "cpu"]
    assert [state.budget_bytes for state in found.values()] == [200, 400, 500]


def test_what_others_hold_is_not_ours() -> None:
    found = look(Config(memory_fraction=1), FakeCard(400, used=300), host=HostMemory(1000, 600))
    assert (found["cuda:0"].budget_bytes, found["cuda:0"].others_bytes) == (100, 300)
    assert (found["cpu"].budget_bytes, found["cpu"].others_bytes) == (600, 400)


def test_it_is_told_what_would_be_there_without_others() -> None:
    devices = [DeviceConfig(name="cuda:0", reserve_bytes=100), DeviceConfig(name="cpu", memory_bytes=500)]
    found = look(Config(devices=devices), FakeCard(400, used=300), host=HostMemory(1000, 50))
    assert found["cuda:0"].device == Device("cuda:0", 0, 300)
    assert found["cpu"].device == Device("cpu", 50, 500)


def test_what_we_hold_is_ours() -> None:
    mine = Holder({"cuda:0": 250}, GroupMemory(50, 40, (7, 8)))
    cpu = Holder({"cpu": 10}, GroupMemory(300, 200, (9,)))
    card = FakeCard(400, used=300, by_pid={7: 200, 99: 100})
    found = look(Config(memory_fraction=1), card, holders=[mine, cpu], host=HostMemory(1000, 600))
    assert found["cuda:0"].budget_bytes == 300
    assert found["cpu"].budget_bytes == 800, "mapped files are nobody's"


def test_where_nvml_does_not_see_our_processes_what_was_set_aside_counts() -> None:
    found = look(
        Config(memory_fraction=1), FakeCard(400, used=300), holders=[Holder({"cuda:0": 250}, NOTHING)]
    )
    assert found["cuda:0"].others_bytes == 50


def test_a_reserve_is_kept_free() -> None:
    devices = [DeviceConfig(name="cuda:0", reserve_bytes=100), DeviceConfig(name="cpu", reserve_bytes=50)]
    found = look(Config(devices=devices, memory_fraction=0.9), FakeCard(400))
    assert found["cuda:0"].budget_bytes == 300
    assert found["cpu"].budget_bytes == 850, "100 are in others' hands"


def test_a_list_chooses_and_bounds_what_is_found() -> None:
    devices = [DeviceConfig(name="cuda:1", memory_bytes=500), DeviceConfig(name="cpu", memory_fraction=0.2)]
    found = look(Config(devices=devices), FakeCard(400), FakeCard(800, used=700))
    assert list(found) == ["cuda:1", "cpu"]
    assert found["cuda:1"].total_bytes == 500
    assert found["cuda:1"].budget_bytes == 100, "the rest is not there now"
    assert found["cpu"].budget_bytes == 200


def test_a_device_that_is_not_found_is_what_the_list_says() -> None:
    found = look(Config(devices=[DeviceConfig(name="cuda:5", memory_bytes=5)]))
    assert found["cuda:5"].budget_bytes == 5


def test_the_real_machine_has_memory() -> None:
    cpu = Devices(Config(memory_fraction=0.5)).look()[0][-1]
    assert cpu.name == "cpu"
    assert 0 < cpu.budget_bytes <= psutil.virtual_memory().total / 2


def test_what_a_worker_holds_is_looked_up_by_device() -> None:
    gpus = Gpus(nvml=FakeNvml(FakeCard(400, by_pid={7: 20, 8: 1}), FakeCard(400))).read()
    split = Holder({"cuda:0": 30, "cuda:1": 30}, GroupMemory(50, 40, (7, 8)))
    assert worker_bytes(split, gpus) == {"cuda:0": 21}
    assert worker_bytes(Holder({"cpu": 30}, GroupMemory(50, 40, (7,))), gpus) == {"cpu": 50}


class TestGpus:
    def test_without_a_driver_there_are_none(self) -> None:
        assert Gpus(nvml=FakeNvml(driver=False)).read() == []

    def test_what_nvml_says(self) -> None:
        gpus = Gpus(nvml=FakeNvml(FakeCard(400, used=30, by_pid={7: 30}, utilisation=50)))
        (gpu,) = gpus.read()
        assert (gpu.name, gpu.title, gpu.used_bytes, gpu.by_pid) == ("cuda:0", "Fake 0", 30, {7: 30})
        assert gpu.utilisation == 0.5
        gpus.close()
        assert gpus._nvml.shut_down

    def test_a_card_that_tells_little(self) -> None:
        (gpu,) = Gpus(nvml=FakeNvml(FakeCard(400, by_pid={7: None}, utilisation=None))).read()
        assert gpu.utilisation is None
        assert gpu.by_pid == {}

    def test_a_driver_that_fails_later_leaves_what_it_said_last(self) -> None:
        nvml = FakeNvml(FakeCard(400))
        gpus = Gpus(nvml=nvml)
        before = gpus.read()
        nvml.broken = True
        assert gpus.read() == before

    @pytest.mark.parametrize(
        ("visible", "titles"),
        [
            (None, ["Fake 0", "Fake 1", "Fake 2"]),
            ("2,0", ["Fake 2", "Fake 0"]),
            ("GPU-1", ["Fake 1"]),
            ("1,7,0", ["Fake 1"]),
            ("", []),
            ("-1", []),
        ],
    )
    def test_cuda_visible_devices_counts(self, visible: str | None, titles: list[str]) -> None:
        gpus = Gpus(visible, nvml=FakeNvml(FakeCard(1), FakeCard(2), FakeCard(3))).read()
        assert [gpu.title for gpu in gpus] == titles
        assert [gpu.name for gpu in gpus] == [f"cuda:{index}" for index in range(len(titles))]


def test_the_fake_has_what_the_library_has() -> None:
    import pynvml

    names = [name for name in dir(FakeNvml) if name.startswith("nvml")]
    assert names
    assert all(hasattr(pynvml, name) for name in names)
