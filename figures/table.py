"""Records to tidy tables, one number a row, and their mean, deviation and 95 % interval over training seeds."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from repro.records.record import Record

# A pandas DataFrame and one of its rows. Any, because what pandas declares for indexing and grouping is a union of
# everything it might return, which no caller could use without a cast at every step.
Table = Any
Row = Any

SCALAR = (int, float, str, bool)
THEORY_CELL = ("signal_strength", "pretrain", "unlearn", "method", "alpha", "rho_scale", "d", "n", "n_forget", "m")
STAGES = ("pretrained", "final", "retrained")
NETWORK_CELL = (
    "dataset",
    "model",
    "method",
    "rule",
    "pretrain",
    "difficulty",
    "seed",
    "unlearn_seed",
    "alpha",
    "epochs",
)


def theory_table(records: Iterable[Record]) -> Table:
    """Return one row a theory cell, stage, metric and seed.

    Columns: the cell's settings, `stage` (pretrained, final, retrained), `metric`, `seed`, `value`, `status`, `run_id`,
    `source`. A seed that diverged is a row with status "diverged" and, where it has no number, a NaN value.
    """
    rows: list[dict[str, Any]] = []
    for record in records:
        head = {name: record.config.get(name) for name in THEORY_CELL} | origin(record)
        diverged = record.result.get("diverged_at") or [None] * len(record.result["seeds"])
        for stage in STAGES:
            for metric, values in record.result.get(stage, {}).items():
                for seed, value, broken in zip(record.result["seeds"], values, diverged, strict=True):
                    status = "ok" if broken is None or broken == -1 else "diverged"
                    row = {"stage": stage, "metric": metric, "seed": seed, "value": _number(value), "status": status}
                    rows.append(head | row)
    columns = [*THEORY_CELL, "run_id", "source", "stage", "metric", "seed", "value", "status"]
    return pd.DataFrame(rows, columns=pd.Index(columns))


def trajectory_table(record: Record, metrics: Sequence[str]) -> Table:
    """Return one row a metric, seed and unlearning epoch of a theory cell: `metric`, `seed`, `epoch`, `value`."""
    arrays, result = record.arrays(), record.result
    frames = []
    for metric in metrics:
        values = arrays.get(f"trajectory_{metric}")
        if values is None:
            continue
        index = pd.MultiIndex.from_product([result["seeds"], result["epochs"]], names=["seed", "epoch"])
        frame = pd.DataFrame({"value": np.asarray(values, dtype=float).ravel()}, index=index).reset_index()
        frames.append(frame.assign(metric=metric, run_id=record.run_id))
    if not frames:
        return pd.DataFrame(columns=pd.Index(["seed", "epoch", "value", "metric", "run_id"]))
    return pd.concat(frames, ignore_index=True)


def unlearn_table(records: Iterable[Record]) -> Table:
    """Return one row a network run: its labels, every number of its result, `status`, `run_id`, `source`, `study`."""
    rows = []
    for record in records:
        numbers: dict[str, Any] = {key: value for key, value in record.result.items() if isinstance(value, SCALAR)}
        labels = record.result.get("labels") or record.config
        rows.append(numbers | {key: value for key, value in labels.items() if key != "type"} | origin(record)
                    | {"status": record.status, "study": record.provenance.get("study", "")})  # fmt: skip
    found = list(dict.fromkeys(name for row in rows for name in row))
    columns = [*NETWORK_CELL, *(name for name in found if name not in NETWORK_CELL)]
    return pd.DataFrame(rows, columns=pd.Index(columns))


def origin(record: Record) -> dict[str, str]:
    """Return where a row's numbers come from."""
    return {"run_id": record.run_id, "source": record.source}


def summarize(table: Table, keys: Sequence[str], value: str = "value") -> Table:
    """Return mean, standard deviation and 95 % t-interval of `value` over training seeds, one row a cell.

    `mean +- t_{0.975, k-1} sd / sqrt(k)` over `k` finite training seeds; unlearning seeds nested in a training seed
    are averaged first, for they do not make training seeds more.

    Args:
        table: tidy rows with columns `keys`, `value` and, where there are several, `seed` and `status`.
        keys: columns that name a cell.
        value: the column to summarize.

    Returns:
        Columns `keys`, `mean`, `sd`, `low`, `high`, `seeds` (finite training seeds), `diverged` (rows that diverged).
        With one seed sd, low and high are NaN: one run has no spread.
    """
    columns = [*keys, "mean", "sd", "low", "high", "seeds", "diverged"]
    if table.empty:
        return pd.DataFrame(columns=pd.Index(columns))
    rows = []
    for key, cell in table.groupby(list(keys), sort=False, dropna=False):
        names = dict(zip(keys, key, strict=True))
        diverged = int((cell["status"] == "diverged").sum()) if "status" in cell else 0
        rows.append(names | interval(_per_seed(cell, value)) | {"diverged": diverged})
    return pd.DataFrame(rows, columns=pd.Index(columns))


def interval(values: Iterable[float]) -> dict[str, float]:
    """Return mean, standard deviation, the ends of the 95 % t-interval and the count of finite values."""
    finite = np.asarray([value for value in values if np.isfinite(value)], dtype=float)
    count = len(finite)
    mean = float(finite.mean()) if count else float("nan")
    sd = float(finite.std(ddof=1)) if count > 1 else float("nan")
    half = float(stdtrit(count - 1, 0.975)) * sd / np.sqrt(count) if count > 1 else float("nan")
    return {"mean": mean, "sd": sd, "low": mean - half, "high": mean + half, "seeds": count}


def simultaneous(effects: Table) -> Table:
    """Return effects with their 95 % t-intervals widened so that all hold together (Bonferroni).

    Among many cells some interval excludes 0 by luck: one in twenty does where nothing is there.

    Args:
        effects: columns `mean`, `low`, `high`, `seeds`; a cell of one seed, whose interval is NaN, is not counted.
    """
    freedom = np.maximum(effects["seeds"].astype(float) - 1, 1)
    count = max(int(effects["low"].notna().sum()), 1)
    wider = stdtrit(freedom, 1 - 0.025 / count) / stdtrit(freedom, 0.975)
    middle = effects["mean"].astype(float)
    ends = {end: middle + (effects[end].astype(float) - middle) * wider for end in ("low", "high")}
    return effects.assign(**ends)


def format_cell(row: Any, *, percent: bool = False, digits: int = 2) -> str:
    """Return a summary row as `mean ± sd (k)`: a number never stands without its spread and its number of seeds."""
    scale = 100.0 if percent else 1.0
    if not row["seeds"]:
        return "diverged" if row["diverged"] else "not run"
    spread = "" if np.isnan(row["sd"]) else f" ± {scale * row['sd']:.{digits}f}"
    broken = f", {int(row['diverged'])} diverged" if row["diverged"] else ""
    return f"{scale * row['mean']:.{digits}f}{spread} ({int(row['seeds'])}{broken})"


def _per_seed(cell: Table, value: str) -> Row:
    return cell.groupby("seed")[value].mean() if "seed" in cell else cell[value]


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)
