"""The test error with the default number of points against the one with very many, on named and random settings."""

import time
from dataclasses import asdict
from typing import Any

import numpy as np

from repro.records.provenance import collect
from repro.records.record import Record
from repro.records.store import Store
from theory.config import TheoryConfig
from theory.engine import simulate_many
from theory.stats import quadrature_error
from theory.study import RULE_PAIRS
from theory.tables import columns

KIND = "theory_quadrature"
MANY = 2**15  # points of the value that counts as exact
RANDOM = 50  # settings drawn at random
VERSION = 1  # of the settings and of what is measured
SETTINGS: tuple[dict[str, Any], ...] = (
    *({"pretrain": before, "unlearn": after} for before, after in RULE_PAIRS),
    {"unlearn": "sam", "signal_strength": 0.25},
    {"unlearn": "sam", "signal_strength": 1.0},
    {"pretrain": "sam", "unlearn": "minmax"},
    {"pretrain": "sam", "unlearn": "retain_sam", "rho_scale": 1.0},
    {"alpha": 0.7},
    {"alpha": 0.7, "unlearn": "sharpen"},
    {"method": "random_label", "unlearn": "sam", "alpha": 0.7},
    {"d": 100_000, "n": 160, "n_forget": 32},
    {"m": 40},
    {"m": 4, "noise": "plain", "patches": 3},
    {"pretrain_epochs": 0, "epochs": 0},
)


def random_settings(count: int = RANDOM, *, seed: int = 0) -> list[dict[str, Any]]:
    """Return settings drawn independently, the same for each seed.

    Log-uniform: d in [500, 10^6], s in [0.1, 2], rho / rho_th in [0.05, 1], m in [4, 40]. Uniform: alpha in
    [0.5, 0.99]; n in {20, 40, 80, 160} with n_F = n / 5; P in {2, 3}; epochs in {50, 100, 200}; pretraining epochs in
    {30, 100, 300}; rule of pretraining, rule and method of unlearning, noise model.
    """
    rng, found = np.random.default_rng(seed), []
    wide = lambda low, high: float(np.exp(rng.uniform(np.log(low), np.log(high))))  # noqa: E731
    any_of = lambda values: values[int(rng.integers(len(values)))]  # noqa: E731
    for _ in range(count):
        n = any_of((20, 40, 80, 160))
        found.append({
            "d": round(wide(500, 10**6)), "n": n, "n_forget": n // 5, "m": round(wide(4, 40)),
            "patches": any_of((2, 3)), "signal_strength": round(wide(0.1, 2.0), 3),
            "alpha": round(float(rng.uniform(0.5, 0.99)), 3), "rho_scale": round(wide(0.05, 1.0), 3),
            "epochs": any_of((50, 100, 200)), "pretrain_epochs": any_of((30, 100, 300)),
            "pretrain": any_of(("sgd", "sam")), "unlearn": any_of(("sgd", "sam", "sharpen", "minmax", "retain_sam")),
            "method": any_of(("neggrad", "random_label")), "noise": any_of(("orthogonal", "plain")),
        })  # fmt: skip
    return found


def run_accuracy(store: Store, *, seeds: int = 20, first_seed: int = 0) -> Record:
    """Return the record of both test errors in every setting, measuring it if the store has none.

    Its arrays are the columns of a table with one row for each setting. They hold what differs from the default; the
    mean test error over seeds after unlearning, its standard error, and the stated error of the quadrature; the bias
    and the root mean square of the distance from the test error over `MANY` points. Diverged seeds are left out.
    """
    identity = {"version": VERSION, "seeds": seeds, "first_seed": first_seed, "cell": TheoryConfig()}
    found = store.find(KIND, identity)
    if found is None:
        store.ensure_writable()
        begin = time.perf_counter()
        named = [TheoryConfig(**setting) for setting in SETTINGS]
        drawn = [TheoryConfig(**setting) for setting in random_settings()]
        rows = _measure([setting.changed(seeds=seeds, first_seed=first_seed, checkpoint_every=10**6)
                         for setting in (*named, *drawn)])  # fmt: skip
        for row, setting in zip(rows, (*named, *drawn), strict=True):
            row["drawn"] = setting in drawn
        biases = np.array([row["bias"] for row in rows])
        points = {"points": TheoryConfig.directions, "points_of_the_truth": MANY}
        result = {"seeds": seeds, "settings": len(rows), **points, "rms_bias": float(np.sqrt(np.mean(biases**2))),
                  "largest_bias": float(np.abs(biases).max())}  # fmt: skip
        made = collect(study="validity", seconds=round(time.perf_counter() - begin, 1))
        found = store.save(KIND, identity, result=result, arrays=columns(rows), provenance=made)
    return found


def _measure(settings: list[TheoryConfig]) -> list[dict[str, Any]]:
    few, many = (simulate_many(group, description=f"{len(group)} settings, {group[0].directions} points", oracle=False)
                 for group in (settings, [setting.changed(directions=MANY) for setting in settings]))  # fmt: skip
    rows, usual = [], asdict(TheoryConfig())
    for setting, one, other in zip(settings, few, many, strict=True):
        errors = one.final("test_error")
        finite = np.isfinite(errors)
        off, count = (errors - other.final("test_error"))[finite], max(int(finite.sum()), 2)
        own = {name: value for name, value in asdict(setting).items() if value != usual[name]}
        changes = ", ".join(f"{name} = {value}" for name, value in own.items() if name != "checkpoint_every")
        rows.append({
            "setting": changes or "the default", "seeds": int(finite.sum()),
            "test_error": float(errors[finite].mean()),
            "test_error_se": float(errors[finite].std(ddof=1) / count**0.5),
            "test_error_quadrature": quadrature_error(one.final("test_error_quadrature").tolist()),
            "bias": float(off.mean()), "rms": float(np.sqrt(np.mean(off**2))),
        })  # fmt: skip
    return rows
