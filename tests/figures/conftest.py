"""Golden records with plainly synthetic numbers, so that every number a figure shows can be worked out by hand."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from repro.store import Record, Store

SEEDS = 3
EPOCHS = [0, 10, 50, 200]
STRENGTHS = (0.25, 0.5, 1.0)
# Synthetic levels: every number below is a level plus 0.01 times the seed.
TEST_ERROR = {("sgd", "sgd"): 0.4, ("sgd", "sam"): 0.3, ("sam", "sgd"): 0.2, ("sam", "sam"): 0.1}
TOW = {"sgd": 0.6, "sam-0.1": 0.7, "minmax-sam-0.1": 0.8}
GROUPS = ("active_retain_match", "active_forget_match", "active_retain_oppose", "active_forget_oppose")
METRICS = ("test_error", "forget_error", "kappa_retain", "kappa_forget", "zeta_retain", "zeta_forget")


def save_theory(store: Store, pretrain: str, unlearn: str, strength: float, **settings: Any) -> Record:
    level = TEST_ERROR[pretrain, unlearn] / strength / 2
    values = level + 0.01 * np.arange(SEEDS)
    trajectory = values[:, None] * np.linspace(0.5, 1.0, len(EPOCHS))
    active = {f"{group}{end}": trajectory for group in GROUPS for end in ("", "_perturbed")}
    arrays = {f"trajectory_{name}": trajectory for name in METRICS} | {f"trajectory_{k}": v for k, v in active.items()}
    config = {"type": "TheoryConfig", "signal_strength": strength, "pretrain": pretrain, "unlearn": unlearn}
    config |= {"method": "neggrad", "d": 100, "n": 4, "n_forget": 1, "m": 2, "alpha": 0.9, "rho_scale": 0.1} | settings
    stages = {name: values.tolist() for name in METRICS}
    result = {"seeds": list(range(SEEDS)), "epochs": EPOCHS, "final": stages, "pretrained": stages,
              "diverged_at": [None] * SEEDS}  # fmt: skip
    return store.save("theory", config, result=result, arrays=arrays, provenance={"study": "golden"})


def network_config(**settings: Any) -> dict[str, Any]:
    base = {"type": "RunConfig", "dataset": "digits", "dataset_options": "", "model": "resnet8", "method": "neggrad"}
    base |= {"rule": "sgd", "pretrain": "sgd", "difficulty": "low", "seed": 0, "alpha": 0.9, "epochs": 5}
    return base | settings


def save_network(store: Store, tow: float, *, status: str = "ok", extra: Any = None, **settings: Any) -> Record:
    config = network_config(**settings)
    names = ("dataset", "model", "method", "rule", "pretrain", "difficulty", "seed", "alpha", "epochs")
    labels = {name: config[name] for name in names}
    levels = {"": 0.8, "retrained_": 0.7, "original_": 0.9}
    accuracies = {f"{role}{name}_accuracy": level for role, level in levels.items()
                  for name in ("retain", "forget", "test")}  # fmt: skip
    numbers = accuracies | {"tow": tow + 0.01 * config["seed"], "original_tow": 0.5} | (extra or {})
    result = {"labels": labels} | (numbers if status == "ok" else {"diverged_at": 1})
    return store.save("unlearn", config, result=result, status=status, provenance={"study": "golden"})


@pytest.fixture(scope="session")
def golden(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store of synthetic theory cells and network runs."""
    store = Store(tmp_path_factory.mktemp("golden") / "runs")
    for (pretrain, unlearn), strength in itertools.product(TEST_ERROR, STRENGTHS):
        save_theory(store, pretrain, unlearn, strength)
    cells = itertools.product(TOW, ("sgd", "sam-0.1"), ("low", "mid", "high"), range(SEEDS))
    for rule, pretrain, difficulty, seed in cells:
        save_network(store, TOW[rule], rule=rule, pretrain=pretrain, difficulty=difficulty, seed=seed)
    return store


@pytest.fixture
def empty(tmp_path: Path) -> Store:
    return Store(tmp_path / "empty")
