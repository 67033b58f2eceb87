"""Where a study stands, from records and leases alone."""

import os
from dataclasses import replace

import pytest

from empirical.runs.resources import Resources
from empirical.settings.keys import evaluation_keys
from empirical.studies.executors import save_failure
from empirical.studies.grid import run_grid
from empirical.studies.recipe import Recipe
from empirical.studies.search import Search
from empirical.studies.status import Status, status_of
from repro.records.identity import run_id
from repro.records.store import Store
from tests.empirical.conftest import Small
from tests.empirical.run_parts import CPU, PARENTS, recipe_of


@pytest.fixture
def recipe(small: Small) -> Recipe:
    return recipe_of(small(metrics=("accuracy",)), {"seed": [0, 1, 2, 3]})


def seen(recipe: Recipe, store: Store) -> Status:
    return status_of(recipe, Store(store.root), CPU)


def test_a_study_that_nobody_has_begun_is_pending(recipe: Recipe, store: Store) -> None:
    found = seen(recipe, store)
    assert (found.counts, found.workers, found.open, found.seconds_left) == ({"pending": 4}, [], 4, None)
    open_ = replace(recipe, search=Search(values=(0.01, 0.02), seed=50), defaults={**recipe.defaults})
    del open_.defaults["lr"]  # type: ignore[attr-defined]
    assert seen(open_, store).counts == {"pending": 3, "searching": 4}


def test_every_run_is_done_running_failed_or_pending(recipe: Recipe, store: Store) -> None:
    run_grid(replace(recipe, shard="1/2"), store, runtime=CPU)
    resources = Resources(store, CPU)
    third, fourth = (resources.identified(cell) for cell in recipe.runs()[2:])
    save_failure(third, resources, ZeroDivisionError("by a method of mine"))
    with store.lease(run_id("unlearn", fourth)):
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
    assert [row.run_id for row in after.rows] == [run_id("unlearn", resources.identified(one)) for one in recipe.runs()]


def test_the_rest_is_foretold_by_the_mean_time_between_the_runs_that_ended(
    recipe: Recipe, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three runs ended at 10:00:00, 10:01:00 and 10:05:00, one of the other two is in hand: twice 150 seconds."""
    five = replace(recipe, blocks=({"seed": [0, 1, 2, 3, 4]},))
    cells = [Resources(store, CPU).identified(cell) for cell in five.runs()]
    for cell, ended in zip(cells, ("10:05:00", "10:00:00", "10:01:00"), strict=False):
        ids = {n: store.save_evaluation(k, result={}).run_id for n, k in evaluation_keys(cell, PARENTS).items()}
        store.save("unlearn", cell, result={"parents": PARENTS}, evaluations=ids,
                   provenance={"finished": f"2026-01-01T{ended}+00:00"})  # fmt: skip
    with store.lease(run_id("unlearn", cells[3])):
        assert seen(five, store).seconds_left == pytest.approx(2 * 150)
        monkeypatch.setattr("empirical.studies.status.RECENT", 2)
        assert seen(five, store).seconds_left == pytest.approx(2 * 240), "of the last two alone"


def test_a_run_that_is_made_anew_counts_as_running(recipe: Recipe, store: Store) -> None:
    resources = Resources(store, CPU)
    first = resources.identified(recipe.runs()[0])
    save_failure(first, resources, ZeroDivisionError("once"))
    with store.lease(run_id("unlearn", first)):
        assert seen(recipe, store).counts == {"running": 1, "pending": 3}


def test_a_lease_whose_owner_fell_silent_is_nobody_at_work(recipe: Recipe, store: Store) -> None:
    first = Resources(store, CPU).identified(recipe.runs()[0])
    with store.lease(run_id("unlearn", first)):
        (marker,) = store.leases.folder.glob("*.claim")
        os.utime(marker, (1, 1))
        assert (seen(recipe, store).counts, seen(recipe, store).workers) == ({"pending": 4}, [])
