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
DEAR = {"drawn_folder", "golden", "committed"}  # stores that figures and answers are made of


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give to one process of the tests what is dear to make: such stores, and compiled theory. These come first."""
    for item in items:
        if DEAR & {*getattr(item, "fixturenames", ())}:
            item.add_marker(pytest.mark.xdist_group("records"))
        elif item.path.is_relative_to(ROOT / "tests" / "theory"):
            item.add_marker(pytest.mark.xdist_group("compiled"))
    items.sort(key=lambda item: item.get_closest_marker("xdist_group") is None)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


@pytest.fixture(scope="session")
def committed() -> Any:
    """The published studies, read once: what figures and answers made of them is kept with them."""
    from figures.tables.records import Studies
    from repro.records.published import Published

    return Studies(None, Published(sorted((ROOT / "results").glob("*.parquet"))))


@pytest.fixture(scope="session")
def assessed(committed: Any) -> Any:
    """What they answer to every claim."""
    from figures.answers.answers import assess

    return assess(committed)
