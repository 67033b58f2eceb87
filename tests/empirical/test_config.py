"""Settings: every mistake is one line that names field, value, range and the nearest name."""

import subprocess
import sys
from typing import Any

import pytest

from empirical import registry
from empirical.released import resolve_switches
from empirical.runs.unlearning import build_method, check_run
from empirical.settings.rule_labels import RuleSpec, parse_options, parse_rule
from empirical.settings.run_config import RunConfig
from repro.base.errors import ConfigError
from repro.base.settings import build
from repro.records.identity import plain

BAD: list[tuple[dict[str, Any], str]] = [
    ({"method": "negrad"}, r"method = 'negrad'.*did you mean 'neggrad'"),
    ({"dataset": "digit"}, r"did you mean 'digits'"),
    ({"model": "resnet19"}, r"did you mean 'resnet"),
    ({"model": "tim:resnet18"}, "timm:NAME"),
    ({"dataset": "hub:"}, "hub:NAME"),
    ({"rule": "sma-0.1"}, r"rule = 'sma-0.1'.*did you mean"),
    ({"rule": "sam--1"}, r"rule = 'sam--1': must be a rule name and a radius >= 0"),
    ({"rule": "sam-big"}, r"radius"),
    ({"rule": "sam-0_1"}, r"rule = 'sam-0_1': must be a rule name and a radius >= 0"),
    ({"rule": "sam- 1"}, r"rule = 'sam- 1': must be a rule name and a radius >= 0"),
    ({"rule": "minmax-minmax"}, r"nested at most once"),
    ({"pretrain": "minmax"}, r"pretrain = 'minmax': must be a rule of one loss"),
    ({"pretrain": "retain-sam-0.1"}, r"pretrain = 'retain-sam-0.1': must be a rule of one loss"),
    ({"retrain": "masked-sgd"}, r"retrain = 'masked-sgd': must be a rule of one loss"),
    ({"difficulty": "hihg"}, r"did you mean 'high'"),
    ({"difficulty": "index"}, r"forget_index"),
    ({"forget_fraction": 1.0}, r"forget_fraction = 1.0: must be in \(0, 1\)"),
    ({"alpha": 1.5}, r"alpha = 1.5: must be in \[0, 1\]"),
    ({"lr": 0.0}, r"lr = 0.0: must be > 0"),
    ({"epochs": 0}, r"epochs = 0: must be >= 1"),
    ({"optimizer": "adamW"}, r"did you mean 'adam'"),
    ({"metrics": ["acuracy"]}, r"did you mean 'accuracy'"),
    ({"preset": "offical-paper"}, r"did you mean 'official-paper'"),
    ({"switches": "mask_polarty=low"}, r"unknown setting 'mask_polarty'.*did you mean 'mask_polarity'"),
    ({"switches": "mask_polarity=lower"}, r"mask_polarity = 'lower'"),
    ({"switches": "mask_polarity"}, r"must be name=value"),
    ({"switches": "tow=signed, tow=absolute"}, r"switches = 'tow=absolute': .*; tow = 'signed' is given too"),
    ({"dataset_options": "draw-x=1, draw_x=1"}, r"dataset_options = 'draw_x=1': must be the only value"),
    ({"dataset": "signal-noise"}, r"augment = 'shift': must be none on signal-noise"),
    ({"corruption": "snow-6"}, r"severity 1-5"),
    ({"corruption": "snow"}, r"severity 1-5"),
]


@pytest.mark.parametrize(("settings", "message"), BAD, ids=lambda value: str(value)[:40])
def test_a_bad_setting_is_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        RunConfig(**settings)


@pytest.mark.parametrize(("label", "spec"), [
    ("sgd", RuleSpec("sgd")), ("sam", RuleSpec("sam", 0.1)), ("sam-0.05", RuleSpec("sam", 0.05)),
    ("asam-1.0", RuleSpec("asam", 1.0)), ("retain-sam", RuleSpec("retain-sam", 0.1)),
    ("minmax", RuleSpec("minmax", inner="asam-1.0")), ("minmax-sam-0.1", RuleSpec("minmax", inner="sam-0.1")),
    ("masked-asam-0.5", RuleSpec("masked", inner="asam-0.5")), ("sam-1e-3", RuleSpec("sam", 1e-3)),
])  # fmt: skip
def test_rule_labels_are_read(label: str, spec: RuleSpec) -> None:
    assert parse_rule(label) == spec


@pytest.mark.parametrize(("retrain", "rule"), [("pretrain", "sam-0.1"), ("none", "sam-0.1"), ("sgd", "sgd")])
def test_the_reference_is_trained_as_the_original_unless_a_rule_is_named(retrain: str, rule: str) -> None:
    assert RunConfig(pretrain="sam-0.1", retrain=retrain).retrain_rule == rule


def test_options_are_read_as_toml_values() -> None:
    assert parse_options("a=1, b-c=1e-3, d=low, e=true", "x") == {"a": 1, "b_c": 1e-3, "d": "low", "e": True}


def test_unknown_method_options_are_refused_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match=r"unknown setting 'betta'.*did you mean 'beta'"):
        build_method(RunConfig(method="scrub", method_options="betta=1"))


def test_a_config_survives_json() -> None:
    config = RunConfig(rule="minmax-sam-0.1", metrics=("accuracy",), switches="tow=signed")
    assert build(RunConfig, plain(config)) == config
    assert resolve_switches(config.preset, config.switches).tow == "signed"


def test_building_a_config_imports_no_torch() -> None:
    program = "import sys, empirical.studies.plan as g; g.RunConfig(metrics=('tow',)); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("field", ["pretrain", "retrain"])
def test_a_users_own_rule_of_two_losses_trains_no_original(field: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no forget set both of its gradients would be that of the one loss, and be added up."""
    monkeypatch.setitem(registry.RULES, "mine", "empirical.training.rules:build_retain_sam")
    for label in ("mine-0.1", "mine-0.1:1, sgd"):
        with pytest.raises(ConfigError, match=f"{field} = '{label}': must be a rule of one loss"):
            check_run(build(RunConfig, {field: label}))
    check_run(RunConfig(rule="mine-0.1"))
    monkeypatch.setitem(registry.RULES, "mine", "empirical.training.rules:build_sam")
    check_run(build(RunConfig, {field: "mine-0.1:1, sgd"}))
