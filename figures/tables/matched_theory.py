"""Networks on signal-noise data and the theory at their own setting, paired; and how far the two agree."""

import re
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from figures.tables.names import family
from figures.tables.records import Records
from figures.tables.runs import tag
from figures.tables.texts import spread_text
from repro.records.identity import digest
from repro.records.record import Record
from repro.statistics.effects import Table
from repro.statistics.seeds import Row, interval

# Every setting of a run that its curves depend on; seeds and what is measured are no part of it.
SETTING = (
    "model", "method", "method_options", "alpha", "rule", "pretrain", "difficulty", "forget_fraction",
    "pretrain_epochs", "pretrain_lr", "pretrain_batch_size", "epochs", "lr", "batch_size", "forget_batch_size",
    "optimizer", "pretrain_optimizer", "momentum", "weight_decay", "schedule", "pretrain_schedule", "warmup_epochs",
    "augment", "corruption", "precision", "n_train", "preset", "switches",
)  # fmt: skip
# Quantities by what they are called; of a network those of its weights are named alike.
QUANTITIES = {
    "test_error": "test error", "forget_error": "forget error", "kappa": "kappa", "zeta_retain": "zeta on R",
    "zeta_forget": "zeta on F", "active_retain_match": "active on R, j = y",
    "active_forget_match": "active on F, j = y",
}  # fmt: skip
POINT = ["signal_strength", "course", "pretrain", "unlearn", "stage", "quantity"]
STAGES = {"before": 0, "after": -1}  # epochs of unlearning


def setting_of(config: Mapping[str, Any]) -> str:
    """Return a digest of a run's setting: two runs that differ in their seeds and draw of the data share it."""
    data = re.sub(r",?\s*\b(draw|n_test)\s*=\s*\d+", "", str(config.get("dataset_options", "")))
    return digest([data, {name: config.get(name) for name in SETTING}])


def strength_of(record: Record) -> float:
    """Return the signal strength of a run or of its matched theory: the one in its options, else the data set's 1."""
    found = tag(record, "signal_strength")
    return 1.0 if found is None else float(str(found))


def networks(records: Records) -> list[Record]:
    """Return the finished runs on signal-noise data."""
    return [run for run in records.of("unlearn") if tag(run, "dataset") == "signal-noise" and run.status == "ok"]


def theories(records: Records) -> dict[str, Record]:
    """Return by network setting the theory that was simulated there, or the record of what the theory lacks."""
    return {record.config["network"]: record for record in records.of("beside") if record.status == "ok"}


def matched_theory(records: Records) -> dict[str, Record]:
    """Return the theory on the very data of a network run, by the run's id."""
    return {record.config["network"]: record for record in records.of("twin") if record.status == "ok"}


def optimizer_extras(run: Record) -> str:
    """Return what a run's optimizer adds to the gradient, such as `momentum = 0.9`; "" for nothing."""
    extras = {name: run.config.get(name) for name in ("momentum", "weight_decay")}
    return ", ".join(f"{name.replace('_', ' ')} = {value:g}" for name, value in extras.items() if value)


def lacking_settings(records: Records, version: int = 1) -> dict[str, Record]:
    """Return the settings that the theory was not yet simulated at, each with one of its runs.

    A setting that it could not express is asked again by a command of a higher `version`.
    """
    known = {one.config["network"] for one in records.of("beside")
             if not one.result.get("departures") or one.result.get("bridge", 1) >= version}  # fmt: skip
    found = {setting_of(run.config): run for run in networks(records)}
    return {key: run for key, run in found.items() if key not in known}


def pairs(records: Records) -> list[tuple[Record, Record]]:
    """Return the runs whose setting the theory expresses, each with the theory there.

    Runs that unlearn the same original again, with another order of batches, are left out: they are no further seed.
    """
    known = {key: one for key, one in theories(records).items() if not one.result["departures"]}
    first = [run for run in networks(records) if not run.config.get("unlearn_seed")]
    return [(run, known[key]) for run in first if (key := setting_of(run.config)) in known]


