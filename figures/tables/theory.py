"""Records of the theory: its runs as tables, and its claims, each from the record with most seeds."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from figures.tables.records import Records, alike
from figures.tables.texts import span
from repro.records.record import Record
from repro.statistics.effects import Table
from repro.statistics.seeds import column_intervals

SHOWN = ("pretrain", "unlearn", "signal_strength")


def theory_runs(records: Records) -> list[Record]:
    """Return the theory runs of a study that SGD or SAM unlearned, in reading order.

    Args:
        records: the records of a study; if a setting has two runs, the one with more seeds is taken.

    Raises:
        Mixed: when its runs differ in a setting that the figure does not show.
    """
    best: dict[tuple[Any, ...], Record] = {}
    for record in alike(records.of("theory"), SHOWN, records.study):
        key = tuple(record.config.get(name) for name in SHOWN)
        if key not in best or len(record.result["seeds"]) > len(best[key].result["seeds"]):
            best[key] = record
    runs = sorted(best.values(), key=lambda record: [str(record.config.get(name)) for name in SHOWN])
    return [run for run in runs if run.config["unlearn"] in ("sgd", "sam")]


def middle_strength(runs: Iterable[Record]) -> list[Record]:
    """Return the runs at the signal strength nearest to 0.5, below SGD's boundary at about 0.93."""
    runs = list(runs)
    strengths = {record.config["signal_strength"] for record in runs}
    chosen = min(strengths, key=lambda strength: (abs(strength - 0.5), strength), default=None)
    return [record for record in runs if record.config["signal_strength"] == chosen]


def describe_theory(record: Record) -> str:
    """Return the setting of a theory run as one clause of a caption."""
    config = record.config
    names = ("d", "n", "n_forget", "m", "patches", "alpha", "rho_scale", "epochs")
    text = ", ".join(f"{name} = {config[name]:g}" for name in names if config.get(name) is not None)
    return f"s = {config['signal_strength']:g}, {text}, method {config.get('method', 'neggrad')}"


def run_seeds(runs: Iterable[Record]) -> str:
    """Return "20" or "10-20": the seeds of the runs."""
    return span(len(record.result["seeds"]) for record in runs)


def trajectory_table(record: Record, metrics: Sequence[str]) -> Table:
    """Return one row per metric, seed and unlearning epoch of a theory run: `metric`, `seed`, `epoch`, `value`."""
    arrays, result = record.arrays(*(f"trajectory_{name}" for name in metrics)), record.result
    frames = []
    for metric in metrics:
        values = arrays.get(f"trajectory_{metric}")
        if values is None:
            continue
        index = pd.MultiIndex.from_product([result["seeds"], result["epochs"]], names=["seed", "epoch"])
        frame = pd.DataFrame({"value": np.asarray(values, dtype=float).ravel()}, index=index).reset_index()
        frames.append(frame.assign(metric=metric))
    empty = pd.DataFrame(columns=pd.Index(["seed", "epoch", "value", "metric"]))
    return pd.concat(frames, ignore_index=True) if frames else empty


def trajectory_summary(record: Record, metrics: Sequence[str]) -> Table:
    """Return mean, deviation, 95 % t-interval and prediction of every metric at every unlearning epoch of a run.

    Columns `metric`, `epoch`, `mean`, `sd`, `low`, `high`, `seeds`, `predicted`: those of `summarize` over
    `trajectory_table`, whole arrays at a time, and what theory predicts, NaN in records without predictions.
    """
    wanted = (f"{kind}_{name}" for kind in ("trajectory", "predicted") for name in metrics)
    arrays, epochs = record.arrays(*wanted), record.result["epochs"]
    frames = []
    for metric in metrics:
        values = arrays.get(f"trajectory_{metric}")
        if values is None:
            continue
        found = pd.DataFrame({"metric": metric, "epoch": epochs} | column_intervals(values))
        frames.append(found.assign(predicted=arrays.get(f"predicted_{metric}", np.full(len(epochs), np.nan))))
    columns = ["metric", "epoch", "mean", "sd", "low", "high", "seeds", "predicted"]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=pd.Index(columns))


def sweep_record(records: Records, name: str) -> Record | None:
    """Return the newest sweep of this name that carries its table; None if there is none."""
    found = [one for one in records.of("theory_sweep") if one.result["sweep"] == name and one.has_arrays()]
    return max(found, key=lambda one: (str(one.provenance.get("finished", "")), one.run_id), default=None)


def sweep_table(record: Record) -> Table:
    """Return the table of a sweep, one row per setting."""
    return pd.DataFrame({name: values for name, values in record.arrays().items() if values.ndim == 1})


def claim_records(records: Records, wanted: Iterable[str] = (), kind: str = "theory_claim") -> dict[str, Record]:
    """Return the record of each claim by its identifier: the one with most seeds, then with the lowest first seed.

    Records without `parts` were judged by an older version of the claims and are passed over.

    Args:
        records: what there is.
        wanted: keep only these claims, if any is named.
        kind: "theory_measurement" for measurements on which the paper states nothing.
    """
    rank = lambda record: (-record.result["seeds"], record.config.get("first_seed", 0), record.run_id)  # noqa: E731
    found: dict[str, Record] = {}
    current = [record for record in records.of(kind) if "parts" in record.result]
    for record in sorted(current, key=rank):
        found.setdefault(record.result["claim"], record)
    chosen_names = set(wanted) or set(found)
    return {name: record for name, record in sorted(found.items()) if name in chosen_names}


def claim_command(name: str) -> str:
    """Return the command that checks a claim."""
    return f"repro theory claims {name}"


def claim_seeds(found: Iterable[Record]) -> str:
    """Return "20" or "10/20": the different numbers of seeds behind some claims."""
    return "/".join(map(str, sorted({record.result["seeds"] for record in found})))
