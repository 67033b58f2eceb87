"""How far each step away from the theory's network leads from its predictions, in one number per step.

A step is a network that differs from the theory's in one thing. It is compared with its *matched theory*: the exact
theory on the same draw of the data, with the initial weights and batches of the network before the step. Over the
signal strengths s,

    D = mean_s | mean_seeds (network - theory) |,

once for the test error of the original model and once for the test error at matched forgetting: at the first measured
epoch at which at least a quarter of F is wrong, for the seeds in which both come so far.
"""

from typing import Any

import numpy as np
import pandas as pd

from figures.tables.matched_theory import curves, moments, networks, optimizer_extras, pairs, strength_of
from figures.tables.names import family
from figures.tables.records import Records
from figures.tables.runs import tag
from repro.records.record import Record
from repro.statistics.effects import Table

LEVEL = 0.25  # forget error at which models are compared
RESAMPLES = 2000
STAGES = ("before", "matched")
# Steps, the farthest first: what a run's labels and settings must be. A run belongs to the first that fits.
STEPS = {
    "narrow ResNet": lambda run: str(tag(run, "model")).startswith("resnet"),
    "CIFAR images as noise": lambda run: tag(run, "noise") == "cifar10",
    "three layers": lambda run: tag(run, "model") == "patch-cnn-deep",
    "trained second layer": lambda run: tag(run, "model") == "patch-cnn-head",
    "bias": lambda run: tag(run, "model") == "patch-cnn-bias",
    "mean of the patches": lambda run: tag(run, "model") == "patch-cnn-mean",
    "weight decay 0.01": lambda run: run.config.get("weight_decay") == 0.01,
    "momentum 0.9": lambda run: run.config.get("momentum") == 0.9,
    "another batch order": lambda run: run.config.get("unlearn_seed", 0) > 0,
    "the theory's network": lambda run: tag(run, "model") == "patch-cnn" and not optimizer_extras(run),
}
# What no step changes, by the labels of a run and of its matched theory: settings of the objective and of the data.
SHARED = ("alpha", "n", "side", "patches", "sigma_p", "labels", "noise_patches")
ORDER = [*reversed(STEPS)]
COLUMNS = ["step", "pretrain", "unlearn", "signal_strength", "seed", "run_id",
           *(f"{stage}{side}" for stage in STAGES for side in ("", "_theory"))]  # fmt: skip


def step_runs(records: Records) -> list[tuple[Record, Record]]:
    """Return every run of a step with its matched theory, including the runs of the theory's own network."""
    known = {_place(one): one for one in records.of("twin") if one.status == "ok"}
    places = [(run, _place(run)) for run in networks(records)]
    return [(run, known[place]) for run, place in places
            if place in known and place[3] == place[4] and step_of(run) and moments(run)]  # fmt: skip


def steps_away(records: Records) -> tuple[list[tuple[Record, Record]], Table]:
    """Return the runs of all steps with their matched theory, and their table."""
    found = records.once("steps_away", lambda: step_runs(records))
    return found, records.once("steps_away table", lambda: step_table(found))


def lacking_matched_theory(records: Records) -> dict[tuple[Any, ...], Record]:
    """Return the places of runs without matched theory, each with a run of the theory's network of any seed and draw.

    A place is (signal strength, draw, training seed, rule of pretraining, rule of unlearning, alpha and the data's
    settings that no step changes).
    """
    known = {_place(one) for one in records.of("twin")}
    models = {(place[0], *place[3:]): run for run, _ in pairs(records) if not optimizer_extras(run)
              for place in (_place(run),)}  # fmt: skip
    wanted = [place for run in networks(records) if step_of(run) for place in (_place(run),) if place not in known]
    return {place: models[short] for place in wanted if (short := (place[0], *place[3:])) in models}


def _place(record: Record) -> tuple[Any, ...]:
    """Return what a run and its matched theory share: signal strength, draw, training seed, rules, alpha, data."""
    numbers = strength_of(record), int(str(tag(record, "draw") or 0)), tag(record, "seed")
    shared = tuple(tag(record, name) for name in SHARED)
    return (*numbers, family(tag(record, "pretrain")), family(tag(record, "rule")), shared)


