"""`make gpu`: the short study is the longest one that fits the measured rate, and the whole way can be walked."""

import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from empirical.settings.run_config import Runtime
from empirical.studies.recipe import load_recipe
from repro.base.errors import MissingDataError
from repro.records.store import Store

ROOT = Path(__file__).resolve().parents[2]
RECIPE = ROOT / "recipes" / "gpu-tinyimagenet100-resnet18.toml"


@pytest.mark.parametrize(("rate", "epochs"), [(1e9, 60), (60_000.0, 30), (1.0, 3)])
def test_the_short_study_is_the_longest_that_fits_the_measured_rate(
    rate: float, epochs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    gpu: Any = importlib.import_module("gpu")

    store = Store(tmp_path)
    with pytest.raises(MissingDataError, match=r"benchmarks/epoch\.py"):
        gpu.fitting(load_recipe(RECIPE), store, Runtime(), card="H100", seconds=1800.0, images=50_000)
    # Another card, a processor and another network say nothing.
    others = (("cpu", "resnet18/sgd", 2e9), ("H100", "resnet50/sgd", 3e9))
    for card, case, speed in (("H100", "resnet18/sgd", rate), *others):
        rows = [{"case": case, "images_per_second": speed}]
        config = {"benchmark": "epoch", "device": card, "cases": [case]}
        store.save("benchmark", config, result={"rows": rows})
    short = gpu.fitting(load_recipe(RECIPE), store, Runtime(), card="H100", seconds=1800.0, images=50_000)
    assert short.defaults["pretrain_epochs"] == epochs
    assert {cell.method for cell in short.cells()} == {"neggrad"}
    assert {cell.seed for cell in short.cells()} == {0}


@pytest.mark.slow
def test_the_whole_way_can_be_walked_on_a_cpu(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu.py"), "--tiny", "--store", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 remaining" in done.stdout
    kinds = {record.kind for record in Store(tmp_path).records()}
    assert {"benchmark", "unlearn", "choice"} <= kinds
