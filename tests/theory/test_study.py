"""The study's records: contract, cache, table."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from theory.config import TheoryConfig
from theory.engine import simulate
from theory.measures.metrics import METRICS, TRAINING_METRICS
from theory.steps import dynamics
from theory.study import RULE_PAIRS, is_compiled, run_study, summarize

QUICK = TheoryConfig(d=400, n=16, n_forget=4, m=4, pretrain_epochs=10, epochs=10, seeds=3, directions=64)


def test_a_study_writes_one_record_a_cell_and_runs_it_once(store):
    records = run_study(QUICK, store)
    assert [(r.config["pretrain"], r.config["unlearn"]) for r in records] == list(RULE_PAIRS)
    written = {path: path.stat().st_mtime_ns for path in store.root.rglob("result.json")}
    again = run_study(QUICK, store)
    assert [r.run_id for r in again] == [r.run_id for r in records]
    assert {path: path.stat().st_mtime_ns for path in store.root.rglob("result.json")} == written
    assert store.verify() == []


def test_a_record_keeps_the_contract_of_the_figures(store):
    record = run_study(QUICK, store, pairs=[("sgd", "sam")])[0]
    result, arrays = record.result, record.arrays()
    assert record.kind == "theory"
    assert result["seeds"] == [0, 1, 2]
    assert result["epochs"][0] == 0
    assert set(METRICS) == set(result["final"])
    for name in METRICS:
        assert arrays[f"trajectory_{name}"].shape == (3, len(result["epochs"]))
        np.testing.assert_allclose(arrays[f"trajectory_{name}"][:, -1], result["final"][name], rtol=1e-6, atol=1e-300)
    assert arrays["pretrain_trajectory_test_error"].shape == (3, len(arrays["pretrain_epochs"]))
    assert set(result["pretrained"]) == set(result["retrained"]) == set(TRAINING_METRICS)
    assert result["diverged_at"] == [None, None, None]


def test_a_record_says_when_each_seed_reached_the_forget_level(store):
    at_once, never = ({"alpha": 0.1, "stop_forget_error": 0.0}, {"alpha": 1.0, "stop_forget_error": 1.0})
    for changes, expected in ((at_once, 0), (never, None)):
        (record,) = run_study(QUICK.changed(**changes), store, pairs=[("sgd", "sgd")])
        assert record.result["stopped_at"] == [expected] * 3


def test_a_record_of_forty_seeds_stays_below_fifty_kilobytes(store):
    record = run_study(QUICK.changed(seeds=40), store, pairs=[("sgd", "sgd")])[0]
    assert len(json.dumps(record.result, indent=1)) < 50_000


def test_the_table_has_forget_error_beside_test_error_with_errors(store):
    row = summarize(run_study(QUICK, store, pairs=[("sam", "sam")]))[0]
    names = list(row)
    assert names.index("forget_error") - names.index("test_error") <= 4
    assert row["test_error_se"] > 0.0
    assert row["test_error_quadrature"] < 0.02
    assert "test_error_quadrature_se" not in row
    assert row["seeds"] == 3
    assert row["diverged"] == 0


def test_a_diverged_cell_is_a_record_and_a_row(store):
    records = run_study(QUICK.changed(eta_scale=1e308), store, pairs=[("sgd", "sgd")])
    assert records[0].status == "diverged"
    row = summarize(records)[0]
    assert row["diverged"] == 3
    assert row["test_error"] is None


def test_pretrained_retrained_and_final_numbers_are_those_of_their_models(store):
    record = run_study(QUICK.changed(epochs=10), store, pairs=[("sgd", "sgd")])[0]
    result, run = record.result, simulate(QUICK.changed(pretrain="sgd", unlearn="sgd"))
    for name in ("test_error", "forget_loss", "kappa_retain"):
        np.testing.assert_allclose(result["final"][name], run.final(name), rtol=1e-6)
        np.testing.assert_allclose(result["pretrained"][name], run.pretrain[name][:, -1], rtol=1e-6)
        np.testing.assert_allclose(result["retrained"][name], run.retrained[name], rtol=1e-6)
    row = summarize([record])[0]
    assert row["forget_loss"] == pytest.approx(run.final("forget_loss").mean(), rel=1e-6)
    assert row["forget_loss_se"] == pytest.approx(run.final("forget_loss").std(ddof=1) / 3**0.5, rel=1e-5)


def test_code_compiled_from_an_older_source_would_be_compiled_again(tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    assert not is_compiled()
    kept = tmp_path / "theory_0" / "dynamics._take_steps-100.py311.nbi"
    kept.parent.mkdir()
    kept.touch()
    assert is_compiled()
    source = Path(dynamics.__file__).stat().st_mtime
    os.utime(kept, (source - 1, source - 1))
    assert not is_compiled()