def step_of(run: Record) -> str:
    """Return which step away from the theory a run is, "" for none of them."""
    return next((name for name, fits in STEPS.items() if fits(run)), "")


def step_table(found: list[tuple[Record, Record]]) -> Table:
    """Return one row per run: its step, rules, strength and seed; both test errors, its own and its matched theory's.

    `matched` is NaN where forget error never came to `LEVEL`.
    """
    rows = []
    for run, matched in found:
        theory, epochs = curves(matched), matched.result["epochs"]
        seen = moments(run)
        there = [epoch for epoch in epochs if epoch in seen]
        own = {name: np.array([1.0 - seen[epoch][name] for epoch in there]) for name in ("test", "forget")}
        strength, _, seed, pretrain, unlearn, _ = _place(run)
        head = {"step": step_of(run), "pretrain": pretrain, "unlearn": unlearn, "signal_strength": strength}
        numbers = {
            "before": 1.0 - float(run.result["original_test_accuracy"]),
            "before_theory": theory["test_error"][0, 0],
            "matched": _matched(own["test"], own["forget"]),
            "matched_theory": _matched(theory["test_error"][0, 1:], theory["forget_error"][0, 1:]),
        }
        rows.append(head | {"seed": seed, "run_id": run.run_id} | numbers)
    return pd.DataFrame(rows, columns=pd.Index(COLUMNS))


def _matched(test: np.ndarray, forget: np.ndarray) -> float:
    there = np.flatnonzero(forget >= LEVEL)
    return float(test[there[0]]) if len(there) else float("nan")


def distances(table: Table) -> Table:
    """Return one row per step, pair of rules and stage: `distance`, `low`, `high`, `seeds`, two shares.

    The interval is the 95 % percentile bootstrap over seeds, all strengths of a seed together. `reached` and
    `reached_theory` are the shares of runs that came to `LEVEL`.
    """
    rows = []
    for (step, pretrain, unlearn), runs in table.groupby(["step", "pretrain", "unlearn"], sort=False):
        for stage in STAGES:
            gap = runs.assign(gap=runs[stage] - runs[f"{stage}_theory"])
            # Seeds of unlearning are averaged within a training seed.
            wide = gap.groupby(["seed", "signal_strength"])["gap"].mean().unstack("signal_strength").to_numpy()
            head = {"step": step, "pretrain": pretrain, "unlearn": unlearn, "stage": stage, "seeds": len(wide)}
            shares = {"reached": runs[stage].notna().mean(), "reached_theory": runs[f"{stage}_theory"].notna().mean()}
            rows.append(head | curve_distance(wide) | shares)
    found = pd.DataFrame(rows)
    place = {name: number for number, name in enumerate(ORDER)}
    return found.sort_values(["step", "pretrain"], key=lambda column: column.map(lambda v: place.get(v, v == "sam")),
                             kind="stable", ignore_index=True) if len(found) else found  # fmt: skip


def curve_distance(gaps: np.ndarray) -> dict[str, float]:
    """Return `mean_s |mean_seeds gap|` with its bootstrap interval; one seed has no interval.

    Args:
        gaps: network minus matched theory, shape `(seeds, strengths)`; NaN where there is nothing to compare.
    """
    drawn = np.random.default_rng(0).integers(len(gaps), size=(RESAMPLES, len(gaps)))
    resampled = _curve_gap(gaps[drawn])
    known = len(gaps) > 1 and np.isfinite(resampled).any()
    low, high = np.nanquantile(resampled, [0.025, 0.975]) if known else (np.nan, np.nan)
    return {"distance": float(_curve_gap(gaps)), "low": float(low), "high": float(high)}


def _curve_gap(gaps: np.ndarray) -> np.ndarray:
    """Return `mean_s |mean_seeds gap|` over the strengths that any seed has; `(..., seeds, strengths)` to `(...)`."""
    counts = np.isfinite(gaps).sum(axis=-2)
    means = np.abs(np.nansum(gaps, axis=-2)) / np.maximum(counts, 1)
    with np.errstate(invalid="ignore"):
        return means.sum(axis=-1) / (counts > 0).sum(axis=-1)
