"""Data sets, a person's own CSV file, and the loader that shares batches among ranks."""

from __future__ import annotations

from minigrad.data.datasets import NAMES, Dataset, from_arrays, load
from minigrad.data.loader import Batch, DataLoader
from minigrad.data.tables import from_csv

__all__ = [
    "NAMES",
    "Batch",
    "DataLoader",
    "Dataset",
    "from_arrays",
    "from_csv",
    "load",
]
