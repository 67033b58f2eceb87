"""Sweeps: one table, cached per cell, resumed after an interruption."""

from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from repro.base.errors import ConfigError
from repro.records.store import Store
from theory.claims import sweep as sweeps
from theory.claims import trajectories
from theory.claims.sweep import SWEEPS, run_sweep
from theory.config import SWEEP_NAMES, SweepConfig, TheoryConfig
from theory.engine import simulate
from theory.predict import ends

BASE = TheoryConfig(d=300, n=12, n_forget=3, m=3, pretrain_epochs=5, epochs=5, directions=64)
TINY = SweepConfig(sweep="odds", signal_strength=(0.5, 1.0), alpha=(0.5, 0.9), seeds=2)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """One store for all sweeps here: what one of them has simulated no other simulates again."""
    return Store(tmp_path_factory.mktemp("sweeps") / "runs")


def test_a_sweep_is_one_table_with_a_row_a_cell(store):
    record = run_sweep("odds", TINY, store, base=BASE)
    columns = record.arrays()
    assert record.kind == "theory_sweep"
    assert record.result["rows"] == 2 * 2 * 2 * 3  # strengths, alphas, pretrainings, rules
    assert all(len(column) == record.result["rows"] for column in columns.values())
    assert set(columns["signal_strength"]) == {0.5, 1.0}
    for place, cell in enumerate(sweeps._settings_of(sweeps.with_axes("odds", TINY), BASE.changed(seeds=2))):
        expected = ends([cell])[cell]
        assert {name: columns[name][place] for name in expected} == pytest.approx(expected)
    table = pq.read_table(store.root / "sweeps" / f"{record.run_id}.parquet")
    np.testing.assert_array_equal(table["test_error"].to_numpy(), columns["test_error"])