def without_theory(records: Records) -> dict[str, list[str]]:
    """Return what the theory lacks of each network it cannot express, by a short name of the network."""
    known = theories(records)
    found: dict[str, list[str]] = {}
    for run in networks(records):
        missing = known[key].result["departures"] if (key := setting_of(run.config)) in known else []
        if missing:
            found.setdefault(f"{tag(run, 'model')} of study {run.provenance.get('study', '') or '(none)'}, "
                             f"{missing[0]}", missing)  # fmt: skip
    return found


def curves(record: Record) -> dict[str, np.ndarray]:
    """Return the metrics of a theory record, shape `(seeds, epochs)` each; `kappa` is taken over R and F together."""
    values = record.arrays("curves")["curves"].astype(float)
    found = dict(zip(record.result["metrics"], values, strict=True))
    return found | {"kappa": found["kappa_retain"] + found["kappa_forget"]}


def moments(run: Record) -> dict[float, dict[str, float]]:
    """Return what a run measured of its network along unlearning, by the epochs done; empty if it measured nothing."""
    return {round(row["progress"], 6): row for epoch in run.epochs() for row in epoch.get("accuracies") or ()}


def network_value(run: Record, stage: str, quantity: str) -> float:
    """Return a number of a network before or after unlearning; NaN where it was not measured."""
    role = "original_" if stage == "before" else ""
    if quantity.endswith("error"):
        return 1.0 - float(run.result.get(role + quantity.replace("error", "accuracy"), np.nan))
    return float(run.result.get(role + quantity, np.nan))


def agreement(records: Records) -> Table:
    """Return one row per point: strength, rules, stage and quantity, with network and theory side by side.

    Columns: those of `POINT`; `network`, `theory` (means), their `sd`, `low`, `high` (95 % t-intervals) and `seeds`,
    each behind `network_` or `theory_`; `z = (network - theory) / sqrt(sd_N^2 / k_N + sd_T^2 / k_T)`; `within`, whether
    the 95 % interval of the difference (Welch) holds 0, None where a single network tells nothing. A test error has at
    least the variance of drawing a test set of its size for each seed: `sd_N^2 >= p (1 - p) / n_test` with the theory's
    p. `twin_gap` is the mean over runs of |network - its matched theory|, and `twin_z`, for the test error only, is the
    summed difference divided by its deviation from drawing a test set of that size.
    """
    groups: dict[tuple[Any, ...], list[tuple[Record, Record]]] = defaultdict(list)
    for part in records.parts:
        for run, theory in pairs(part):
            names = strength_of(run), optimizer_extras(run), family(tag(run, "pretrain")), family(tag(run, "rule"))
            groups[(*names, theory.run_id, part.study)].append((run, theory))
    matched_of = {key: curves(one) for key, one in matched_theory(records).items()}
    rows = []
    for (strength, extras, pretrain, unlearn, *_), found in sorted(groups.items(), key=lambda item: item[0]):
        theory = curves(found[0][1])
        for stage, column in STAGES.items():
            for quantity in QUANTITIES:
                if stage == "before" and (unlearn != "sgd" or quantity == "forget_error"):
                    continue  # before unlearning its rule does not matter, and nothing is forgotten
                if "decay" in extras and quantity.startswith(("kappa", "zeta")):
                    continue  # they are read off W - W0, which in a network also holds what decay took from W0
                own = np.array([network_value(run, stage, quantity) for run, _ in found])
                head = {"signal_strength": strength, "course": extras, "pretrain": pretrain, "unlearn": unlearn,
                        "stage": stage}  # fmt: skip
                least = _test_set_variance(theory[quantity][:, column], found) if quantity == "test_error" else 0.0
                compared = compared_values(own, theory[quantity][:, column], least=least)
                exact = [matched_of[run.run_id][quantity][0, column] if run.run_id in matched_of else np.nan
                         for run, _ in found]  # fmt: skip
                against = _distance_from_matched(own, np.array(exact), found, quantity)
                rows.append(head | {"quantity": quantity} | compared | against)
    table = pd.DataFrame(rows)
    return table[table["network_seeds"] > 0].reset_index(drop=True) if len(table) else table


