"""Two and three processes on one grid: every cell is computed once, and the store is that of one process.

One that has nothing left but to wait for another still hears signals and its time limit at once.
"""

import json
import signal
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from empirical.runs.resources import Resources
from empirical.settings.run_config import Runtime
from repro.records.identity import run_id
from repro.records.store import Store
from tests.faults.conftest import Victims, end_of, kill
from tests.faults.test_kills import content, expected
from tests.faults.victim import recipe

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
    assert store.leases.all() == []
    lines = [json.loads(line.partition(" ")[2]) for line in (store.root / "index.jsonl").read_text().splitlines()]
    written = [head[0] for room, _, _, head in lines if room == "runs"]
    assert sorted(written) == sorted(set(written))  # a run that two had computed would have been written twice


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT, 0])
def test_a_process_that_waits_for_another_ends_at_once(
    number: int, workers: int, victims: Victims, tmp_path: Path
) -> None:
    resources = Resources(Store(tmp_path / "store"), Runtime(device="cpu"))
    cells = [resources.identified(cell) for cell in recipe(1, 1).runs()]
    with ExitStack() as kept:
        for cell in cells:
            kept.enter_context(resources.store.lease(run_id("unlearn", cell)))
        session = victims.start(resources.store.root, workers=workers, epochs=1, seeds=1, seconds=None if number else 3)
        time.sleep(3)
        started = time.monotonic()
        if number:
            kill(session, number)
        assert victims.wait() == (128 + number if number else 0)
        end_of(session, 5)
        assert time.monotonic() - started < 5
        assert len(resources.store.leases.all()) == len(cells)
    assert resources.store.records() == []


def test_who_is_killed_leaves_its_cells_to_those_that_wait(victims: Victims, tmp_path: Path) -> None:
    """Two processes on one stage: the one that trains it is killed, and the other takes it over at once."""
    long = {"epochs": 250, "seeds": 1}
    whole = expected(victims, tmp_path / "whole", **long)
    other = Victims(tmp_path / "other.log")
    try:
        first = victims.start(tmp_path / "store", **long)
        store = Store(tmp_path / "store")
        limit = time.monotonic() + 60
        while not list(store.root.glob("checkpoints/*/*")) and time.monotonic() < limit:
            time.sleep(0.02)
        other.start(store.root, **long)
        time.sleep(1)
        kill(first)
        assert victims.wait() == -signal.SIGKILL
        assert other.wait() == 0
    finally:
        other.close()
    assert content(store) == whole
