"""All rows of the table: importing a file of rows enters them."""

from tests.faults import clients, deaths, shutdown, silence
from tests.faults.table import ROWS

__all__ = ["ROWS", "clients", "deaths", "shutdown", "silence"]
