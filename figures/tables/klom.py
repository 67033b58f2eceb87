"""KLoM as tables: which models are compared, their KLoM with its interval, and the difference of two rules."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from figures.tables.cells import label, main_runs
from figures.tables.divergence import STATISTICS, bootstrap_interval, halves
from figures.tables.intervals import Table
from figures.tables.records import Records
from repro.records.record import Record

SETS = ("forget", "retain", "test")
FEWEST = 20
# What stands beside the unlearning rules: doing nothing, and what the measure gives where there is nothing to find.
ORIGINAL, RETRAINED = "do nothing", "other retrained models"


@dataclass(frozen=True)
class Cell:
    """The runs of one pretraining and unlearning rule, one a training seed, in the order of their seeds."""

    pretrain: str
    rule: str
    runs: tuple[Record, ...]

    def margins(self, role: str, name: str) -> np.ndarray:
        """Return the margins of one model and set, `(models, images)`."""
        return np.stack([run.arrays()[f"klom_{role}_{name}"] for run in self.runs]).astype(float)


def klom_cells(records: Records) -> list[Cell]:
    """Return the cells with margins of the largest group of runs that share one forget set."""
    runs = main_runs(records, ("rule", "pretrain"), having="klom_images")
    by_set: dict[str, dict[tuple[str, str], dict[int, Record]]] = defaultdict(lambda: defaultdict(dict))
    for run in runs:
        key = str(label(run, "pretrain")), str(label(run, "rule"))
        by_set[run.result["parents"]["forget_set"]][key][int(run.config["seed"])] = run
    if not by_set:
        return []
    largest = max(by_set.values(), key=lambda found: sum(map(len, found.values())))
    shared = sorted(set.intersection(*(set(found) for found in largest.values())))
    if len(shared) < FEWEST:
        return []
    return [Cell(*key, tuple(found[seed] for seed in shared)) for key, found in sorted(largest.items(), reverse=True)]


def klom_table(found: Sequence[Cell]) -> Table:
    """Return one row a pretraining rule, model, set and statistic, with a 95 % interval by resampling models.

    Columns: `pretrain`, `model` (an unlearning rule, or what it is compared with), `set`, `statistic` (mean or 95th
    percentile over images), `value`, `reverse` (the same with the two samples exchanged), `low`, `high`, `models` on
    either side.
    """
    seen: set[str] = set()
    rows = []
    for cell in found:
        rows += _cell_rows(cell, references=cell.pretrain not in seen)
        seen.add(cell.pretrain)
    return pd.DataFrame(rows)


def _cell_rows(cell: Cell, *, references: bool) -> list[dict[str, Any]]:
    """Return the rows of a cell, with those of what its pretraining rule is compared with."""
    rows = []
    for name in SETS:
        retrained = cell.margins("retrained", name)
        models = {cell.rule: cell.margins("unlearned", name)}
        if references:
            models |= {ORIGINAL: cell.margins("original", name), RETRAINED: retrained}
        for model, margins in models.items():
            head = {"pretrain": cell.pretrain, "model": model, "set": name, "models": len(retrained) // 2}
            rows += [head | row for row in _statistics(retrained, margins)]
    return rows


def _statistics(reference: np.ndarray, other: np.ndarray) -> list[dict[str, Any]]:
    samples = halves(reference, other), halves(other, reference), halves(reference, other, weighted=True)
    rows = []
    for name, statistic in STATISTICS.items():
        forward, reverse, resampled = (statistic(one) for one in samples)
        row = {"statistic": name, "value": float(forward), "reverse": float(reverse)}
        rows.append(row | bootstrap_interval(float(forward), resampled))
    return rows


def klom_differences(found: Sequence[Cell], *, against: str = "sgd") -> Table:
    """Return mean KLoM on F of each rule, and of doing nothing, minus that of `against`, with intervals.

    Columns: `pretrain`, `rule`, `mean`, `low`, `high`, `seeds`; both sides of a difference are resampled alike.
    """
    rows = []
    for base in (cell for cell in found if cell.rule == against):
        retrained = base.margins("retrained", "forget")
        models = {cell.rule: cell.margins("unlearned", "forget") for cell in found if cell.pretrain == base.pretrain}
        models |= {ORIGINAL: base.margins("original", "forget")}
        subtracted = models.pop(against)
        for rule, margins in models.items():
            value = float((halves(retrained, margins) - halves(retrained, subtracted)).mean())
            spread = halves(retrained, margins, weighted=True) - halves(retrained, subtracted, weighted=True)
            rows.append({"pretrain": base.pretrain, "rule": rule, "mean": value, "seeds": len(base.runs)}
                        | bootstrap_interval(value, spread.mean(-1)))  # fmt: skip
    return pd.DataFrame(rows)
