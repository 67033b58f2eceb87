"""The numbers behind the page's interactive plots: runs, sweeps, theory and networks, and simulated points."""

from collections.abc import Iterable
from itertools import chain
from math import isfinite, nan
from typing import Any

from figures.tables.matched_theory import QUANTITIES, agreement
from figures.tables.names import method_label, rule_label
from figures.tables.records import MEASURED, Records, setting
from figures.tables.runs import LANDSCAPE, unlearn_table
from repro.statistics.effects import Table
from repro.statistics.seeds import column_intervals

RUN = ("study", "method", "rule", "pretrain", "difficulty", "seed", "tow")
NETWORK = ("study", "dataset", "pretrain", "difficulty", "method", "rule", "alpha")
NUMBERS = ("tow", "retain_accuracy", "forget_accuracy", "test_accuracy")
THEORY = ("signal_strength", "d", "n", "m", "patches", "sigma_p", "eta_scale", "batch_size", "pretrain_epochs",
            "pretrain", "unlearn", "alpha")  # fmt: skip
MOST_POINTS = 5000  # runs in the page's plots: more would make it large, and none could be told from another
ERRORS = ("test_error", "forget_error", "pretrained_test_error")


def plot_data(records: Records) -> dict[str, Any]:
    """Return everything that the plots draw, as plain values."""
    return {
        "runs": network_rows(records),
        "settings": setting_rows(records),
        "names": {
            "method": _names(records, "method", method_label),
            "quantity": QUANTITIES,
            "rule": _names(records, "rule", rule_label) | _names(records, "pretrain", rule_label),
        },
        "theory": agreement_points(records),
        "pretraining": pretraining_curves(records),
        "sweeps": sweep_points(records),
    }


def network_rows(records: Records) -> dict[str, list[Any]]:
    """Return the network runs column by column; the patch images of the theory have a plot of their own.

    If there are more than `MOST_POINTS` runs, the first by id are taken: ids are hashes, so they are a fair sample.
    """
    table = _network_table(records)
    return {name: [_plain(value) for value in table[name]] for name in RUN if name in table}


def setting_rows(records: Records) -> dict[str, list[Any]]:
    """Return the same runs setting by setting, column by column: what a plot may call a mean over seeds.

    Runs of a setting are of one study and differ in nothing but their seeds and what is measured of them.

    Returns:
        Columns `NETWORK`; `other`, what tells a setting from the others of this `NETWORK`, "" where there is none;
        `seeds`; means of `NUMBERS`, with `_sd` their standard deviations over seeds; and `cost`, gradient
        evaluations as a share of what retraining takes.
    """
    table = _network_table(records)
    if table.empty:
        return {}
    settings = {run.run_id: setting(run, (*MEASURED, *LANDSCAPE)) for run in records.of("unlearn")}
    table = table.assign(setting=[settings[one] for one in table["run_id"]])
    table["key"] = table["setting"].map(str)
    table["cost"] = table.get("gradient_evaluations", nan) / table.get("retrain_gradient_evaluations", nan)
    table = table.sort_values(list(NETWORK), ascending=[name != "pretrain" for name in NETWORK], kind="stable")
    found = []
    for place, together in table.groupby(list(NETWORK), sort=False, dropna=False):
        settings = list(together.drop_duplicates("key")["setting"])
        apart = [name for name in sorted({*chain(*settings)}) if len({str(one.get(name)) for one in settings}) > 1]
        for _, runs_of in together.groupby("key", sort=False):
            numbers = runs_of[[name for name in NUMBERS if name in runs_of]].astype(float)
            row = dict(zip(NETWORK, place, strict=True)) | numbers.mean().to_dict()
            row |= numbers.std().add_suffix("_sd").to_dict() | {"seeds": len(runs_of), "cost": runs_of["cost"].mean()}
            mine = runs_of["setting"].iloc[0]
            row["other"] = ", ".join(f"{name} {mine[name]}" for name in apart if mine.get(name) not in (None, ""))
            found.append(row)
    return {name: [_plain(row.get(name)) for row in found] for name in found[0]}


def _network_table(records: Records) -> Table:
    runs = [run for run in records.of("unlearn") if run.status == "ok" and run.config["dataset"] != "signal-noise"]
    table = unlearn_table(runs[:MOST_POINTS])
    return table[table["tow"].notna()] if "tow" in table else table.iloc[:0]


def _names(records: Records, field: str, label: Any) -> dict[str, str]:
    return {str(run.config[field]): label(run.config[field]) for run in records.of("unlearn")}


def agreement_points(records: Records) -> list[dict[str, Any]]:
    """Return theory and networks at each signal strength, rules, stage and quantity: means with 95 % intervals."""
    data = agreement(records)
    data = data[data["course"] == ""] if len(data) else data
    names = ("signal_strength", "pretrain", "unlearn", "stage", "quantity",
             *(f"{side}{end}" for side in ("network", "theory") for end in ("", "_low", "_high")))  # fmt: skip
    known = [name for name in names if name in data]
    return [{name: _plain(value) for name, value in zip(known, row, strict=True)}
            for row in data[known].itertuples(index=False)]  # fmt: skip


def pretraining_curves(records: Records) -> list[dict[str, Any]]:
    """Return kappa and zeta along pretraining of each theory run, means over seeds, one entry per setting.

    A seed counts as long as it is finite; `seeds` is how many are finite at the end.
    """
    found: dict[str, dict[str, Any]] = {}
    for run in records.of("theory"):
        names = [f"pretrain_trajectory_{name}" for name in ("kappa_retain", "kappa_forget", "zeta_retain")]
        arrays = run.arrays("pretrain_epochs", *names)
        if names[0] not in arrays:
            continue
        retain, forget, zeta = (arrays[name] for name in names)
        learned = column_intervals(retain + forget)
        epochs = arrays["pretrain_epochs"].tolist()
        setting = {name: run.config[name] for name in THEORY if name not in ("unlearn", "alpha")}
        curve = {"epochs": epochs, "kappa": _points(learned["mean"]),
                  "zeta": _points(column_intervals(zeta)["mean"]), "seeds": int(learned["seeds"][-1])}  # fmt: skip
        found.setdefault(str(setting), setting | curve)
    return list(found.values())


def sweep_points(records: Records) -> dict[str, list[Any]]:
    """Return the errors of every setting of the sweeps over d, s and alpha, column by column."""
    columns: dict[str, list[Any]] = {
        name: [] for name in ("d", "signal_strength", "alpha", "pretrain", "unlearn", *ERRORS)
    }
    for sweep in records.of("theory_sweep"):
        arrays = sweep.arrays(*columns)
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
