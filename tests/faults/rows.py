"""All rows of the table: importing a file of rows enters them."""

from tests.faults import (
    clients,
    crashes,
    deaths,
    disk,
    idle,
    mutants,
    reloads,
    shutdown,
    silence,
    swaps,
    versions,
)
from tests.faults.table import ROWS

__all__ = [
    "ROWS",
    "clients",
    "crashes",
    "deaths",
    "disk",
    "idle",
    "mutants",
    "reloads",
    "shutdown",
    "silence",
    "swaps",
    "versions",
]
