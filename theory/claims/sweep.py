"""Sweeps: grids of settings without a claim, each with one record and one Parquet table."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

import numpy as np

from repro.base.errors import ConfigError
from repro.base.settings import choose, nearest
from repro.records.columns import write_table
from repro.records.identity import plain
from repro.records.provenance import collect
from repro.records.record import Record
from repro.records.store import Store
from theory.claims.comparison import until_forgotten
from theory.claims.trajectories import run_settings
from theory.config import SweepConfig, TheoryConfig, default_clock, fixed_clock, grouped
from theory.engine import Trajectory
from theory.measures.metrics import TEST_METRICS
from theory.predict import ends
from theory.stats import mean_and_error, quadrature_error

KIND = "theory_sweep"
Table = dict[str, np.ndarray]  # column to values, one a setting
PRETRAINS = ({"pretrain": "sgd"}, {"pretrain": "sam"})
SGD, SAM, WEAK_SAM = ({"unlearn": "sgd"}, {"unlearn": "sam", "rho_scale": 1.0}, {"unlearn": "sam", "rho_scale": 0.1})
RADII = (SGD, WEAK_SAM, {"unlearn": "sam", "rho_scale": 0.3}, SAM)
FINE = (0.1, 0.2, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 2.8)
STRENGTHS = (0.1, 0.15, 0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 3.0)


@dataclass(frozen=True)
class Sweep:
    """A grid, the product of its axes, its pretrainings and its rules.

    Attributes:
        axes: field of TheoryConfig to values.
        rules: changes that make each unlearning rule.
        pretrains: changes that make each pretraining.
        common: changes to every setting.
        matched: whether each setting is also measured where it reaches the forget level.
        clock: how learning rate and epochs follow d.
    """

    axes: dict[str, tuple]
    rules: tuple[dict[str, Any], ...] = (SGD, WEAK_SAM, SAM)
    pretrains: tuple[dict[str, Any], ...] = PRETRAINS
    common: dict[str, Any] = field(default_factory=dict)
    matched: bool = True
    clock: Callable[[TheoryConfig], TheoryConfig] = default_clock


SWEEPS = {
    "phase": Sweep(
        {"d": (500, 1000, 2000, 4000, 8000, 16000), "signal_strength": STRENGTHS},
        common={"alpha": 0.7, "epochs": 100, "checkpoint_every": 1000}, clock=fixed_clock,
        matched=False,
    ),
    "alpha": Sweep({"signal_strength": (0.5, 1.0, 2.0), "alpha": (0.5, 0.7, 0.8, 0.9, 0.95, 0.98)}),
    # What the theory expects of networks: see figures/theory/predictions.py.
    "expectations": Sweep(
        {"alpha": (0.5, 0.7, 0.9)},
        rules=(*RADII, {"unlearn": "retain_sam", "rho_scale": 0.1}, {"unlearn": "minmax", "mask_refresh": 0}),
    ),
    # Phase diagrams in the variables that decide: the noise drive X, which grows with the epochs, ...
    "drive": Sweep(
        {"signal_strength": FINE, "pretrain_epochs": (10, 20, 40, 80, 160, 320, 640)},
        rules=(SGD,), matched=False, common={"epochs": 0, "checkpoint_every": 1000, "directions": 256},
    ),
    # ... the depth V / V_c of preactivations, which falls with the radius of the probe, ...
    "survival": Sweep(
        {"signal_strength": FINE, "probe_rho_scale": (0.03, 0.1, 0.2, 0.5, 1.0, 2.0, 4.0, 10.0)},
        rules=(SGD,), matched=False, common={"alpha": 0.7, "epochs": 0, "directions": 64},
        pretrains=({"pretrain": "sgd", "pretrain_epochs": 0}, *PRETRAINS),
    ),
    # ... and the odds of alpha.
    "odds": Sweep(
        {"signal_strength": FINE, "alpha": (0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.95, 0.98, 0.99)},
        rules=(SGD, WEAK_SAM, SAM), matched=False,
        common={"epochs": 100, "checkpoint_every": 1000, "directions": 256},
    ),
    # Beyond the paper: a forget signal at an angle to the retain signal, ...
    "angle": Sweep(
        {"signal_strength": (0.16, 0.32, 0.63, 1.26), "forget_angle": (0.0, 30.0, 60.0, 90.0, 120.0, 180.0)},
        rules=(SGD, WEAK_SAM), common={"directions": 256},
    ),
    # ... alpha and the share of neurons that Sharp MinMax gives to forgetting, ...
    "split": Sweep(
        {"alpha": (0.5, 0.7, 0.8, 0.9, 0.95, 0.98), "mask_fraction": (0.1, 0.25, 0.5, 0.75, 0.9)},
        rules=({"unlearn": "minmax"},), common={"directions": 256},
    ),
    # ... and the curvature of the retain loss along unlearning.
    "flatness": Sweep(
        {"signal_strength": (0.25, 0.5, 1.0, 2.0), "epochs": (0, 10, 50, 200)},
        rules=(SGD, WEAK_SAM), matched=False, common={"curvature": True, "checkpoint_every": 1000, "directions": 256},
    ),
}  # fmt: skip


def run_sweep(
    name: str, config: SweepConfig, store: Store, *, base: TheoryConfig | None = None, workers: int = 1
) -> Record:
    """Return the record of a sweep, running the settings the store does not have yet.

    The record's arrays are the columns of one table, a row a setting; the same table is written as Parquet to
    `<store>/sweeps/<run id>.parquet`. Interrupted, a sweep keeps its finished settings and goes on from there.

    Args:
        name: one of `SWEEPS`.
        config: seeds, and values that replace those of an axis.
        store: where trajectories and the record are written.
        base: values of all other fields.
        workers: processes that simulate settings.

    Raises:
        ConfigError: for an unknown sweep or an axis it does not have.
    """
    sweep = with_axes(choose("sweep", name, SWEEPS), config)
    base = replace(base or TheoryConfig(), seeds=config.seeds, first_seed=config.first_seed)
    rest = {"rules": sweep.rules, "pretrains": sweep.pretrains, "common": sweep.common, "matched": sweep.matched,
            "clock": sweep.clock.__name__}  # fmt: skip
    identity = {"sweep": name, "axes": sweep.axes, "base": base, "cells": rest}
    found = store.find(KIND, identity)
    if found is None:
        store.ensure_writable()
        table = _table(sweep, measure_settings(sweep, base, store, label=f"sweep {name}", workers=workers))
        result = {"sweep": name, "axes": plain(sweep.axes), "rows": len(table["test_error"]), "columns": list(table)}
        found = store.save(KIND, identity, result=result, arrays=table, provenance=collect(study=f"sweep-{name}"))
    write_table(found, store.root)
    return found


def measure_settings(
    sweep: Sweep, base: TheoryConfig, store: Store, *, label: str = "", workers: int = 1
) -> dict[TheoryConfig, dict[str, Any]]:
    """Return mean and standard error over seeds of every metric of each setting, and at the forget level if wanted.

    The predictions of each setting are added.
    """
    settings = _settings_of(sweep, base)
    stopped = {setting: until_forgotten(setting) for setting in settings} if sweep.matched else {}
    runs = run_settings([*settings, *stopped.values()], store, label=label, workers=workers)
    predicted = ends(settings)
    at_level = {setting: _at_level(runs[one]) for setting, one in stopped.items()}
    return {
        setting: _means(runs[setting]) | at_level.get(setting, {}) | predicted.get(setting, {}) for setting in settings
    }


def _at_level(run: Trajectory) -> dict[str, Any]:
    values: dict[str, Any] = {"matched_reached": float(run.reached.mean())}
    for name in (*TEST_METRICS, "forget_error"):
        values |= _with_error(f"matched_{name}", run.final(name, matched=True))
    return values | _with_error("matched_epochs", run.epochs_needed)


def _means(run: Trajectory) -> dict[str, Any]:
    values: dict[str, Any] = {"status": run.status, "diverged": int(np.sum(run.diverged_at >= 0))}
    for name in run.metrics:
        values |= _with_error(name, run.final(name))
    for name in (*TEST_METRICS, "forget_error", "kappa_retain"):
        values |= _with_error(f"pretrained_{name}", run.pretrain[name][:, -1])
        values |= _with_error(f"retrained_{name}", run.retrained[name])
    return values | _with_error("oracle_gap", run.oracle_gap("forget_error"))


def _with_error(name: str, values: np.ndarray) -> dict[str, float | None]:
    if name.endswith("_quadrature"):
        return {name: quadrature_error(values.tolist())}
    mean, error = mean_and_error(values.tolist())
    return {name: mean, f"{name}_se": error}


def with_axes(name: str, config: SweepConfig) -> Sweep:
    """Return a sweep with the axis values that a config gives.

    Raises:
        ConfigError: for an axis that the sweep does not have.
    """
    sweep, given = SWEEPS[name], config.given_axes()
    for axis in given:
        if axis not in sweep.axes:
            raise ConfigError(f"{axis}: sweep '{name}' has no such axis{nearest(axis, sweep.axes)}; "
                              f"it has {', '.join(sweep.axes)}")  # fmt: skip
    return replace(sweep, axes=sweep.axes | given)


def _settings_of(sweep: Sweep, base: TheoryConfig) -> list[TheoryConfig]:
    """Return the settings of a sweep, each once; settings that share their pretraining are adjacent."""
    points = (dict(zip(sweep.axes, values, strict=True)) for values in product(*sweep.axes.values()))
    settings = (sweep.clock(base.changed(**(sweep.common | pretrain | rule | point)))
                for pretrain, point, rule in product(sweep.pretrains, points, sweep.rules))  # fmt: skip
    return [setting for group in grouped(settings).values() for setting in group]


def _table(sweep: Sweep, measured: dict[TheoryConfig, dict[str, Any]]) -> Table:
    """Return the columns that vary, then the measured ones; NaN for a missing value."""
    labels = ["d", "n", "signal_strength", "pretrain", "pretrain_epochs", "unlearn", "rho_scale", "alpha", "epochs"]
    labels += [axis for axis in sweep.axes if axis not in labels]
    columns = {name: np.array([getattr(setting, name) for setting in measured]) for name in labels}
    for name in dict.fromkeys(name for found in measured.values() for name in found):
        values = [found.get(name) for found in measured.values()]  # some metrics only some settings have
        columns[name] = np.array([np.nan if value is None else value for value in values])
    return columns
