"""How accuracies move while a run unlearns, and rules compared where they have forgotten equally much."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from figures.tables.floor import ACCURACIES, tug_of_war
from figures.tables.runs import SETTING, retraining_rule, tag
from repro.records.record import Record
from repro.statistics.effects import Table

NAMES = ("retain", "forget", "test")
HALFWAY = 0.5


def trajectory_rows(runs: Sequence[Record]) -> Table:
    """Return one row per run and moment at which its accuracies were taken; runs without accuracies have no row.

    Columns: `method`, `rule`, `pretrain`, `difficulty`, `retraining`, `seed`, `run_id`, `point` (0, 1, ... within a
    run), `gradient_evaluations` since the start, `retain`, `forget`, `test` in [0, 1], `tow` against the run's own
    retrained model, and `forgotten`, the share of the way of forget accuracy from the original's (0) to the retrained
    model's (1), NaN where the two are the same. The original model is point 0.

    While it unlearns, a run measures a part of the retain set only. If the record has the accuracies on part and whole
    after the last epoch, their difference is subtracted at every point.
    """
    rows: list[dict[str, Any]] = []
    for run in runs:
        points = [point for epoch in run.epochs() for point in epoch.get("accuracies") or ()]
        ends = [[run.result.get(f"{role}_{name}") for name in ACCURACIES] for role in ("original", "retrained")]
        if not points or None in ends[0] + ends[1]:
            continue
        original, retrained = np.asarray(ends, dtype=float)
        cost = np.array([0.0, *(point["gradient_evaluations"] for point in points)])
        seen = np.array([[point[name] for name in NAMES] for point in points])
        whole = run.result.get("retain_accuracy", seen[-1, 0])
        seen[:, 0] = np.clip(seen[:, 0] + whole - seen[-1, 0], 0.0, 1.0)
        values = np.vstack([original, seen])
        if cost[1] == 0:  # the run took its own first point before the first step
            cost, values = cost[1:], values[1:]
        head = {name: tag(run, name) for name in (*SETTING, "seed")} | {"retraining": retraining_rule(run)}
        way = retrained[1] - original[1]
        forgotten = (values[:, 1] - original[1]) / way if way else np.full(len(values), np.nan)
        scores = tug_of_war(values, retrained)
        for point, numbers in enumerate(zip(cost, *values.T, scores, forgotten, strict=True)):
            found = dict(zip(("gradient_evaluations", *NAMES, "tow", "forgotten"), map(float, numbers), strict=True))
            rows.append(head | {"run_id": run.run_id, "point": point} | found)
    columns = [*SETTING, "seed", "retraining", "run_id", "point", "gradient_evaluations", *NAMES, "tow", "forgotten"]
    return pd.DataFrame(rows, columns=pd.Index(columns))


def matched_rows(trajectories: Table) -> Table:
    """Return one row per run: where it has first forgotten half, and where it ended.

    At the first point at which forget accuracy has come halfway from the original's to the retrained model's, retain
    and test accuracy, ToW and gradient evaluations are interpolated linearly from the point before. A run that never
    comes so far has `reached` False and NaN there.

    Returns:
        Columns of the setting, `seed`, `reached`, `<number>_matched` for `gradient_evaluations`, `retain`, `test` and
        `tow`, and `<number>_end`, the same after the last epoch.
    """
    names = ("gradient_evaluations", "retain", "test", "tow")
    rows = []
    for _, run in trajectories.groupby("run_id", sort=False):
        run = run.sort_values("point")
        first, last = run.iloc[0], run.iloc[-1]
        matched = _halfway(run["forgotten"].to_numpy(), run[list(names)].to_numpy())
        numbers = {f"{name}_matched": value for name, value in zip(names, matched, strict=True)}
        numbers |= {f"{name}_end": last[name] for name in names}
        head = {name: first[name] for name in (*SETTING, "seed", "retraining", "run_id")}
        rows.append(head | {"reached": bool(np.isfinite(matched[0]))} | numbers)
    columns = [*SETTING, "seed", "retraining", "run_id", "reached", *(f"{name}{end}" for end in ("_matched", "_end")
                                                                 for name in names)]  # fmt: skip
    return pd.DataFrame(rows, columns=pd.Index(columns))


def _halfway(forgotten: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the values where `forgotten` first comes to 0.5, linear between points; NaN where it never does."""
    there = np.flatnonzero(forgotten >= HALFWAY)
    if not len(there):
        return np.full(values.shape[1], np.nan)
    after = int(there[0])
    if after == 0:
        return values[0]
    share = (HALFWAY - forgotten[after - 1]) / (forgotten[after] - forgotten[after - 1])
    return values[after - 1] + share * (values[after] - values[after - 1])
