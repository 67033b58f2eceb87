"""Shared by all tests: a store in an empty folder, and what is dear to make and looked at by many."""

import os
from pathlib import Path
from typing import Any

import pytest

from repro.records.store import Store

# Before torch is imported: the tests' networks are so small that a second thread of each mostly waits (20 times the
# processor time on a busy machine).
os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).parents[1]
SHARED = {"drawn_folder", "golden_records", "committed"}  # each made once, by one process of the tests


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give all tests of what is dear to make to one process."""
    for item in items:
        for name in SHARED & {*getattr(item, "fixturenames", ())}:
            item.add_marker(pytest.mark.xdist_group(name))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


@pytest.fixture(scope="session")
def committed() -> Any:
    """The published studies, read once: what figures and answers made of them is kept with them."""
    from figures.tables.records import Studies
    from repro.records.published import Published

    return Studies(None, Published(sorted((ROOT / "results").glob("*.parquet"))))
