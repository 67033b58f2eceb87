"""Cells: the same numbers from a record, after a kill, and from several processes; nothing simulated twice."""

from contextlib import ExitStack

import numpy as np
import pytest

from theory.claims import trajectories
from theory.claims.trajectories import run_settings, trajectory_store
from theory.config import TheoryConfig
from theory.engine import simulate, simulate_many
from theory.measures.metrics import metric_names

BASE = TheoryConfig(d=300, n=12, n_forget=3, m=3, pretrain_epochs=3, epochs=4, directions=64, seeds=2)
GRID = [BASE.changed(signal_strength=s, alpha=alpha) for s in (0.5, 1.0) for alpha in (0.6, 0.9)]
FIELDS = ("metrics", "pretrain", "retrained")


def assert_same(left, right):
    assert left.config == right.config
    for name in ("seeds", "epochs", "pretrain_epochs", "stopped_at", "diverged_at", "pretrained_at"):
        np.testing.assert_array_equal(getattr(left, name), getattr(right, name))
    for name in FIELDS:
        for metric, values in getattr(right, name).items():
            np.testing.assert_array_equal(getattr(left, name)[metric], values)


def count(monkeypatch) -> list[int]:
    """Count the cells that are simulated from here on, group by group."""
    simulated = []

    def counted(configs, **options):
        simulated.append(len(configs))
        return simulate_many(configs, **options)

    monkeypatch.setattr(trajectories, "simulate_many", counted)
    return simulated


def test_a_cell_read_from_its_record_is_the_one_simulated_bit_for_bit(store):
    stopping = BASE.changed(alpha=0.1, epochs=40, stop_forget_error=0.3, checkpoint_every=2)
    for _ in range(2):  # simulated, then read
        found = run_settings([*GRID, stopping], store)
        for cell, run in found.items():
            assert_same(run, simulate(cell))


def test_cells_are_shared_and_repeated_ones_run_once(store, monkeypatch):
    simulated = count(monkeypatch)
    run_settings([GRID[0], GRID[0], GRID[1]], store)
    assert simulated == [2]  # one group: they share their pretraining
    run_settings(GRID, store)
    assert simulated == [2, 2]
    run_settings(GRID, store)
    assert simulated == [2, 2]


def test_a_killed_run_goes_on_from_the_groups_it_finished(store, monkeypatch):
    simulated, save = count(monkeypatch), trajectories.save_trajectory
    monkeypatch.setattr(trajectories, "save_trajectory", lambda run, *args, **kwargs: save(run, *args, **kwargs)
                        if run.config.signal_strength == 0.5 else (_ for _ in ()).throw(KeyboardInterrupt))  # fmt: skip
    with pytest.raises(KeyboardInterrupt):
        run_settings(GRID, store)
    monkeypatch.setattr(trajectories, "save_trajectory", save)
    simulated.clear()
    run_settings(GRID, store)
    assert simulated == [2]


def test_a_cell_with_an_oracle_serves_where_none_is_asked_for_but_not_the_other_way_round(store, monkeypatch):
    simulated = count(monkeypatch)
    without = run_settings(GRID[:1], store, oracle=False)[GRID[0]]
    assert np.isnan(without.retrained["test_error"]).all()
    assert np.isfinite(run_settings(GRID[:1], store)[GRID[0]].retrained["test_error"]).all()
    assert simulated == [1, 1]
    run_settings(GRID[1:2], store)
    assert np.isfinite(run_settings(GRID[1:2], store, oracle=False)[GRID[1]].retrained["test_error"]).all()
    assert simulated == [1, 1, 1]


def test_a_cell_measured_before_a_metric_existed_is_measured_again(store, monkeypatch):
    simulated = count(monkeypatch)
    with monkeypatch.context() as older:
        older.setattr(trajectories, "metric_names", lambda cell, **kind: metric_names(cell, **kind)[:-1])
        run_settings(GRID[:1], store)
    found = run_settings(GRID[:1], store)[GRID[0]]
    assert simulated == [1, 1]
    assert_same(found, simulate(GRID[0]))


def test_a_group_that_another_process_has_in_hand_is_left_to_it_and_taken_over_after(store, monkeypatch):
    own = trajectory_store(store)
    order = []
    held = ExitStack()
    held.enter_context(own.lease(trajectories.setting_id(GRID[0].pretrain_key(), True)))
    monkeypatch.setattr(trajectories, "_simulate_missing", lambda group, *rest: (
        order.append(group[0].signal_strength), held.close()))  # fmt: skip
    trajectories.work([GRID[:2], GRID[2:]], own.root, True, "")
    assert order == [1.0, 0.5]


def test_what_another_process_has_simulated_meanwhile_is_not_simulated_again(store, monkeypatch):
    run_settings(GRID[:1], store)
    simulated = count(monkeypatch)
    trajectories.work([GRID[:2], GRID[2:]], trajectory_store(store).root, True, "")
    assert simulated == [1, 2]


@pytest.mark.slow
def test_processes_that_share_a_store_change_no_number(store, tmp_path):
    from repro.records.store import Store

    alone = run_settings(GRID, store)
    for cell, run in run_settings(GRID, Store(tmp_path / "shared"), workers=2).items():
        assert_same(run, alone[cell])
