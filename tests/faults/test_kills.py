"""SIGKILL at random moments: no finished run is lost, no half run is found, the rest ends as if nothing had been."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from repro.base.files import collect_damage
from repro.records.store import Store
from tests.faults.conftest import ROOT, Victims, end_of, kill, kill_group, members

pytestmark = pytest.mark.faults
TIMED = ("seconds", "peak")
ROUNDS = {"group": 40, "parent only": 30, "one worker": 30}
IMPORTING = 60  # seconds that a worker may take to import torch on a busy machine
LONG = {"epochs": 250, "seeds": 1}  # a stage of some seconds, of which a checkpoint is written every tenth of one


def content(store: Store) -> dict[str, Any]:
    """Return everything the runs and models of a store say, times apart."""
    runs = {
        record.run_id: {name: value for name, value in record.result.items() if not name.startswith(TIMED)}
        for record in store.records()
    }
    known = {folder.name: store.stages.read(folder.name) for folder in store.stages.all()}
    return {"runs": runs, "weights": {name: found and found[0] for name, found in known.items()}}


def expected(victims: Victims, folder: Path, **grid: Any) -> dict[str, Any]:
    """Return the content of a store whose grid nobody disturbed."""
    victims.start(folder, **grid)
    assert victims.wait() == 0
    return content(Store(folder))


@pytest.mark.parametrize("mode", ROUNDS)
def test_a_hundred_kills_lose_no_finished_run(mode: str, victims: Victims, tmp_path: Path) -> None:
    grid = {"workers": 1 if mode == "group" else 2, "seeds": 3}
    whole = expected(victims, tmp_path / "whole", **grid)
    chance = random.Random(mode)
    store, number, slowest = Store(tmp_path / "store-0"), 0, 0.0
    finished: set[str] = set()
    for count in range(ROUNDS[mode]):
        session = victims.start(store.root, **grid)
        time.sleep(chance.uniform(0.02, 1.5))
        if mode == "group":
            kill_group(session)
        elif mode == "parent only":
            kill(session)
        else:
            kill(chance.choice(members(session) or [session]))
        code = victims.wait()
        assert code in ((-signal.SIGKILL, 0) if mode != "one worker" else (-signal.SIGKILL, 0, 1)), code
        slowest = max(slowest, end_of(session, 5))
        with collect_damage() as lines:
            now = {record.run_id for record in store.records() if record.status == "ok"}
        assert lines == []
        assert store.verify() == []
        assert finished <= now, f"kill {count} lost {finished - now}"
        finished = now
        if finished == set(whole["runs"]):
            assert content(store) == whole
            number += 1
            store, finished = Store(tmp_path / f"store-{number}"), set()
    retry_until_done(victims, store, grid)
    assert content(store) == whole
    assert slowest < 5


def retry_until_done(victims: Victims, store: Store, grid: dict[str, Any]) -> None:
    """Finish a grid, failed cells included."""
    for record in store.records():
        if record.status == "failed":
            assert "SIGKILL" in record.result["error"]
            (store.root / "runs" / record.run_id / "result.json").unlink()
    victims.start(store.root, **grid)
    assert victims.wait() == 0


def newest(store: Store) -> list[int]:
    """Return the numbers of the newest checkpoints there are."""
    folders = sorted(store.root.glob("checkpoints/*"))
    return [number for folder in folders for number in store.stages.checkpoints(folder.name).numbers()[-1:]]


def wait_for_progress(store: Store, session: int, before: list[int], patience: float = 60.0) -> None:
    """Wait until a grid has written another checkpoint, or has ended."""
    limit = time.monotonic() + patience
    while newest(store) == before and time.monotonic() < limit and Path(f"/proc/{session}").exists():
        time.sleep(0.02)


def test_a_stage_killed_thirty_times_ends_bit_equal(victims: Victims, tmp_path: Path) -> None:
    whole = expected(victims, tmp_path / "whole", **LONG)
    chance, store, kills = random.Random(1), Store(tmp_path / "store"), 0
    while kills < 30 and len(store.stages.all()) < len(whole["weights"]):
        session, before = victims.start(store.root, **LONG), newest(store)
        wait_for_progress(store, session, before)
        time.sleep(chance.uniform(0, 0.2))
        kill_group(session)
        kills += victims.wait() == -signal.SIGKILL
    victims.start(store.root, **LONG)
    assert victims.wait() == 0
    assert content(store) == whole
    assert not list(store.root.glob("checkpoints/*"))
    known = [found[1]["resumed"] for folder in store.stages.all() if (found := store.stages.read(folder.name))]
    assert sum(known) > 10
    assert kills == 30


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP, signal.SIGINT])
def test_a_signal_ends_at_the_next_checkpoint_and_slots_add_up(
    number: int, workers: int, victims: Victims, tmp_path: Path
) -> None:
    grid = {**LONG, "seeds": 2, "workers": workers}
    whole = expected(victims, tmp_path / "whole", **grid)
    store = Store(tmp_path / "store")
    codes = []
    for _ in range(3):
        session, before = victims.start(store.root, **grid), newest(store)
        wait_for_progress(store, session, before)
        kill(session, number)
        codes.append(victims.wait())
        end_of(session, 5)
    assert codes[0] == 128 + number
    assert list(store.root.glob("checkpoints/*")) or store.stages.all()
    victims.start(store.root, **grid)
    assert victims.wait() == 0
    assert content(store) == whole


def test_a_stage_longer_than_its_slot_finishes_over_several(victims: Victims, tmp_path: Path) -> None:
    whole = expected(victims, tmp_path / "whole", **LONG)
    store, slots = Store(tmp_path / "store"), 0
    while content(store)["runs"].keys() != whole["runs"].keys():
        victims.start(store.root, **LONG, seconds=1.5 + 0.3 * slots)  # on a slow machine the first ones only load
        assert victims.wait() == 0
        slots += 1
        assert slots < 200
    assert slots > 2
    assert content(store) == whole


def test_workers_whose_parent_dies_while_they_import_do_not_train_on(tmp_path: Path) -> None:
    """Importing torch takes seconds, and the cells here take minutes: an orphan would compute for all of them."""
    recipe = tmp_path / "long.toml"
    settings = "pretrain_epochs = 2000\nepochs = 1\nforget_fraction = 0.2"
    recipe.write_text(f'name = "long"\n[defaults]\n{settings}\n[[runs]]\nseed = [0, 1]\n')
    words = ["empirical", "grid", str(recipe), "--workers=2", "--device=cpu", f"--store={tmp_path / 'runs'}"]
    parent = subprocess.Popen(
        [sys.executable, "-m", "repro", *words], cwd=ROOT, start_new_session=True, stderr=subprocess.DEVNULL
    )
    try:
        while len(members(parent.pid)) < 2:  # the workers are born
            assert parent.poll() is None
            time.sleep(0.02)
        time.sleep(0.2)
        kill(parent.pid)
        parent.wait()
        end_of(parent.pid, IMPORTING + 5)
    finally:
        kill_group(parent.pid)
