"""Settings: defaults, derived quantities, refusals."""

import re
from dataclasses import fields

import pytest

from repro.base.errors import ConfigError
from theory.config import TheoryConfig, checkpoint_epochs


def test_defaults_give_the_derived_quantities_of_the_base_setting():
    config = TheoryConfig()
    assert config.eta == pytest.approx(0.01)
    assert config.rho_th == pytest.approx(0.25)
    assert config.sigma_0 == pytest.approx(0.1 / 4000**0.5)
    assert config.signal_norm == pytest.approx(0.5 * (4000 / 40) ** 0.25)


def test_every_setting_says_what_it_is():
    assert all(field.metadata.get("help") for field in fields(TheoryConfig))


def test_signal_norm_is_the_same_setting_in_input_units():
    config = TheoryConfig.with_signal(signal_norm=2.0, d=1000, patches=3)
    assert config.signal_norm == pytest.approx(2.0)
    assert TheoryConfig.with_signal(signal_strength=0.7).signal_strength == 0.7
    assert TheoryConfig.with_signal(n=50).n == 50


def test_radii_may_be_given_in_absolute_units():
    config = TheoryConfig(d=1000).at_radius(0.05)
    assert config.rho == pytest.approx(0.05)
    assert config.pretrain_rho == pytest.approx(config.rho_th)
    assert config.at_radius(0.1, 0.2).pretrain_rho == pytest.approx(0.2)
    for d in range(1780, 1830):  # a radius that is not given stays to the last digit, and its cell the same
        assert TheoryConfig(d=d).at_radius(pretrain_rho=0.2).rho_scale == 0.1
        assert TheoryConfig(d=d).at_radius(0.2).pretrain_rho_scale == 1.0
    for radius in (-1.0, float("inf"), float("nan"), 1e308):
        with pytest.raises(ConfigError, match=f"^rho = {re.escape(repr(radius))}: must be >= 0 and finite"):
            config.changed(d=10**12).at_radius(radius)
        with pytest.raises(ConfigError, match=f"^pretrain_rho = {re.escape(repr(radius))}: must be >= 0 and finite"):
            config.changed(d=10**12).at_radius(0.1, radius)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"signal_strength": -1.0}, ["signal_strength", "-1.0", "> 0"]),
        ({"n_forget": 40}, ["n_forget", "40", "n - 1 = 39"]),
        ({"pretrain": f"sam:{'9' * 5000}, sgd"}, ["pretrain = 'sam:99", "...: must be rules with their epochs"]),
        ({"alpha": 1.5}, ["alpha", "1.5", "[0.0, 1.0]"]),
        ({"unlearn": "minmix"}, ["unlearn", "minmix", "minmax"]),
        ({"directions": 500}, ["directions", "500", "power of two"]),
        ({"draw": "dense", "d": 10**7}, ["draw", "bartlett"]),
        ({"d": 2.5}, ["d", "2.5", "int"]),
        ({"forget_angle": 181.0}, ["forget_angle = 181.0: must be in [0.0, 180.0]"]),
        ({"forget_angle": 10.0, "d": 2}, ["d = 2: must be >= 3 with two signals"]),
        ({"momentum": 1.0}, ["momentum = 1.0: must be in [0.0, 1.0)"]),
        ({"activation_power": 0.5}, ["activation_power = 0.5: must be in [1.0, 10.0]"]),
        ({"curvature": True, "activation_power": 2.0}, ["curvature = True: must be False unless activation_power = 1"]),
        ({"signal_strength": 1e200}, ["signal_strength", "1e+200", "[1e-161, 1e+154]", "|phi|"]),
        ({"sigma_p": 1e200}, ["sigma_p = 1e+200", "[1e-161, 1e+154]", "|phi|"]),
        ({"sigma_p": 1e40, "activation_power": 10.0}, ["sigma_p = 1e+40", "<= 1e+30 at activation_power = 10"]),
        ({"sigma_p": 1e151, "signal_strength": 1e-9}, ["sigma_p = 1e+151", "<= 1e+150 at activation_power = 1"]),
        ({"first_seed": 2**63 - 20}, ["first_seed", str(2**63 - 20), f"at most {2**63 - 21}", "seeds = 20"]),
        ({"sigma_0_scale": 1e200}, ["sigma_0_scale", "1e+200", "(0.0, 1e+150]"]),
        ({"signal_strength": 1e-170}, ["signal_strength", "1e-170", "[1e-161, 1e+154]", "|phi|"]),
        ({"m": 1000, "patches": 13, "noise_patches": "independent"}, ["patches", "13", "at most 11", "repeated"]),
        ({"m": 1, "n": 5000, "patches": 5000, "noise_patches": "independent"}, ["patches", "5000", "GB of memory"]),
    ],
)
def test_a_bad_setting_is_refused_by_name_value_and_range(change, words):
    with pytest.raises(ConfigError) as error:
        TheoryConfig(**change)
    assert all(word in str(error.value) for word in words)
    assert "\n" not in str(error.value)


def test_as_many_noise_patches_as_directions_have_coordinates_for_are_taken():
    assert TheoryConfig(m=1000, patches=11, noise_patches="independent").noise_vectors == 10
    assert TheoryConfig(m=1000, patches=10**5).noise_vectors == 1


@pytest.mark.parametrize("given", [
    {"signal_strength": 0.5, "signal_norm": 1.0}, {"signal_norm": 0.0}, {"signal_norm": 1e-170}, {"signal_norm": 1e200}
])  # fmt: skip
def test_contradicting_or_empty_signals_are_refused(given):
    with pytest.raises(ConfigError, match="signal_norm"):
        TheoryConfig.with_signal(**given)


def test_cells_that_differ_in_unlearning_only_share_their_pretraining():
    config = TheoryConfig()
    assert config.changed(unlearn="sam", alpha=0.5, epochs=3).pretrain_key() == config.pretrain_key()
    assert config.changed(pretrain="sam").pretrain_key() != config.pretrain_key()
    assert config.changed(signal_strength=1.0).pretrain_key() != config.pretrain_key()


def test_checkpoints_thin_out():
    epochs = checkpoint_epochs(1000)
    assert epochs[:3] == [0, 5, 10]
    assert {100, 120, 500, 550, 1000} <= set(epochs)
    assert 105 not in epochs
    assert checkpoint_epochs(0) == [0]
    assert checkpoint_epochs(7) == [0, 5, 7]
    assert checkpoint_epochs(1100, 50) == [0, 50, 100, 300, 500, 1000, 1100]


def test_pretraining_may_follow_a_schedule_of_rules():
    config = TheoryConfig(pretrain="sam:25, sam-0.5:5, sgd", pretrain_epochs=100, pretrain_rho_scale=2.0)
    assert config.pretrain_phases() == [
        ("sam", pytest.approx(2.0 * config.rho_th), 25), ("sam", pytest.approx(0.5 * config.rho_th), 5),
        ("sgd", pytest.approx(2.0 * config.rho_th), 70)]  # fmt: skip
    assert TheoryConfig(pretrain="sam").pretrain_phases() == [("sam", TheoryConfig().pretrain_rho, 100)]


@pytest.mark.parametrize("text", ["sam, sgd", "sam:100, sgd", "sam:5, sgd:5", "adam:5, sgd", "sgd-0.1", "sam-x", "",
                                  "sgd-", "sam-", "sam-" + "9" * 400])  # fmt: skip
def test_a_schedule_that_cannot_be_read_names_the_setting(text):
    with pytest.raises(ConfigError, match="pretrain"):
        TheoryConfig(pretrain=text)
