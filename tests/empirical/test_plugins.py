"""The example plug-in, installed as a user would and run."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from empirical import registry
from empirical.data.forget import choose_forget
from empirical.methods.forget import NegGrad
from empirical.registry import ForgetSet
from empirical.runs.resources import Resources
from empirical.runs.unlearning import build_method
from empirical.settings.run_config import RunConfig
from empirical.training.batches import Phase, Rows, Sets

ROOT = Path(__file__).parents[2]
PROGRAM = """
import json, sys
from empirical.settings.run_config import RunConfig
from empirical.studies.cost import copies_of
from empirical.studies.plan import cost_of
from figures.drawing.style import Theme
from figures.tables.names import METHOD_MARKERS, METHODS, rule_label
from repro.base.glossary import explain

config = RunConfig(dataset="digits-upside-down", method="forget_uniform", rule="sign", pretrain_epochs=1, epochs=1,
                   difficulty="every-twentieth", margin_power=2.0,
                   metrics=("accuracy", "tow", "forget_margin"))
told = [METHODS["forget_uniform"], METHOD_MARKERS["forget_uniform"], rule_label("sign"),
        Theme().lines("sign")["marker"], cost_of("sign"), copies_of("sign", "forget_uniform"),
        explain("forget_margin").unit]
told.append("my_unlearning" in sys.modules or "torch" in sys.modules)

from empirical.testing import check_forget_set, check_method, check_metric, check_rule
from empirical.runs.run import run
from empirical.runs.resources import Resources
from repro.records.store import Store

store = Store(sys.argv[1])
check_rule("sign")
check_method("forget_uniform", "retain-sam", Resources(store))
check_metric("forget_margin", Resources(store))
check_forget_set("every-twentieth")
first = run(config, store)
other = run(RunConfig(**{**vars(config), "margin_power": 1.0}), store)
ids = [one.result["evaluations"]["forget_margin"]["id"] for one in (first, other)]
print(json.dumps(first.result | {"told": told, "once_more": other.result["forget_margin"], "ids": ids}))
"""


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    import shutil

    source, target = tmp_path / "source", tmp_path / "site"
    shutil.copytree(ROOT / "examples" / "plugin", source)
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--disable-pip-version-check"]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, "--target", target, source], check=True)
    return target


@pytest.mark.slow
def test_a_users_package_adds_a_method_a_rule_a_metric_and_a_data_set(installed: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(installed), str(ROOT)])}
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "runs")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["labels"]["method"] == "forget_uniform"
    assert result["forget_margin"] > 0
    assert result["n_forget"] == -(-1437 // 20)
    assert result["evaluations"]["forget_margin"]["version"] == 1
    # Plans, figures and the glossary know it without its code, or torch; its metric's setting is one of a run.
    assert result["told"] == ["Forget uniformly", "h", "Sign", "<", 1, 3.0, "logits", False]
    assert result["once_more"] != result["forget_margin"]
    assert result["ids"][0] != result["ids"][1]


def test_the_example_is_as_short_as_the_documentation_says() -> None:
    lines = (ROOT / "examples" / "plugin" / "my_unlearning.py").read_text().splitlines()
    assert sum(bool(line.strip()) for line in lines) <= 50


def test_a_users_parts_may_have_the_older_names(monkeypatch: pytest.MonkeyPatch) -> None:
    from empirical.runs.workspace import Workspace
    from empirical.training.batches import Segment

    @dataclass(frozen=True)
    class Older:
        parts = ("all",)

        def segments(self, sets: Sets, epoch: int, generator: torch.Generator) -> list[Segment]:
            return [Segment({"retain": sets.retain})]

    monkeypatch.setitem(registry.METHODS, "older", SimpleNamespace(home=Older))
    older: Any = lambda candidates: candidates.pool[:3]  # noqa: E731
    monkeypatch.setitem(registry.FORGET_SETS, "older", ForgetSet(older))
    rows = Rows(torch.arange(5), torch.zeros(5, dtype=torch.long), torch.zeros(5, dtype=torch.bool), 2)
    (phase,) = build_method(RunConfig(method="older")).phases(Sets(rows, rows, 2), 0, torch.Generator())
    assert isinstance(phase, Phase)
    assert phase.steps == 3
    assert choose_forget(RunConfig(difficulty="older"), np.zeros(60, int)).forget.tolist() == [0, 1, 2]

    class Mine(NegGrad):
        def segments(self, sets: Sets, epoch: int, generator: torch.Generator) -> list[Segment]:
            return [Segment({"retain": sets.retain})]

    monkeypatch.setitem(registry.METHODS, "mine", SimpleNamespace(home=Mine))
    (phase,) = build_method(RunConfig(method="mine")).phases(Sets(rows, rows, 2), 0, torch.Generator())
    assert list(phase.streams) == ["retain"]
    assert Workspace is Resources
