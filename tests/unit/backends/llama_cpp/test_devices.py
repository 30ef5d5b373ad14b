"""How a model is divided over several GPUs."""

import ctypes

import pytest

from backends.llama_cpp.devices import can_split, spread_settings
from backends.llama_cpp.library import C
from backends.protocol import DeviceShare
from config.parameters import LlamaCppParameters

SPREAD = [DeviceShare("cuda:2", 0.75), DeviceShare("cuda:0", 0.25)]


def test_a_whole_model_has_no_settings_of_a_split() -> None:
    assert spread_settings([]) == {}


def test_devices_and_shares_are_in_the_same_order() -> None:
    settings = spread_settings(SPREAD, {"CUDA2": 72, "CUDA0": 70}.get)
    pointers = ctypes.cast(settings["devices"], ctypes.POINTER(ctypes.c_void_p))
    assert [pointers[index] for index in range(3)] == [72, 70, None]
    assert list(settings["tensor_split"])[:3] == [0.75, 0.25, 0.0]
    assert settings["split_mode"] == C.LLAMA_SPLIT_MODE_LAYER


def test_they_fit_into_the_librarys_structure() -> None:
    params = C.llama_model_default_params()
    for name, value in spread_settings(SPREAD, lambda name: 1).items():
        setattr(params, name, value)
    assert params.tensor_split[0] == 0.75


def test_a_device_that_is_not_there_is_named() -> None:
    with pytest.raises(ValueError, match="cuda:2"):
        spread_settings(SPREAD, lambda name: None)


def test_a_build_for_the_cpu_splits_nothing() -> None:
    if b"CUDA" in C.llama_print_system_info():
        assert not can_split(LlamaCppParameters(n_gpu_layers=10))
    else:
        assert not can_split(LlamaCppParameters())
