"""Where a study stands, from records and claims alone."""

import os
from collections.abc import Callable
from dataclasses import replace

import pytest

from empirical.runs.workspace import Workspace
from empirical.settings.run_config import RunConfig, Runtime
from empirical.studies.executors import save_failure
from empirical.studies.grid import run_grid
from empirical.studies.recipe import Recipe
from empirical.studies.status import Status, status_of
from repro.records.identity import plain, run_id
from repro.records.store import Store

CPU = Runtime(device="cpu")


@pytest.fixture
def recipe(small: Callable[..., RunConfig]) -> Recipe:
    defaults = {name: value for name, value in plain(small()).items() if name not in ("type", "seed", "metrics")}
    return Recipe("tiny", defaults=defaults | {"metrics": ["accuracy"]}, blocks=({"seed": [0, 1, 2, 3]},))


def seen(recipe: Recipe, store: Store) -> Status:
    return status_of(recipe, Store(store.root), CPU)


def test_a_study_that_nobody_has_begun_is_pending(recipe: Recipe, store: Store) -> None:
    found = seen(recipe, store)
    assert (found.counts, found.workers, found.open, found.seconds_left) == ({"pending": 4}, [], 4, None)
    open_ = replace(recipe, choose={"values": [0.01, 0.02], "seed": 50}, defaults={**recipe.defaults})
    del open_.defaults["lr"]  # type: ignore[attr-defined]
    assert seen(open_, store).counts == {"pending": 3, "to choose": 4}


def test_every_run_is_done_running_failed_or_pending(recipe: Recipe, store: Store) -> None:
    run_grid(replace(recipe, shard="1/2"), store, runtime=CPU)
    workspace = Workspace(store, CPU)
    third, fourth = (workspace.identified(cell) for cell in recipe.cells()[2:])
    save_failure(third, workspace, ZeroDivisionError("by a method of mine"))
    with store.lock(run_id("unlearn", fourth)):
        found = seen(recipe, store)
    assert found.counts == {"done": 2, "failed": 1, "running": 1}
    assert [row.state for row in found.rows] == ["done", "done", "failed", "running"]
    assert found.rows[2].detail == "ZeroDivisionError: by a method of mine"
    (worker,) = found.workers
    assert found.rows[3].detail.startswith(worker)
    assert found.open == 1
    assert found.seconds_left is not None
    assert found.seconds_left >= 0
    after = seen(recipe, store)  # nobody is at work any more
    assert (after.counts, after.seconds_left) == ({"done": 2, "failed": 1, "pending": 1}, None)
    assert [row.run_id for row in after.rows] == [
        run_id("unlearn", workspace.identified(one)) for one in recipe.cells()
    ]


def test_a_run_that_is_made_anew_counts_as_running(recipe: Recipe, store: Store) -> None:
    workspace = Workspace(store, CPU)
    first = workspace.identified(recipe.cells()[0])
    save_failure(first, workspace, ZeroDivisionError("once"))
    with store.lock(run_id("unlearn", first)):
        assert seen(recipe, store).counts == {"running": 1, "pending": 3}


def test_a_claim_whose_owner_fell_silent_is_nobody_at_work(recipe: Recipe, store: Store) -> None:
    first = Workspace(store, CPU).identified(recipe.cells()[0])
    with store.lock(run_id("unlearn", first)):
        (marker,) = store.claims.folder.glob("*.claim")
        os.utime(marker, (1, 1))
        assert (seen(recipe, store).counts, seen(recipe, store).workers) == ({"pending": 4}, [])
