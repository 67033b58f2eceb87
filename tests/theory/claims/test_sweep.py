"""Sweeps: one table, cached per cell, resumed after an interruption."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from repro.records.errors import ConfigError
from theory.claims import sweep as sweeps
from theory.claims.sweep import SWEEPS, run_sweep
from theory.config import SWEEP_NAMES, SweepConfig, TheoryConfig

BASE = TheoryConfig(d=300, n=12, n_forget=3, m=3, pretrain_epochs=5, epochs=5, directions=64)
TINY = SweepConfig(sweep="surplus", signal_strength=(0.5, 1.0), seeds=2)


def test_a_sweep_is_one_table_with_a_row_a_cell(store):
    record = run_sweep("surplus", TINY, store, base=BASE)
    columns = record.arrays()
    assert record.kind == "theory_sweep"
    assert record.result["rows"] == 2 * 2 * 3 * 2  # strengths, epochs, starts, rules
    assert all(len(column) == record.result["rows"] for column in columns.values())
    assert set(columns["signal_strength"]) == {0.5, 1.0}
    table = pq.read_table(store.root / "sweeps" / f"{record.run_id}.parquet")
    np.testing.assert_array_equal(table["test_error"].to_numpy(), columns["test_error"])


def test_an_interrupted_sweep_keeps_its_finished_cells(store, monkeypatch):
    monkeypatch.setenv("NUMBA_NUM_THREADS", "1")
    measure, calls = sweeps.measure_cells, []

    def interrupted(cells, *, matched):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(len(cells))
        return measure(cells, matched=matched)

    monkeypatch.setattr(sweeps, "measure_cells", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_sweep("surplus", TINY, store, base=BASE)
    kept = len(list((store.root / "cells" / "runs").iterdir()))
    assert kept == sum(calls) > 0
    calls.clear()
    monkeypatch.setattr(sweeps, "measure_cells", lambda cells, *, matched: calls.append(len(cells)) or measure(
        cells, matched=matched))  # fmt: skip
    record = run_sweep("surplus", TINY, store, base=BASE)
    assert sum(calls) == record.result["rows"] - kept


def test_a_finished_sweep_does_nothing_again(store):
    first = run_sweep("surplus", TINY, store, base=BASE)
    assert run_sweep("surplus", TINY, store, base=BASE).provenance == first.provenance


def test_a_matched_sweep_says_how_many_seeds_reached_the_forget_level(store):
    config = SweepConfig(sweep="minmax", mask_fraction=(0.5,), mask_refresh=(1,), seeds=2)
    columns = run_sweep("minmax", config, store, base=BASE).arrays()
    assert np.all((columns["matched_reached"] >= 0.0) & (columns["matched_reached"] <= 1.0))


def test_a_phase_sweep_fits_the_boundary(store):
    config = SweepConfig(sweep="phase", d=(500, 1000, 2000), seeds=2)
    record = run_sweep("phase", config, store, base=TheoryConfig(directions=64))
    rows = {(row["stage"], row["pretrain"], row["unlearn"]): row for row in record.result["boundaries"]}
    assert rows["pretrained", "sgd", "sgd"]["exponent"] == pytest.approx(0.25, abs=0.08)


def test_an_axis_of_another_sweep_is_refused(store):
    with pytest.raises(ConfigError, match="mask_fraction: sweep 'phase' has no such axis"):
        run_sweep("phase", SweepConfig(sweep="phase", mask_fraction=(0.5,)), store)


def test_every_name_has_a_sweep():
    assert set(SWEEP_NAMES) == set(SWEEPS)
