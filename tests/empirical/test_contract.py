"""The contract of every registered method, rule and metric, of plug-ins too, on drawn and on real images."""

import math
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from empirical.registry import METRICS, load, metric, names
from empirical.released import PRESETS
from empirical.runs.resources import Resources
from empirical.runs.run import run
from empirical.settings.run_config import RunConfig, Runtime
from empirical.testing import check_method, check_metric, check_rule
from repro.base.errors import ConfigError
from repro.base.parts import Metric
from repro.records.store import Store

BRANCHED = [name for name in names("methods") if "forget" in load("methods", name).parts]
RULES = names("rules")
PAIRS = [
    (method, rule) for method in names("methods") for rule in RULES
    if rule not in ("minmax", "retain-sam") or method in BRANCHED
    if (method, rule) != ("retrain", "masked")
]  # fmt: skip


@pytest.mark.parametrize("method", names("methods"))
def test_every_method_runs(method: str, shared: Resources) -> None:
    check_method(method, "sam-0.1", shared)


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_runs(rule: str, shared: Resources) -> None:
    check_method("neggrad", rule, shared)


@pytest.mark.slow
@pytest.mark.parametrize(("method", "rule"), PAIRS)
def test_every_method_runs_with_every_rule_it_can(method: str, rule: str, shared: Resources) -> None:
    check_method(method, rule, shared)


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["official-paper", "official-release"])
@pytest.mark.parametrize(("method", "rule"), PAIRS)
def test_every_method_and_rule_runs_under_the_official_presets(
    method: str, rule: str, preset: str, shared: Resources
) -> None:
    config = RunConfig(
        n_train=120, n_test=60, method=method, rule=rule, preset=preset, pretrain_epochs=1, epochs=1, lr=1e-3,
        batch_size=60, pretrain_batch_size=60, forget_fraction=0.1, metrics=("accuracy",),
    )  # fmt: skip
    record = run(config, shared.store, resources=shared)
    assert record.status == "ok"
    assert record.result["labels"]["preset"] == preset


@pytest.mark.parametrize("method", [m for m in names("methods") if m not in BRANCHED])
@pytest.mark.parametrize("rule", ["minmax", "retain-sam"])
def test_a_rule_of_two_losses_is_refused_by_a_method_of_one(method: str, rule: str, shared: Resources) -> None:
    with pytest.raises(ConfigError, match=f"rule = '{rule}'"):
        check_method(method, rule, shared)


@pytest.mark.parametrize("rule", [*RULES, "sam-0", "minmax-sam-0.5", "masked-asam-0.5"])
def test_every_rule_leaves_the_weights_and_returns_their_gradients(rule: str) -> None:
    check_rule(rule)


@pytest.mark.parametrize("metric", [name for name in names("metrics") if not metric(name).pooled])
def test_every_metric_is_repeatable_and_leaves_the_models_alone(metric: str, shared: Resources) -> None:
    settings = {"model": "patch-cnn"} if metric == "coefficients" else {}  # which this network alone has
    assert check_metric(metric, shared, **settings)


@pytest.mark.parametrize("value", [math.nan, math.inf, [math.nan], np.array([0.0, np.nan])])
def test_a_metric_without_a_finite_number_is_refused(
    value: Any, shared: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: Any = lambda evaluation: {"whole": 1, "broken": value}  # noqa: E731
    monkeypatch.setitem(METRICS, "made_up", Metric(measured))
    with pytest.raises(ConfigError, match="metric made_up = 'no finite value of broken'"):
        check_metric("made_up", shared)


# On 2,000 real images of CIFAR-10, where REPRO_DATA names the folder that holds them.
SHORT = RunConfig(
    dataset="cifar10", n_train=2000, n_test=500, model="resnet8-strided", pretrain_epochs=1, epochs=1, batch_size=250,
    pretrain_batch_size=250, forget_batch_size=50, lr=0.001, augment="crop-flip", metrics=("accuracy",),
)  # fmt: skip


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Resources:
    root = os.environ.get("REPRO_DATA", "")
    if not (Path(root) / "cifar10-train.parquet").is_file():
        pytest.skip("REPRO_DATA names no folder with cifar10-train.parquet")
    return Resources(Store(tmp_path_factory.mktemp("cifar10")), Runtime(device="cpu", data_root=root))


@pytest.mark.data
@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize(("method", "rule"), PAIRS)
def test_every_method_rule_and_preset_runs_on_real_images(
    method: str, rule: str, preset: str, images: Resources
) -> None:
    record = run(replace(SHORT, method=method, rule=rule, preset=preset), images.store, resources=images)
    assert record.status == "ok"
    # The released code holds a tenth of every class out before it draws the forget set (D8).
    assert record.result["n_forget"] == (100 if preset == "correct" else 90)
