"""Every method, rule and preset on 2,000 real images of CIFAR-10 (set REPRO_DATA to the folder that holds them)."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from empirical.released import PRESETS
from empirical.runs.run import run
from empirical.runs.workspace import Workspace
from empirical.settings.run_config import RunConfig, Runtime
from repro.records.store import Store
from tests.empirical.test_contract import PAIRS

pytestmark = pytest.mark.data
SHORT = RunConfig(
    dataset="cifar10", n_train=2000, n_test=500, model="resnet8-strided", pretrain_epochs=1, epochs=1, batch_size=250,
    pretrain_batch_size=250, forget_batch_size=50, lr=0.001, augment="crop-flip", metrics=("accuracy",),
)  # fmt: skip


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    root = os.environ.get("REPRO_DATA", "")
    if not (Path(root) / "cifar10-train.parquet").is_file():
        pytest.skip("REPRO_DATA names no folder with cifar10-train.parquet")
    return Workspace(Store(tmp_path_factory.mktemp("cifar10")), Runtime(device="cpu", data_root=root))


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize(("method", "rule"), PAIRS)
def test_every_method_rule_and_preset_runs_on_real_images(
    method: str, rule: str, preset: str, images: Workspace
) -> None:
    record = run(replace(SHORT, method=method, rule=rule, preset=preset), images.store, workspace=images)
    assert record.status == "ok"
    # The released code holds a tenth of every class out before it draws the forget set (D8).
    assert record.result["n_forget"] == (100 if preset == "correct" else 90)
