"""Fleets to simulate: devices of different sizes, more models than they hold, and requests for them."""

import random

from backends.protocol import Description
from config.schema import ModelSpec, PlacementConfig, TimeoutsConfig
from gateway.engine.placement import Device
from tests.fleet.simulation import Request, SimulatedModel, Simulation

GB = 1024**3
LOADED_BYTES_PER_S = 4 * GB


def gpus(sizes_gb: list[int]) -> list[Device]:
    return [Device(f"cuda:{index}", size * GB) for index, size in enumerate(sizes_gb)]


def model(number: int, chance: random.Random, largest_gb: int, whole_gb: int) -> SimulatedModel:
    """Mostly small ones; a few that must be split, are kept out of each other's way, or want to be alone."""
    size = int(chance.paretovariate(0.9) * GB)
    largest_split_gb = int(0.45 * whole_gb)
    split = chance.random() < 0.06 and largest_split_gb > largest_gb
    size = chance.randint(largest_gb, largest_split_gb) * GB if split else min(size, largest_gb * GB)
    spec = ModelSpec(
        name=f"m{number}",
        backend="fake",
        tasks=["generate"],
        source="x",
        exclusive_group=chance.choice(["g", "h"]) if chance.random() < 0.1 else "",
        exclusive_device=not split and chance.random() < 0.05,
    )
    description = Description(
        ["generate"], [], memory_bytes=size, device_kinds=["cuda"], splits=split or chance.random() < 0.3
    )
    return SimulatedModel(spec, description, load_s=0.5 + size / LOADED_BYTES_PER_S)


def fleet(
    *,
    sizes_gb: list[int],
    models: int,
    requests: int,
    per_s: float,
    seed: int,
    crashes: float = 0.0,
    leaving: float = 0.0,
    out_of_memory: float = 0.0,
    queue_s: float = 600.0,
    min_residency_s: float = 5.0,
) -> Simulation:
    """Few models get most of the requests, and everyone gets some."""
    chance = random.Random(seed)
    known = [model(n, chance, max(sizes_gb), sum(sizes_gb)) for n in range(models)]
    weights = [1 / (1 + rank) for rank in range(models)]
    names = chance.choices([m.spec.name for m in known], weights, k=requests)
    now, asked = 0.0, []
    for name in names:
        now += chance.expovariate(per_s)
        runs_s = min(chance.expovariate(1.0), 10.0)
        leaves_at = now + chance.expovariate(0.3) if chance.random() < leaving else float("inf")
        asked.append(Request(name, now, runs_s, leaves_at))
    return Simulation(
        known,
        gpus(sizes_gb),
        asked,
        timeouts=TimeoutsConfig(queue_s=queue_s, step_s=60.0),
        placement=PlacementConfig(min_residency_s=min_residency_s),
        crashes=crashes,
        out_of_memory=out_of_memory,
        seed=seed,
    )
