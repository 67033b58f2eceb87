"""The errors of predictions on random settings, and the intervals for other settings that follow from them.

Settings are drawn from one fixed distribution. The models of `theory/checks/trust.py` are fitted on the first of them.
The intervals are tested on the others.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from repro.records.provenance import collect
from repro.records.record import Record
from repro.records.store import Store
from theory.checks.accuracy import random_settings
from theory.checks.trust import LEVEL, QUANTITIES, ErrorModel, Feature, stage_features
from theory.config import TheoryConfig
from theory.engine import simulate_many
from theory.predict import as_result, predict_many, unpredictable
from theory.stats import mean_and_error, quadrature_error
from theory.tables import columns

KIND = "theory_validity"
VERSION = 5  # of the settings and of what is measured; another one makes another record
FITTED, HELD_OUT = 600, 200  # settings for fitting the models, and for testing their intervals
# Seeds that draw the settings. Settings of seeds 2 and 3 were used to test earlier intervals, so they are not used
# again.
FITTED_SEED, HELD_OUT_SEED = 1, 4
SHOWN = ("d", "n", "m", "patches", "signal_strength", "alpha", "pretrain", "unlearn", "method", "rho_scale",
         "pretrain_epochs", "epochs")  # fmt: skip
FLOOR = {"test_error": 5e-4, "forget_error": 1e-2}  # added to an error before its log is fitted: some are 0
FOLDS = 10
SHRINK_SCALE, SHRINK_SHIFT = 10.0, 30.0  # penalties of the two regressions
FARTHEST = 4.0  # in scales: the largest influence of a single setting on the shift
MOVED = 0.1  # change of the predicted test error by unlearning: coverage is also counted below and above it
Rows = Sequence[Mapping[str, Any]]
Line = tuple[float, np.ndarray]  # constant and slopes


def drawn_settings(count: int, seed: int) -> list[TheoryConfig]:
    """Return the first `count` settings of `random_settings` that the mean field covers."""
    settings = (TheoryConfig(**setting) for setting in random_settings(8 * count, seed=seed))
    return [setting for setting in settings if not unpredictable(setting)][:count]


def run_validity(store: Store, *, seeds: int = 20, first_seed: int = 0) -> Record:
    """Return the record of predictions against simulations, measuring it if the store has none.

    Its arrays are the columns of a table with one row for each setting: whether it is held out; prediction, mean over
    seeds and standard error of each of `QUANTITIES`; the features of its interval. `models` holds the fitted models,
    `coverage` one row for each quantity and region, counted on the held-out settings.
    """
    identity = {"version": VERSION, "seeds": seeds, "first_seed": first_seed}
    found = store.find(KIND, identity)
    if found is None:
        store.ensure_writable()
        begin = time.perf_counter()
        drawn = [*drawn_settings(FITTED, FITTED_SEED), *drawn_settings(HELD_OUT, HELD_OUT_SEED)]
        rows = measure_errors(drawn, seeds, first_seed)
        for place, row in enumerate(rows):
            row["held_out"] = place >= FITTED
        models = {quantity: fit(rows[:FITTED], quantity) for quantity in QUANTITIES}
        told = {quantity: model._asdict() for quantity, model in models.items()}
        result = {"seeds": seeds, "settings": len(rows), "models": told, "coverage": coverage(rows[FITTED:], models)}
        made = collect(study="validity", seconds=round(time.perf_counter() - begin, 1))
        found = store.save(KIND, identity, result=result, arrays=columns(rows), provenance=made)
    return found


def measure_errors(settings: Sequence[TheoryConfig], seeds: int, first_seed: int) -> list[dict[str, Any]]:
    """Return one row for each setting: its fields, the features of its intervals, prediction and simulation."""
    settings = [setting.changed(seeds=seeds, first_seed=first_seed, checkpoint_every=10**6) for setting in settings]
    runs = simulate_many(settings, description=f"{len(settings)} settings", oracle=False)
    rows = []
    for setting, run, prediction in zip(settings, runs, map(as_result, predict_many(settings)), strict=True):
        row: dict[str, Any] = {name: getattr(setting, name) for name in SHOWN}
        for stage, found in stage_features(vars(setting), prediction).items():
            row |= {f"{stage}: {name}": value for name, value in found.items()}
        for quantity in QUANTITIES:
            stage, name = quantity.split(", ")
            simulated = (run.pretrain if stage == "pretrained" else run.metrics)[name][:, -1]
            mean, error = mean_and_error(simulated.tolist())
            whole = mean if np.isfinite(simulated).all() else None
            row |= {f"{quantity}, predicted": prediction[stage][name], quantity: whole, f"{quantity}, se": error}
        row["test_error_quadrature"] = quadrature_error(run.metrics["test_error_quadrature"][:, -1].tolist())
        rows.append(row)
    return rows


def known_rows(rows: Rows, quantity: str) -> list[Mapping[str, Any]]:
    """Return the rows that have both a prediction and a simulation in which no seed diverged."""
    names = quantity, f"{quantity}, predicted"
    return [row for row in rows if all(row[name] is not None and np.isfinite(row[name]) for name in names)]


def fit(rows: Rows, quantity: str) -> ErrorModel:
    """Return the model of a quantity's errors; its factor makes the intervals conformal.

    The factor is the `ceil((k + 1) LEVEL)`-th smallest of k errors in units of their scale. Each error comes from a
    model fitted without that setting's tenth of the data (cross-conformal, Vovk 2015).
    """
    known = known_rows(rows, quantity)
    stage, metric = quantity.split(", ")
    names = [name for name in known[0] if name.startswith(f"{stage}: ")]
    x = np.array([[row[name] for name in names] for row in known])
    errors = np.array([row[quantity] - row[f"{quantity}, predicted"] for row in known])
    ratios, places = np.empty(len(errors)), np.arange(len(errors)) % FOLDS
    for fold in range(FOLDS):
        own = places == fold
        (b_0, b), (a_0, a) = _shift_and_scale(x[~own], errors[~own], FLOOR[metric])
        at = np.clip(x[own], x[~own].min(axis=0), x[~own].max(axis=0))
        ratios[own] = np.abs(errors[own] * np.exp(-a_0 - at @ a) - b_0 - at @ b)
    last = min(int(np.ceil((len(ratios) + 1) * LEVEL)), len(ratios)) - 1
    (b_0, b), (a_0, a) = _shift_and_scale(x, errors, FLOOR[metric])
    rows_of_terms = np.stack([x.min(axis=0), x.max(axis=0), b, a], axis=1)
    terms = {name.removeprefix(f"{stage}: "): Feature(*map(_short, row))
             for name, row in zip(names, rows_of_terms, strict=True)}  # fmt: skip
    return ErrorModel(_short(np.sort(ratios)[last]), _short(b_0), _short(a_0), terms)


def _shift_and_scale(x: np.ndarray, errors: np.ndarray, floor: float) -> tuple[Line, Line]:
    """Return b and a of `errors = exp(a.x) (b.x + noise)`: a by the sizes of errors, then b in its units."""
    a_0, a = _ridge(x, np.log(np.abs(errors) + floor), SHRINK_SCALE)
    in_scales = np.clip(errors * np.exp(-a_0 - x @ a), -FARTHEST, FARTHEST)
    return _ridge(x, in_scales, SHRINK_SHIFT), (a_0, a)


def _ridge(x: np.ndarray, y: np.ndarray, penalty: float) -> Line:
    """Return constant and slopes of least squares with `penalty |slopes|^2`, the slopes of standardized features."""
    middle, unit = x.mean(axis=0), x.std(axis=0) + 1e-12
    z = (x - middle) / unit
    slopes = np.linalg.solve(z.T @ z + penalty * np.eye(len(unit)), z.T @ (y - y.mean())) / unit
    return float(y.mean() - middle @ slopes), slopes


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def coverage(rows: Rows, models: Mapping[str, ErrorModel]) -> list[dict[str, Any]]:
    """Return for each quantity the share of settings inside their intervals, the median half-width and the score.

    The interval score (Gneiting and Raftery 2007) is `width + 2 / (1 - LEVEL) * (distance outside)`; lower is better.
    After unlearning there are three regions: all settings, and those whose predicted test error moved by at most
    `MOVED` or by more.
    """
    found = []
    for quantity, model in models.items():
        stage, _ = quantity.split(", ")
        known = known_rows(rows, quantity)
        x = [{name.removeprefix(f"{stage}: "): value for name, value in row.items()} for row in known]
        predicted, simulated = (np.array([row[name] for row in known]) for name in (f"{quantity}, predicted", quantity))
        low, high = np.array([model.interval(p, features) for p, features in zip(predicted, x, strict=True)]).T
        outside = np.maximum(np.maximum(low - simulated, simulated - high), 0.0)
        score, off = high - low + 2 / (1 - LEVEL) * outside, np.abs(predicted - simulated)
        for region, own in _regions(known, stage).items():
            found.append({"quantity": quantity, "region": region, "settings": int(own.sum()),
                          "covered": float(np.mean(outside[own] == 0.0)),
                          "median_half_width": float(np.median(high[own] - low[own]) / 2),
                          "interval_score": float(score[own].mean()), "median_error": float(np.median(off[own])),
                          "largest_error": float(off[own].max())})  # fmt: skip
    return found


def _regions(rows: Rows, stage: str) -> dict[str, np.ndarray]:
    """Return which rows lie in each region, by name; empty regions are left out."""
    regions = {"all": np.full(len(rows), True)}
    if stage == "final":
        before, after = (np.array([row[f"{one}, test_error, predicted"] for row in rows], float)
                         for one in ("pretrained", "final"))  # fmt: skip
        moved = np.abs(after - before) > MOVED
        regions |= {f"moved by at most {MOVED}": ~moved, f"moved by more than {MOVED}": moved}
    return {name: own for name, own in regions.items() if own.any()}
