"""How far predictions hold: their error against simulation over a grid of cells, kept as one record."""

import time
from collections.abc import Callable, Iterable, Sequence
from itertools import product
from typing import Any

import numpy as np

from repro.records.provenance import collect
from repro.records.record import Record
from repro.records.store import Store
from theory.config import TheoryConfig
from theory.engine import Trajectory, simulate_many
from theory.predict import UNLEARNING_GRID, Prediction, outside_measured, predict_many
from theory.stats import quadrature_error

KIND = "theory_validity"
LEVELS = (0.25, 0.5)  # forget errors at which prediction and simulation are compared where both have forgotten so much
STRENGTHS = (0.1, 0.25, 0.5, 0.75, 1.0, 1.4, 2.0)
# One setting changed at a time, at d = 4000 and n = 40, to see how far beyond the region predictions carry.
BEYOND = ({"m": 5}, {"m": 20}, {"m": 40}, {"patches": 3}, {"patches": 5}, {"sigma_0_scale": 0.03},
          {"sigma_0_scale": 0.3}, {"d": 500})  # fmt: skip
RULES = ({"unlearn": "sgd"}, {"unlearn": "sam", "rho_scale": 0.1}, {"unlearn": "sam", "rho_scale": 1.0})
VERSION = 2  # of the grid and of what is measured; another one makes another record


