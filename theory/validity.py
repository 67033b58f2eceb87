"""How far predictions lie from simulation on random settings, and from it an interval for any other setting.

Settings are drawn from one committed distribution. The table of half-widths is fitted on the first of them. On the
rest, which it has not seen, its coverage is counted. `theory/trust.py` keeps the table for use without it.
"""

import time
from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np

from repro.records.provenance import collect
from repro.records.record import Record
from repro.records.store import Store
from theory.accuracy import random_settings
from theory.config import TheoryConfig
from theory.engine import simulate_many
from theory.predict import predict_many, unpredictable
from theory.stats import quadrature_error
from theory.tables import columns
from theory.trust import BANDS, LEVEL, QUANTITIES, Widths, half_width, place_of

KIND = "theory_validity"
VERSION = 4  # of the settings and of what is measured; another one makes another record
FITTED, HELD_OUT = 200, 100  # settings on which the table is fitted, and on which it is tried
# Seeds that draw them. The settings of seed 2 were looked at while the bands were chosen, so they try nothing.
FITTED_SEED, HELD_OUT_SEED = 1, 3
SHOWN = ("d", "n", "m", "patches", "signal_strength", "alpha", "pretrain", "unlearn", "method", "rho_scale",
         "pretrain_epochs", "epochs")  # fmt: skip
FEWEST = 9  # settings of a group: fewer cannot tell a quantile of nine tenths


def drawn_settings(count: int, seed: int) -> list[TheoryConfig]:
    """Return the first `count` settings of `random_settings` that the mean field covers."""
    cells = (TheoryConfig(**setting) for setting in random_settings(8 * count, seed=seed))
    return [cell for cell in cells if not unpredictable(cell)][:count]


def run_validity(store: Store, *, seeds: int = 8, first_seed: int = 0) -> Record:
    """Return the record of predictions against simulations, measuring it if the store has none.

    Its arrays are the columns of a table, a row a setting: whether it is held out, what decides its group, and for each
    of `QUANTITIES` prediction, mean and standard error over seeds. `table` has the fitted half-widths, `coverage` one
    row a quantity, counted on the held-out settings.
    """
    identity = {"version": VERSION, "seeds": seeds, "first_seed": first_seed}
    found = store.find(KIND, identity)
    if found is None:
        store.ensure_writable()
        begin = time.perf_counter()
        rows = measure(
            [*drawn_settings(FITTED, FITTED_SEED), *drawn_settings(HELD_OUT, HELD_OUT_SEED)], seeds, first_seed
        )
        for place, row in enumerate(rows):
            row["held_out"] = place >= FITTED
        table = fit([row for row in rows if not row["held_out"]])
        covered = coverage([row for row in rows if row["held_out"]], table)
        result = {"seeds": seeds, "settings": len(rows), "table": table, "coverage": covered}
        made = collect(study="validity", seconds=round(time.perf_counter() - begin, 1))
        found = store.save(KIND, identity, result=result, arrays=columns(rows), provenance=made)
    return found


def measure(cells: Sequence[TheoryConfig], seeds: int, first_seed: int) -> list[dict[str, Any]]:
    """Return a row a setting: its group's variables, and prediction and simulation of each quantity."""
    cells = [cell.changed(seeds=seeds, first_seed=first_seed, checkpoint_every=10**6) for cell in cells]
    runs = simulate_many(cells, description=f"{len(cells)} settings", oracle=False)
    rows = []
    for cell, run, prediction in zip(cells, runs, predict_many(cells), strict=True):
        row: dict[str, Any] = {name: getattr(cell, name) for name in SHOWN}
        for quantity in QUANTITIES:
            stage, name = quantity.split(", ")
            ours = (prediction.pretrain if stage == "pretrained" else prediction.metrics)[name][-1]
            theirs = (run.pretrain if stage == "pretrained" else run.metrics)[name][:, -1]
            row |= {f"{quantity}, predicted": float(ours), quantity: float(np.mean(theirs)),
                    f"{quantity}, se": float(np.std(theirs, ddof=1) / len(theirs) ** 0.5)}  # fmt: skip
        row["test_error_quadrature"] = quadrature_error(run.metrics["test_error_quadrature"][:, -1].tolist())
        rows.append(row)
    return rows


def fit(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the half-width of every group: the conformal quantile of the errors of its settings.

    The `ceil((k + 1) LEVEL)`-th smallest of k absolute errors covers a further setting of the group with probability
    LEVEL at least. A group of fewer than `FEWEST` settings takes those of its quantity and pretraining.
    """
    table = []
    for quantity, pretrain, band in product(QUANTITIES, ("sgd", "sam"), range(len(BANDS) + 1)):
        alike = [row for row in rows if row["pretrain"] == pretrain and np.isfinite(row[quantity])]
        own = [row for row in alike if place_of(row[f"{quantity}, predicted"]) == band]
        errors = np.sort([abs(row[f"{quantity}, predicted"] - row[quantity])
                          for row in (own if len(own) >= FEWEST else alike)])  # fmt: skip
        last = min(int(np.ceil((len(errors) + 1) * LEVEL)), len(errors)) - 1
        table.append({"quantity": quantity, "pretrain": pretrain, "band": band, "settings": len(own),
                      "half_width": float(f"{errors[last]:.2g}")})  # fmt: skip
    return table


def widths_of(table: Sequence[dict[str, Any]]) -> Widths:
    """Return the half-widths of a table in the order of the bands, by quantity and rule of pretraining."""
    return {(quantity, pretrain): tuple(row["half_width"] for row in table
                                        if (row["quantity"], row["pretrain"]) == (quantity, pretrain))
            for quantity, pretrain in product(QUANTITIES, ("sgd", "sam"))}  # fmt: skip


def coverage(rows: Sequence[dict[str, Any]], table: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return for each quantity which share of settings lies in its interval, the median half-width and the score.

    The interval score (Gneiting and Raftery 2007) is `width + 2 / (1 - LEVEL) * (distance outside)`; lower is better.
    """
    found, fitted = [], widths_of(table)
    for quantity in QUANTITIES:
        known = [row for row in rows if np.isfinite(row[quantity])]
        widths = np.array(
            [half_width(quantity, row["pretrain"], row[f"{quantity}, predicted"], fitted) for row in known]
        )
        gaps = np.abs([row[f"{quantity}, predicted"] - row[quantity] for row in known])
        score = 2 * widths + 2 / (1 - LEVEL) * np.maximum(gaps - widths, 0.0)
        found.append({"quantity": quantity, "settings": len(known), "covered": float(np.mean(gaps <= widths)),
                      "median_half_width": float(np.median(widths)), "interval_score": float(score.mean()),
                      "median_error": float(np.median(gaps)), "largest_error": float(gaps.max())})  # fmt: skip
    return found
