"""Attacks on F: the AUC against sampled fresh points, chance where F was never seen, relearning by explicit weights."""

import numpy as np
import pytest

from tests.theory.explicit import Network, fresh_margins, signals
from tests.theory.test_dynamics import SMALL, rebuild, run_gram
from theory.config import TheoryConfig
from theory.draw import draw
from theory.engine import simulate
from theory.measures.attacks import FINE, MOST_EPOCHS, attacks, forget_margins, membership, relearning
from theory.measures.measure import measure_network, weight_gram
from theory.training import start_state

POINTS = 50_000


def sampled_auc(config: TheoryConfig, weights: np.ndarray, margins: np.ndarray, both: np.ndarray) -> float:
    """Return how often a forget image beats a fresh one by its margin, both from explicit weights; ties count half."""
    fresh = np.sort(fresh_margins(config, weights, both[1], both, points=POINTS))
    off = 1e-9 * np.abs(fresh).max()
    below = [np.searchsorted(fresh, margins + step) for step in (-off, off)]
    return float(np.mean(below) / POINTS)


SETTINGS = {
    "SGD": {},
    "SAM, three patches": {"unlearn": "sam", "patches": 3},
    "plain noise": {"noise": "plain"},
    "another forget signal": {"forget_angle": 60.0, "noise": "plain"},
    "a curved activation": {"activation_power": 2.0, "pretrain_epochs": 1, "epochs": 2},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_auc_is_that_of_sampled_fresh_points(name):
    config = SMALL.changed(sigma_0_scale=1.0, signal_strength=0.7, directions=2048, draw="dense", **SETTINGS[name])
    drawn = draw(config, 5)
    state = run_gram(config, drawn)
    weights = rebuild(drawn, state)
    truth = sampled_auc(config, weights, forget_margins(drawn, state), signals(drawn))
    found, error = membership(config, drawn, state, weight_gram(drawn.start, state))
    assert 0.02 < truth < 0.98
    assert 0.0 < error < 0.01
    assert found == pytest.approx(truth, abs=4 * np.hypot(0.5 / POINTS**0.5, error))


def test_margins_are_those_whose_mean_is_measured():
    config = SMALL.changed(draw="dense", noise_patches="independent", patches=3, label_noise=0.3, forget_angle=40.0)
    drawn = draw(config, 2)
    state = run_gram(config, drawn)
    margins, found = forget_margins(drawn, state), measure_network(config, drawn, state)
    assert margins.shape == (config.n_forget,)
    assert margins.mean() == pytest.approx(found["forget_margin"], rel=1e-12)
    assert np.mean(margins <= 0) == found["forget_error"]


def test_an_image_that_no_neuron_sees_ties_with_fresh_ones_that_none_sees():
    config = SMALL.changed(sigma_0_scale=1.0, signal_strength=0.7, directions=2048, m=1)
    drawn = draw(config, 5)
    state = run_gram(config, drawn)
    K, weights = weight_gram(drawn.start, state), rebuild(drawn, state)
    state.V[:, config.n_retain :] = -1.0  # the noise of every forget image is behind every neuron
    margins = forget_margins(drawn, state)
    truth = sampled_auc(config, weights, margins, signals(drawn))
    strictly = sampled_auc(config, weights, margins * (1 - 1e-6), signals(drawn))
    found, error = membership(config, drawn, state, K)
    assert abs(truth - strictly) > 0.03, "many fresh images have just this margin"
    assert found == pytest.approx(truth, abs=4 * np.hypot(0.5 / POINTS**0.5, error))


def test_images_with_the_margin_of_many_fresh_ones_count_half():
    """A network without weights gives every image the margin 0: nobody can be told from anybody."""
    config = TheoryConfig(d=300, n=12, n_forget=3, m=2)
    drawn = draw(config, 0)
    state = start_state(drawn.start)
    for array in state[:4]:
        array[:] = 0.0
    assert membership(config, drawn, state, np.zeros((4, 4))) == (0.5, 0.0)


def test_the_stated_error_covers_what_other_points_would_say():
    config = SMALL.changed(sigma_0_scale=1.0, signal_strength=0.7, directions=256)
    drawn = draw(config, 5)
    state = run_gram(config, drawn)
    K, found = weight_gram(drawn.start, state), []
    truth = membership(config.changed(directions=2**14), drawn, state, K)[0]
    for seed in range(40):
        object.__setattr__(drawn, "seed", seed)
        found.append(membership(config, drawn, state, K))
    values, errors = np.array(found).T
    stated = np.sqrt(np.mean(errors**2))
    assert abs(values.mean() - truth) < 4 * stated / 40**0.5
    assert np.sqrt(np.mean((values - truth) ** 2)) < 1.3 * stated


def test_forget_images_are_known_before_unlearning_and_fresh_to_the_retrained_model():
    run = simulate(TheoryConfig(attacks=True, seeds=40, epochs=0, directions=64, checkpoint_every=100))
    never_seen = (run.pretrain["forget_auc"][:, 0], run.retrained["forget_auc"])  # at the start, and retrained on R
    for values in never_seen:
        assert abs(values.mean() - 0.5) < 4 * values.std() / 40**0.5 < 0.1
    assert run.pretrain["forget_auc"][:, -1].min() > 0.85
    np.testing.assert_array_equal(run.metrics["forget_auc"][:, 0], run.pretrain["forget_auc"][:, -1])
    assert (run.pretrain["relearning_epochs"][:, -1] == 0.0).all()
    assert (run.pretrain["relearning_epochs"][:, 0] > 0.0).any()


@pytest.mark.parametrize("rule", ["sgd", "sam"])
def test_relearning_is_gradient_descent_on_f_by_explicit_weights(rule):
    config = SMALL.changed(draw="dense", unlearn=rule, alpha=0.3, epochs=8, momentum=0.0)
    drawn = draw(config, 3)
    state = run_gram(config, drawn)
    before = [array.copy() for array in state]
    network, forget = Network(config, drawn), np.arange(config.n_retain, config.n)
    weights, labels, steps = rebuild(drawn, state), drawn.problem.labels[forget], 0
    while np.any(labels * network.outputs(weights, forget).numpy() <= 0.0):
        weights = weights - config.eta / FINE * network.gradient(weights, forget, 1 / len(forget), labels).numpy()
        steps += 1
    assert 0 < steps < FINE * MOST_EPOCHS
    assert relearning(config, drawn, state) == steps / FINE
    for array, old in zip(state, before, strict=True):
        np.testing.assert_array_equal(array, old)  # the attacker has a copy


def test_what_is_never_learned_again_takes_the_longest_time():
    config = TheoryConfig(eta_scale=0.0, seeds=1)
    drawn = draw(config, 0)
    state = start_state(drawn.start)
    assert np.any(forget_margins(drawn, state) <= 0.0)
    assert attacks(config, drawn, state, weight_gram(drawn.start, state))["relearning_epochs"] == MOST_EPOCHS
