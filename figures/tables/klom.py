"""KLoM as tables: which pooled evaluations are compared, their values, and the difference of two rules."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from figures.tables.intervals import Table
from figures.tables.records import Records
from repro.records.identity import canonical_json
from repro.records.record import Record

SETS = ("forget", "retain", "test")
STATISTICS = {"mean": "mean", "95th percentile": "p95"}
FEWEST = 10
# What stands beside the unlearning rules: doing nothing, and what the measure gives where there is nothing to find.
ORIGINAL, RETRAINED = "do nothing", "other retrained models"
ROLES = {ORIGINAL: "original", RETRAINED: "retrained"}


@dataclass(frozen=True)
class Cell:
    """KLoM of one pretraining and unlearning rule.

    Attributes:
        pretrain, rule: the rules; pooled: the evaluation; runs: the runs it pools, in the order of their seeds.
    """

    pretrain: str
    rule: str
    pooled: Record
    runs: tuple[Record, ...]

    def resampled(self, role: str) -> np.ndarray:
        """Return mean KLoM on F of a model in each resample of the models, `(200,)`."""
        return self.pooled.arrays()[f"klom_{role}_forget_mean_resampled"]

    def mean(self, role: str) -> float:
        """Return mean KLoM on F of a model."""
        return self.pooled.result[f"klom_{role}_forget_mean"]


def klom_cells(records: Records) -> list[Cell]:
    """Return the cells of the largest group of pooled evaluations that share one forget set and one setting.

    Pools of fewer than 10 models on either side are no distribution.
    """
    runs = {run.run_id: run for run in records.of("unlearn")}
    groups: dict[str, list[Record]] = defaultdict(list)
    for one in records.of("evaluation"):
        if one.config["metric"] == "klom" and one.result["klom_models"] >= FEWEST:
            shared = {
                key: value for key, value in one.result["labels"].items() if key not in ("rule", "pretrain", "lr")
            }
            groups[canonical_json([shared, one.config["forget_set"], one.result["klom_models"]])].append(one)
    if not groups:
        return []
    largest = max(groups.values(), key=lambda found: sum(one.result["klom_models"] for one in found))
    cells = [
        Cell(
            one.result["labels"]["pretrain"], one.result["labels"]["rule"], one,
            tuple(runs[identity] for identity in one.result["runs"] if identity in runs),
        )
        for one in largest
    ]  # fmt: skip
    return sorted(cells, key=lambda cell: (cell.pretrain, cell.rule), reverse=True)


def klom_table(found: Sequence[Cell]) -> Table:
    """Return one row a pretraining rule, model, set and statistic, with a 95 % interval by resampling models.

    Columns: `pretrain`, `model` (an unlearning rule, or what it is compared with), `set`, `statistic` (mean or 95th
    percentile over images), `value`, `reverse` (the same with the two samples exchanged), `low`, `high`, `models` on
    either side.
    """
    seen: set[str] = set()
    rows: list[dict[str, Any]] = []
    for cell in found:
        models = {cell.rule: "unlearned"} | ({} if cell.pretrain in seen else ROLES)
        seen.add(cell.pretrain)
        result = cell.pooled.result
        for name in SETS:
            for model, role in models.items():
                for statistic, key in STATISTICS.items():
                    head = f"klom_{role}_{name}_{key}"
                    numbers = {end: result[f"{head}_{end}"] for end in ("reverse", "low", "high")}
                    names = {"pretrain": cell.pretrain, "model": model, "set": name, "statistic": statistic}
                    rows.append(names | {"value": result[head], **numbers, "models": result["klom_models"]})
    return pd.DataFrame(rows)


def klom_differences(found: Sequence[Cell], *, against: str = "sgd") -> Table:
    """Return mean KLoM on F of each rule, and of doing nothing, minus that of `against`, with intervals.

    Columns: `pretrain`, `rule`, `mean`, `low`, `high`, `seeds`; both sides of a difference are resampled alike.
    """
    rows = []
    for base in (cell for cell in found if cell.rule == against):
        others = [(cell.rule, cell, "unlearned") for cell in found if cell.pretrain == base.pretrain and cell != base]
        for rule, cell, role in [*others, (ORIGINAL, base, "original")]:
            value = cell.mean(role) - base.mean("unlearned")
            half = 1.96 * float(np.std(cell.resampled(role) - base.resampled("unlearned"), ddof=1))
            names = {"pretrain": base.pretrain, "rule": rule, "seeds": len(base.pooled.result["runs"])}
            rows.append(names | {"mean": value, "low": value - half, "high": value + half})
    return pd.DataFrame(rows)
