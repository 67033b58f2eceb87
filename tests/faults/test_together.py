"""Two and three processes on one grid: every cell is computed once, and the store is that of one process."""

from pathlib import Path

import pytest

from repro.records.store import Store
from tests.faults.conftest import Victims
from tests.faults.test_kills import content, expected

pytestmark = pytest.mark.faults


@pytest.mark.parametrize("processes", [2, 3])
def test_processes_on_one_grid_share_it(processes: int, victims: Victims, tmp_path: Path) -> None:
    whole = expected(victims, tmp_path / "whole", seeds=3)
    crew = [Victims(tmp_path / f"{number}.log") for number in range(processes)]
    try:
        for one in crew:
            one.start(tmp_path / "store", seeds=3)
        assert [one.wait() for one in crew] == [0] * processes
    finally:
        for one in crew:
            one.close()
    store = Store(tmp_path / "store")
    assert content(store) == whole
    assert store.verify() == []
