"""Devices from the configuration and from the machine."""

import psutil

from config.schema import Config, DeviceConfig
from gateway.engine.devices import find_devices
from gateway.engine.placement import Device


def test_a_list_in_the_configuration_replaces_what_is_found() -> None:
    config = Config(devices=[DeviceConfig(name="cuda:1", memory_bytes=5)])
    assert find_devices(config) == [Device("cuda:1", 5)]


def test_the_cpu_comes_last_with_its_share() -> None:
    cpu = find_devices(Config(memory_fraction=0.5))[-1]
    assert cpu.kind == "cpu"
    assert 0 < cpu.budget_bytes <= psutil.virtual_memory().total / 2
