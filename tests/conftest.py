"""Shared by all tests: a store in an empty folder."""

from pathlib import Path

import pytest

from repro.records.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")
