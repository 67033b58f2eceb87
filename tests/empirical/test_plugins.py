"""The example plug-in, installed as a user would and run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

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
from empirical.runs.workspace import Workspace
from repro.records.store import Store

store = Store(sys.argv[1])
check_rule("sign")
check_method("forget_uniform", "retain-sam", Workspace(store))
check_metric("forget_margin", Workspace(store))
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
