"""KLoM (Georgiev et al. 2024): how far the margins of many unlearned models lie from those of many retrained ones."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from figures.networks import label, main_runs
from figures.records import Records
from figures.table import Table
from repro.records.record import Record

BINS, CLIP, FLOOR = 20, 100.0, 1e-5
RESAMPLES = 200
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


def cells(records: Records) -> list[Cell]:
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


def klom(reference: np.ndarray, model: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Return `KL(reference || model)` of each image's margins, `(..., images)`, in nats.

    Histograms of 20 bins between the least and the greatest of both samples, margins cut at +-100, and shares of the
    second one no smaller than 1e-5.

    Args:
        reference, model: margins `(models, images)` of retrained and of unlearned models.
        weights: how often each model counts, `(resamples, models)`; once each where it is None.
    """
    samples = np.clip(reference, -CLIP, CLIP), np.clip(model, -CLIP, CLIP)
    low = np.minimum(*(sample.min(0) for sample in samples))
    width = np.maximum(*(sample.max(0) for sample in samples)) - low
    width[width == 0] = 1.0
    p, q = (_shares((sample - low) / width, weights) for sample in samples)
    return np.where(p > 0, p * np.log(np.maximum(p, FLOOR) / np.maximum(q, FLOOR)), 0.0).sum(-1)


def _shares(scaled: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """Return the share of each bin, `(..., images, bins)`."""
    hits = np.minimum((scaled * BINS).astype(int), BINS - 1)[..., None] == np.arange(BINS)
    if weights is None:
        return hits.mean(0)
    return np.tensordot(weights / weights.sum(1, keepdims=True), hits.astype(float), 1)


def halves(reference: np.ndarray, model: np.ndarray, *, weighted: bool = False) -> np.ndarray:
    """Return KLoM of each image, `(..., images)`: the even reference models against the odd others, and the reverse.

    No model meets itself or one of its seed, so that retrained models can be compared with other retrained ones: few
    models give a KLoM above 0 even then, and that floor has the same number of models as every other value.

    Args:
        reference, model: margins `(models, images)`, in the order of the seeds.
        weighted: resample the models of each half 200 times, which gives a leading axis.
    """
    even = len(reference) // 2 * 2
    weights = resamples(even // 2) if weighted else None
    sides = ((slice(0, even, 2), slice(1, even, 2)), (slice(1, even, 2), slice(0, even, 2)))
    return np.mean([klom(reference[a], model[b], weights) for a, b in sides], axis=0)


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
    forward, reverse = halves(reference, other), halves(other, reference)
    resampled = halves(reference, other, weighted=True)
    return [{"statistic": name, "value": float(value(forward)), "reverse": float(value(reverse))}
            | _interval(float(value(forward)), value(resampled)) for name, value in STATISTICS.items()]  # fmt: skip


STATISTICS = {"mean": lambda x: x.mean(-1), "95th percentile": lambda x: np.percentile(x, 95, axis=-1)}


def resamples(models: int) -> np.ndarray:
    """Return how often each model is drawn in each bootstrap sample, `(200, models)`; the same at every call."""
    return np.random.default_rng(0).multinomial(models, np.full(models, 1 / models), RESAMPLES).astype(float)


def _interval(value: float, resampled: np.ndarray) -> dict[str, float]:
    """Return `value +- 1.96` bootstrap deviations; the percentiles themselves are biased, for a resample repeats."""
    half = 1.96 * float(np.std(resampled, ddof=1))
    return {"low": value - half, "high": value + half}


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
                        | _interval(value, spread.mean(-1)))  # fmt: skip
    return pd.DataFrame(rows)
