"""Pretraining by a schedule of rules: which rule steps when, where it ends, and that identities stay what they were."""

from dataclasses import replace

import pytest
import torch

from empirical.methods.retain import Retrain
from empirical.runs.experiment import make_experiment, train_original
from empirical.runs.resources import Resources
from empirical.settings.rule_labels import parse_rule_schedule
from empirical.settings.run_config import RunConfig, Runtime
from empirical.studies.plan import passes_of
from empirical.training.loop import fit
from empirical.training.rules import Plain, Sam
from repro.base.errors import ConfigError
from repro.records.store import Store
from tests.empirical.test_graph import disagreements
from tests.empirical.tiny import make_network, make_stage, state

SAM = Sam(0.5)


def trained(*, rule, later=None, epochs: int, **recipe):
    network = make_network()
    log = fit(network, replace(make_stage(Retrain(), epochs=epochs, **recipe), rule=rule, later=later or {}))
    return state(network), log


def same(left, right) -> bool:
    return all(torch.equal(left[name], right[name]) for name in left)


def test_a_schedule_steps_by_its_first_rule_and_from_its_epoch_on_by_the_next() -> None:
    both, log = trained(rule=SAM, later={1: Plain()}, epochs=2)
    assert same(trained(rule=SAM, later={2: Plain()}, epochs=1)[0], trained(rule=SAM, epochs=1)[0])
    assert not same(both, trained(rule=SAM, epochs=2)[0])
    assert not same(both, trained(rule=Plain(), epochs=2)[0])
    one = trained(rule=Plain(), epochs=1)[1].gradient_evaluations
    assert log.gradient_evaluations == 3 * one  # SAM's epoch takes two


def test_the_optimizer_keeps_its_momentum_when_the_rule_changes() -> None:
    assert same(trained(rule=Plain(), later={1: Plain()}, epochs=2)[0], trained(rule=Plain(), epochs=2)[0])


def test_training_ends_after_the_first_epoch_whose_mean_loss_is_small_and_only_if_asked() -> None:
    losses = [row["loss"] for row in trained(rule=Plain(), epochs=4)[1].epochs]
    assert losses[2] < losses[1] < losses[0]
    stopped = trained(rule=Plain(), epochs=4, stop_loss=(losses[1] + losses[0]) / 2)[1].epochs
    assert [row["loss"] for row in stopped] == losses[:2]


def test_a_run_pretrains_by_its_schedule_and_counts_its_passes(tmp_path) -> None:
    resources = Resources(Store(tmp_path), Runtime())
    schedule = {"pretrain": "sam-2.0:1, sgd", "pretrain_epochs": 2, "pretrain_schedule": "constant"}
    config = resources.identified(RunConfig(n_train=60, n_test=20, **schedule))

    def original(**changes):
        return train_original(make_experiment(replace(config, **changes), resources)).network.model.state_dict()

    both, first = original(), original(pretrain="sam-2.0", pretrain_epochs=1)
    assert not same(both, original(pretrain="sam-2.0"))
    assert not same(both, original(pretrain="sgd"))
    assert not same(both, first)
    assert same(original(pretrain_stop_loss=100.0), first)  # reached after the first epoch, by the first rule
    assert passes_of("sam-0.1:2, asam-1.0:3, sgd", 9) == 2 * 2 + 2 * 3 + 4


def test_a_schedule_replays_as_a_graph_bit_for_bit() -> None:
    assert disagreements(replace(make_stage(Retrain(), SAM), later={1: Plain(), 2: SAM})) == []


@pytest.mark.parametrize("field, value, words", [
    ("pretrain", "sam-0.1, sgd", "rules with their epochs"), ("pretrain", "sam-0.1:0, sgd", "rules with their epochs"),
    ("pretrain", "sam-0.1:9, sgd", "take 9 epochs of 9"), ("pretrain", "sam-0.1:3, sgd:6", "last rule has no epochs"),
    ("pretrain", "sam-0.1:3, minmax", "a rule of one loss"), ("pretrain", "sma-0.1:3, sgd", "did you mean"),
    ("rule", "sam-0.1:3, sgd", "rule"),
])  # fmt: skip
def test_a_schedule_that_cannot_be_read_is_refused_by_name(field: str, value: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        RunConfig(**{"pretrain_epochs": 9, field: value})


def test_a_retrained_run_may_follow_the_schedule_of_its_reference() -> None:
    assert RunConfig(method="retrain", rule="sam-0.1:3, sgd").rule == "sam-0.1:3, sgd"


def test_every_rule_of_a_schedule_is_a_known_one() -> None:
    assert parse_rule_schedule("sam-0.1:3, sgd", 9) == [("sam-0.1", 3), ("sgd", 6)]
    with pytest.raises(ConfigError, match=r"rule = 'sma-0\.1'"):
        parse_rule_schedule("sma-0.1:3, sgd", 9)