@pytest.mark.parametrize("damage", [lambda raw: raw[: len(raw) // 2], lambda raw: b"", None])
def test_a_table_that_is_damaged_or_of_another_record_is_named_and_written_anew(store, damage):
    record = run_sweep("odds", TINY, store, base=BASE)
    path = store.root / "sweeps" / f"{record.run_id}.parquet"
    whole = path.read_bytes()
    if damage:
        path.write_bytes(damage(whole))
    else:
        pq.write_table(pq.read_table(path).slice(1), path)
    assert [line.partition(":")[0] for line in store.verify()] == [f"sweeps/{path.name}"]
    run_sweep("odds", TINY, store, base=BASE)
    assert path.read_bytes() == whole
    assert store.verify() == []


def test_a_sweep_and_a_claim_read_the_same_cells(store, monkeypatch):
    run_sweep("odds", TINY, store, base=BASE)
    (strong, *_) = [cell for cell in sweeps._settings_of(SWEEPS["odds"], BASE.changed(seeds=2))
                    if cell.signal_strength == 1.4]  # fmt: skip
    trajectories.run_settings([strong], store)
    monkeypatch.setattr(trajectories, "simulate_many", None)  # would be called for a cell that is not there
    run_sweep("odds", TINY, store, base=BASE)
    kept = {path.name for path in (store.root / "cells" / "runs").iterdir()}
    assert {trajectories.setting_id(cell, True) for cell in trajectories.run_settings([strong], store)} <= kept


@pytest.mark.parametrize("name", ["drive", "survival", "odds"])
def test_phase_diagrams_have_the_columns_they_are_drawn_from(store, name):
    axes = {
        "drive": {"pretrain_epochs": (1, 2)},
        "survival": {"probe_rho_scale": (0.1, 3.0)},
        "odds": {"alpha": (0.5,)},
    }
    config = SweepConfig(sweep=name, signal_strength=(0.5, 2.0), seeds=2, **axes[name])
    record = run_sweep(name, config, store, base=BASE.changed(pretrain_epochs=2))
    columns = record.arrays()
    wanted = {"drive": {"pretrained_test_error", "pretrain_epochs"}, "odds": {"alpha", "test_error", "forget_error"},
              "survival": {"probe_rho_scale", "depth_retain_match", "active_retain_match_joint",
                           "active_retain_match_predicted"}}[name]  # fmt: skip
    assert wanted <= set(columns)
    for axis, values in axes[name].items():
        assert set(columns[axis]) == set(values)
    if name == "drive":
        assert set(columns["epochs"]) == {0}


def test_a_finished_sweep_does_nothing_again(store):
    first = run_sweep("odds", TINY, store, base=BASE)
    assert run_sweep("odds", TINY, store, base=BASE).provenance == first.provenance


def test_other_axes_seeds_or_settings_are_another_sweep(store):
    first = run_sweep("odds", TINY, store, base=BASE)
    fewer = run_sweep("odds", replace(TINY, signal_strength=(0.5,)), store, base=BASE)
    assert set(fewer.arrays()["signal_strength"]) == {0.5}
    more = run_sweep("odds", replace(TINY, seeds=3), store, base=BASE)
    assert more.config["base"]["seeds"] == 3
    smaller = run_sweep("odds", TINY, store, base=BASE.changed(d=200))
    assert set(smaller.arrays()["d"]) == {200}
    assert len({record.run_id for record in (first, fewer, more, smaller)}) == 4


def test_a_row_counts_the_seeds_that_diverged(store):
    columns = run_sweep("odds", TINY, store, base=BASE.changed(eta_scale=1e308)).arrays()
    assert set(columns["diverged"]) == {2}
    assert set(columns["status"]) == {"diverged"}
    assert np.all(np.isnan(columns["test_error"]))


def test_a_matched_sweep_says_how_many_seeds_reached_the_forget_level(store):
    config = SweepConfig(sweep="split", mask_fraction=(0.5,), alpha=(0.95,), seeds=6)
    columns = run_sweep("split", config, store, base=BASE).arrays()
    cell = BASE.changed(alpha=0.95, seeds=6, unlearn="minmax", mask_fraction=0.5, directions=256)
    for pretrain, share, error, epochs in zip(*(columns[name].tolist() for name in (
            "pretrain", "matched_reached", "matched_test_error", "matched_epochs")), strict=True):  # fmt: skip
        run = simulate(cell.changed(pretrain=pretrain, epochs=1000, stop_forget_error=0.5))
        reached = run.stopped_at >= 0
        assert share == reached.mean()
        assert error == pytest.approx(run.metrics["test_error"][reached, -1].mean())
        assert epochs == pytest.approx(run.stopped_at[reached].mean())


def test_a_row_is_the_mean_over_seeds_of_the_cell_it_names(store):
    columns = run_sweep("odds", TINY, store, base=BASE).arrays()
    names = ("signal_strength", "pretrain", "pretrain_epochs", "unlearn", "rho_scale", "alpha", "epochs")
    for i in range(len(columns["d"])):
        cell = BASE.changed(
            seeds=2, checkpoint_every=1000, directions=256, **{name: columns[name][i].item() for name in names}
        )
        run = simulate(cell)
        assert columns["test_error"][i] == pytest.approx(run.final("test_error").mean())
        assert columns["pretrained_test_error"][i] == pytest.approx(run.pretrain["test_error"][:, -1].mean())
        assert columns["retrained_test_error"][i] == pytest.approx(run.retrained["test_error"].mean())
        assert columns["kappa_retain_se"][i] == pytest.approx(run.final("kappa_retain").std(ddof=1) / 2**0.5)
        assert columns["oracle_gap"][i] == pytest.approx(
            np.abs(run.final("forget_error") - run.retrained["forget_error"]).mean())  # fmt: skip


def test_an_axis_of_another_sweep_is_refused(store):
    with pytest.raises(ConfigError, match="mask_fraction: sweep 'phase' has no such axis"):
        run_sweep("phase", SweepConfig(sweep="phase", mask_fraction=(0.5,)), store)


def test_every_name_has_a_sweep():
    assert set(SWEEP_NAMES) == set(SWEEPS)