def _test_set_variance(exact: np.ndarray, found: list[tuple[Record, Record]]) -> float:
    """Return the variance from drawing a test set, of a measured error whose exact value is the mean of `exact`."""
    mean = float(np.clip(exact, 0, 1).mean())
    return mean * (1 - mean) / float(found[0][0].result.get("n_test_measured", np.inf))


def compared_values(network: np.ndarray, theory: np.ndarray, *, least: float = 0.0) -> dict[str, Any]:
    """Return means, intervals and z of two samples, and whether Welch's 95 % interval of the difference holds 0.

    Args:
        network, theory: one value per seed.
        least: lower bound on the variance of a network's value.
    """
    sides = {"network": interval(network), "theory": interval(theory)}
    lowest = {"network": least, "theory": 0.0}
    variances = [max(side["sd"] ** 2, lowest[name]) / side["seeds"] if side["seeds"] > 1 else np.nan
                 for name, side in sides.items()]  # fmt: skip
    gap, error = sides["network"]["mean"] - sides["theory"]["mean"], float(np.sqrt(sum(variances)))
    z = gap / error if error > 0 else (0.0 if gap == 0 else np.copysign(np.inf, gap))
    parts = [v**2 / (side["seeds"] - 1) for v, side in zip(variances, sides.values(), strict=True) if v > 0]
    freedom = sum(variances) ** 2 / sum(parts) if parts else np.inf
    found: dict[str, Any] = {"z": z if np.isfinite(error) else np.nan}
    limit = float(stdtrit(freedom, 0.975)) if np.isfinite(freedom) else 1.96
    found["within"] = bool(abs(found["z"]) <= limit) if np.isfinite(error) else None
    for name, side in sides.items():
        found |= {name: side["mean"]} | {f"{name}_{key}": side[key] for key in ("sd", "low", "high", "seeds")}
    return found


def _distance_from_matched(own: np.ndarray, exact: np.ndarray, found: list[Any], quantity: str) -> dict[str, float]:
    gap = own - exact
    known = np.isfinite(gap)
    if not known.any():
        return {"twin_gap": np.nan, "twin_z": np.nan}
    sizes = np.array([run.result.get("n_test_measured", np.nan) for run, _ in found], dtype=float)
    exact = np.clip(exact, 0, 1)
    spread = float(np.sqrt(np.sum((exact * (1 - exact) / sizes)[known])))
    z = float(gap[known].sum()) / spread if quantity == "test_error" and spread > 0 else np.nan
    return {"twin_gap": float(np.abs(gap[known]).mean()), "twin_z": z}


def share_within(table: Table) -> str:
    """Return how many points lie within 95 %, in all and by quantity, and how far networks are from matched theory.

    A point of a single network has no z and is not counted.
    """
    table = table[table["z"].notna()]
    parts = [f"{QUANTITIES[name]} {int(rows['within'].sum())} of {len(rows)}"
             for name, rows in table.groupby("quantity", sort=False)]  # fmt: skip
    inside, count = int(table["within"].sum()), len(table)
    known = table[table["quantity"] == "test_error"]["twin_z"].dropna()
    near = int((known.abs() <= 1.96).sum())
    same = f"; on the same data: {near} of {len(known)} test errors within 95 % of what a finite test set allows"
    return f"{inside} of {count} points lie within 95 % ({'; '.join(parts)}){same if len(known) else ''}"


def agreement_row(row: Row) -> dict[str, Any]:
    """Return a point as a line of a table: names, both sides with spread and seeds, z, distance from matched theory."""
    sides = {name: spread_text({"mean": row[name], "sd": row[f"{name}_sd"], "seeds": row[f"{name}_seeds"]})
             for name in ("network", "theory")}  # fmt: skip
    rules = {"pretrain": row["pretrain"], "unlearn": row["unlearn"] if row["stage"] == "after" else ""}
    numbers = {"z": round(float(row["z"]), 2), "within 95 %": {True: "yes", False: "no"}.get(row["within"], "-")}
    head = {"s": row["signal_strength"], "training": row["course"], **rules, "quantity": QUANTITIES[row["quantity"]]}
    return head | sides | numbers | {"twin gap": float(row["twin_gap"])}
