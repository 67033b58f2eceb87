"""The numbers behind the page's interactive plots: runs, sweeps, theory beside networks, and simulated points."""

from collections.abc import Iterable, Sequence
from math import isfinite
from typing import Any

from figures.tables.beside import QUANTITIES, agreement
from figures.tables.cells import unlearn_table
from figures.tables.intervals import column_intervals
from figures.tables.names import method_label, rule_label
from figures.tables.records import Records
from repro.records.record import Record

RUN = ("study", "dataset", "method", "rule", "pretrain", "difficulty", "seed", "alpha", "tow", "retain_accuracy",
       "forget_accuracy", "test_accuracy", "gradient_evaluations", "retrain_gradient_evaluations")  # fmt: skip
SETTINGS = ("signal_strength", "d", "n", "m", "patches", "sigma_p", "eta_scale", "batch_size", "pretrain_epochs",
            "pretrain", "unlearn", "alpha")  # fmt: skip
MOST_POINTS = 5000  # runs in the page's plots: more would make it large, and none could be told from another
ERRORS = ("test_error", "forget_error", "pretrained_test_error")


def plot_data(records: Records) -> dict[str, Any]:
    """Return everything that the plots draw, as plain values."""
    return {
        "runs": network_rows(records),
        "names": {"method": _names(records, "method", method_label), "rule": _rules(records), "quantity": QUANTITIES},
        "beside": points(records),
        "courses": pretraining_courses(records),
        "sweeps": sweep_points(records),
    }


def network_rows(records: Records) -> dict[str, list[Any]]:
    """Return the network runs column by column; the patch images of the theory have a plot of their own.

    Of more than `MOST_POINTS` runs those that come first by their ids, which are hashes: a sample of all.
    """
    runs = [run for run in records.of("unlearn") if run.status == "ok" and run.config["dataset"] != "signal-noise"]
    runs = runs[:MOST_POINTS]
    table = unlearn_table(runs)
    table = table[table["tow"].notna()] if "tow" in table else table.iloc[:0]
    return {name: [_plain(value) for value in table[name]] for name in RUN if name in table}


def _names(records: Records, field: str, label: Any) -> dict[str, str]:
    return {str(run.config[field]): label(run.config[field]) for run in records.of("unlearn")}


def _rules(records: Records) -> dict[str, str]:
    return _names(records, "rule", rule_label) | _names(records, "pretrain", rule_label)


def points(records: Records) -> list[dict[str, Any]]:
    """Return theory and networks at each signal strength, rules, stage and quantity: means with 95 % intervals."""
    data = agreement(records)
    data = data[data["course"] == ""] if len(data) else data
    names = ("signal_strength", "pretrain", "unlearn", "stage", "quantity",
             *(f"{side}{end}" for side in ("network", "theory") for end in ("", "_low", "_high")))  # fmt: skip
    known = [name for name in names if name in data]
    return [{name: _plain(value) for name, value in zip(known, row, strict=True)}
            for row in data[known].itertuples(index=False)]  # fmt: skip


def pretraining_courses(records: Records) -> list[dict[str, Any]]:
    """Return kappa and zeta along pretraining of each theory cell, means over seeds, one entry a setting.

    A seed counts as long as it is finite; `seeds` of them are so at the end.
    """
    found: dict[str, dict[str, Any]] = {}
    for cell in records.of("theory"):
        arrays = cell.arrays()
        if "pretrain_trajectory_kappa_retain" not in arrays:
            continue
        retain, forget, zeta = (arrays[f"pretrain_trajectory_{name}"] for name in
                                ("kappa_retain", "kappa_forget", "zeta_retain"))  # fmt: skip
        learned = column_intervals(retain + forget)
        epochs = arrays["pretrain_epochs"].tolist()
        setting = {name: cell.config[name] for name in SETTINGS if name not in ("unlearn", "alpha")}
        course = {"epochs": epochs, "kappa": _points(learned["mean"]),
                  "zeta": _points(column_intervals(zeta)["mean"]), "seeds": int(learned["seeds"][-1])}  # fmt: skip
        found.setdefault(str(setting), setting | course)
    return list(found.values())


def sweep_points(records: Records) -> dict[str, list[Any]]:
    """Return the errors of every cell of the sweeps over d, s and alpha, column by column."""
    columns: dict[str, list[Any]] = {
        name: [] for name in ("d", "signal_strength", "alpha", "pretrain", "unlearn", *ERRORS)
    }
    for sweep in records.of("theory_sweep"):
        arrays = sweep.arrays()
        if sweep.result["sweep"] not in ("phase", "alpha") or any(name not in arrays for name in ("d", "test_error")):
            continue
        count = len(arrays["d"])
        for name, values in columns.items():
            given = arrays[name].tolist() if name in arrays else [sweep.config["base"].get(name)] * count
            values += [_plain(value) for value in given]
    return columns


def _points(values: Iterable[float]) -> list[float | None]:
    return [round(float(value), 6) if isfinite(value) else None for value in values]


def _plain(value: Any) -> Any:
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float):
        return float(f"{value:.5g}") if isfinite(value) else None
    return value


def named_records(items: Sequence[dict[str, Any]], runs: dict[str, Record]) -> dict[str, list[str]]:
    """Return the ids of the runs behind each figure that the page can show."""
    return {item["name"]: [run for run in item["runs"] if run in runs] for item in items}