def region_grid() -> list[dict[str, Any]]:
    """Return the settings of pretraining inside the region: d, n, s and epochs, n_F a fifth of n."""
    return [{"d": d, "n": n, "n_forget": n // 5, "signal_strength": s, "pretrain_epochs": epochs}
            for d, n, s, epochs in product((1000, 10_000, 100_000, 10**6), (20, 40, 160), STRENGTHS,
                                           (30, 100, 300, 1000))]  # fmt: skip


def beyond_grid() -> list[dict[str, Any]]:
    """Return the settings of pretraining beyond the region."""
    points = product((0.25, 0.5, 1.0, 2.0), (30, 100, 300))
    return [{"signal_strength": s, "pretrain_epochs": epochs} | changed
            for (s, epochs), changed in product(points, BEYOND)]  # fmt: skip


def unlearning_grid() -> list[dict[str, Any]]:
    """Return the settings of unlearning: alpha, d, s and rule, 200 epochs."""
    points = product(*UNLEARNING_GRID.values(), RULES)
    return [dict(zip(UNLEARNING_GRID, values, strict=True)) | rule for *values, rule in points]


def run_validity(store: Store, *, seeds: int = 8, first_seed: int = 0) -> Record:
    """Return the record of predictions against simulations, measuring it if the store has none.

    Its arrays are the columns of a table, which has for each cell prediction, mean and standard error over seeds of
    test error (with the part of its quadrature) and kappa before and after unlearning, the largest gap of test and
    forget error over the checkpoints, and the gap of test error at each forget level that both reach. `worst` is the
    largest and mean gap in the region and beyond, by pretraining rule.
    """
    identity = {"version": VERSION, "seeds": seeds, "first_seed": first_seed}
    found = store.find(KIND, identity)
    if found is None:
        store.ensure_writable()
        begin = time.perf_counter()
        rows = [*_measure(_cells([*region_grid(), *beyond_grid()], identity, epochs=0), _pretraining_row),
                *_measure(_cells(unlearning_grid(), identity), _unlearning_row)]  # fmt: skip
        result = {"seeds": seeds, "cells": len(rows), "worst": worst(rows)}
        seconds = round(time.perf_counter() - begin, 1)
        made = collect(study="validity", seconds=seconds)
        found = store.save(KIND, identity, result=result, arrays=columns(rows), provenance=made)
    return found


def columns(rows: Sequence[dict[str, Any]]) -> dict[str, np.ndarray]:
    """Return a table as one array a column, NaN where a row has no number: what a record keeps beside its result."""
    names = dict.fromkeys(name for row in rows for name in row)
    values = {name: [row.get(name) for row in rows] for name in names}
    return {name: np.array(column if isinstance(column[0], str) else [np.nan if v is None else v for v in column])
            for name, column in values.items()}  # fmt: skip


def rows_of(record: Record) -> list[dict[str, Any]]:
    """Return the rows of a record's table, None where a cell has no number."""
    table = {name: column.tolist() for name, column in record.arrays().items()}
    return [{name: None if value != value else value for name, value in zip(table, row, strict=True)}
            for row in zip(*table.values(), strict=True)]  # fmt: skip


def _cells(grid: Iterable[dict[str, Any]], identity: dict[str, int], **common: Any) -> list[TheoryConfig]:
    seeds = {name: identity[name] for name in ("seeds", "first_seed")}
    return [TheoryConfig(pretrain=rule, **seeds, **common, **point) for point in grid for rule in ("sgd", "sam")]


def _measure(cells: Sequence[TheoryConfig], row: Callable[[Trajectory, Prediction], dict]) -> list[dict[str, Any]]:
    runs = simulate_many(cells, description=f"{len(cells)} cells", oracle=False)
    return [_settings(cell) | row(run, prediction)
            for cell, run, prediction in zip(cells, runs, predict_many(cells), strict=True)]  # fmt: skip


def _settings(cell: TheoryConfig) -> dict[str, Any]:
    names = ("d", "n", "m", "patches", "sigma_0_scale", "signal_strength", "pretrain", "pretrain_epochs", "epochs",
             "alpha", "unlearn", "rho_scale")  # fmt: skip
    inside = not outside_measured(cell)
    return {name: getattr(cell, name) for name in names} | {"inside": inside}


def _pretraining_row(run: Trajectory, prediction: Prediction) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, ours, theirs in (
        ("test_error", prediction.pretrain["test_error"], run.pretrain["test_error"]),
        ("kappa", _kappa(prediction.pretrain), _kappa(run.pretrain)),
        ("zeta", prediction.pretrain["zeta_retain"], run.pretrain["zeta_retain"]),
    ):
        found |= _pair(name, ours[-1], theirs[:, -1])
    found["test_error_quadrature"] = quadrature_error(run.pretrain["test_error_quadrature"][:, -1].tolist())
    return found | {"stage": "pretrained"}


def _unlearning_row(run: Trajectory, prediction: Prediction) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in ("test_error", "forget_error"):
        ours, theirs = prediction.metrics[name], run.metrics[name]
        found |= _pair(name, ours[-1], theirs[:, -1])
        found[f"{name}_gap"] = float(np.max(np.abs(ours - theirs.mean(axis=0))))
    found["test_error_quadrature"] = quadrature_error(run.metrics["test_error_quadrature"][:, -1].tolist())
    found |= _pair("kappa", _kappa(prediction.metrics)[-1], _kappa(run.metrics)[:, -1])
    for level in LEVELS:
        found[f"matched_{level}_gap"] = matched_gap(run, prediction, level)
    return found | {"stage": f"unlearned, alpha = {run.config.alpha:g}"}


def matched_gap(run: Trajectory, prediction: Prediction, level: float) -> float | None:
    """Return predicted minus mean simulated test error, each where its forget error first reaches `level`, or None."""
    places = []
    for forget in (prediction.metrics["forget_error"], run.metrics["forget_error"].mean(axis=0)):
        reached = np.flatnonzero(forget >= level)
        places.append(reached[0] if len(reached) else None)
    ours, theirs = places
    if ours is None or theirs is None:
        return None
    return float(prediction.metrics["test_error"][ours] - run.metrics["test_error"][:, theirs].mean())


def _kappa(metrics: dict[str, np.ndarray]) -> np.ndarray:
    return metrics["kappa_retain"] + metrics["kappa_forget"]


def _pair(name: str, predicted: float, simulated: np.ndarray) -> dict[str, float | None]:
    error = simulated.std(ddof=1) / len(simulated) ** 0.5 if len(simulated) > 1 else float("nan")
    values = {name: simulated.mean(), f"{name}_se": error, f"{name}_predicted": predicted}
    return {key: float(f"{value:.4g}") if np.isfinite(value) else None for key, value in values.items()}


def worst(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return largest and mean gap of every quantity, by stage, pretraining rule, and inside or beyond the region.

    `test_error` and `forget_error` at the end are differences, `kappa` and `zeta` ratios minus one (in size).
    """
    found = []
    stages = dict.fromkeys(row["stage"] for row in rows)
    for stage, pretrain, inside in product(stages, ("sgd", "sam"), (True, False)):
        keys = {"stage": stage, "pretrain": pretrain, "inside": inside}
        chosen = [row for row in rows if all(row[key] == value for key, value in keys.items())]
        for name, gap in GAPS.items():
            gaps = [abs(value) for row in chosen if (value := gap(row)) is not None]
            if gaps:
                found.append(keys | {"quantity": name, "largest": max(gaps), "mean": float(np.mean(gaps)),
                                     "cells": len(gaps)})  # fmt: skip
    return found


def _ratio(row: dict[str, Any], name: str) -> float | None:
    return row[f"{name}_predicted"] / row[name] - 1 if row.get(name) else None


GAPS: dict[str, Callable[[dict[str, Any]], float | None]] = {
    "test_error": lambda row: row["test_error_predicted"] - row["test_error"],
    "kappa": lambda row: _ratio(row, "kappa"),
    "zeta": lambda row: _ratio(row, "zeta") if row["pretrain"] == "sgd" else None,  # SAM memorizes next to nothing
    "test_error, any epoch": lambda row: row.get("test_error_gap"),
    "forget_error, any epoch": lambda row: row.get("forget_error_gap"),
    **{f"test_error at forget error {level}": lambda row, level=level: row.get(f"matched_{level}_gap")
       for level in LEVELS},
}  # fmt: skip
