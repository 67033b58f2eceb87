"""Every method and rule steps on a GPU without a wait for the host, a tensor elsewhere, or a shape that data decide."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from empirical.registry import BUILT_IN

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("fake device")]


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    """Return what steps raised on the pretended device, about a minute of ResNet-18 and ViT-S."""
    command = [sys.executable, "-m", "tests.empirical.fake_device"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_method_and_rule_stays_on_the_device(found: dict[str, Any]) -> None:
    assert {json.dumps(cell): error for cell, error in found["cells"] if error} == {}
    assert {cell["method"] for cell, _ in found["cells"]} == set(BUILT_IN["methods"])
    rules = {cell["rule"].partition("-")[0] for cell, _ in found["cells"]}
    assert rules == {name.partition("-")[0] for name in BUILT_IN["rules"]}
    assert {cell["model"] for cell, _ in found["cells"]} == {"resnet18", "vit-s"}


def test_every_setting_of_a_step_stays_on_the_device(found: dict[str, Any]) -> None:
    assert {json.dumps(settings): error for settings, error in found["settings"] if error} == {}


def test_a_wait_for_the_host_and_a_tensor_on_the_processor_are_noticed(found: dict[str, Any]) -> None:
    spoiled = found["spoiled"]
    assert spoiled["nothing"] == ""
    assert "_local_scalar_dense" in spoiled["item"]
    assert "_local_scalar_dense" in spoiled["if"]
    assert "nonzero" in spoiled["mask"]
    assert "cpu" in spoiled["processor"]
    assert "cpu" in spoiled["number"]
