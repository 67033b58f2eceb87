"""The compiled step against explicit weights, and the identities every rule must keep."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import assume, given, reject, settings
from hypothesis import strategies as st
from hypothesis.control import currently_in_test_context

from tests.theory.explicit import Network, explicit, signals
from theory.config import TheoryConfig
from theory.draw import Draw, draw, generator
from theory.measures.measure import weight_gram
from theory.steps.dynamics import advance_network
from theory.training import (
    NetworkState,
    Schedule,
    copy_state,
    make_rule,
    pretrain_schedule,
    start_state,
    unlearn_schedule,
    zero_velocity,
)

EXTENSIONS = ("forget_angle", "label_noise", "momentum", "weight_decay", "sharpness_batch", "activation_power")
SMALL = TheoryConfig(d=60, n=12, n_forget=4, m=3, draw="dense", pretrain_epochs=8, epochs=8, retain_batch=3)
ANY_CONFIG = st.builds(
    SMALL.changed(pretrain_epochs=4, epochs=4).changed,
    n=st.integers(6, 14),
    n_forget=st.integers(1, 5),
    m=st.integers(1, 5),
    patches=st.integers(2, 4),
    noise=st.sampled_from(["orthogonal", "plain"]),
    batch_size=st.integers(1, 9),
    retain_batch=st.integers(1, 9),
    forget_batch=st.integers(1, 5),
    alpha=st.floats(0.0, 1.0),
    signal_strength=st.floats(0.1, 3.0),
    rho_scale=st.floats(0.0, 2.0),
    mask_refresh=st.integers(0, 3),
    pretrain=st.sampled_from(["sgd", "sam"]),
    unlearn=st.sampled_from(["sgd", "sam", "sharpen", "minmax", "retain_sam"]),
    method=st.sampled_from(["neggrad", "random_label"]),
    forget_angle=st.sampled_from([0.0, 0.0, 30.0, 90.0, 180.0]),
    label_noise=st.sampled_from([0.0, 0.0, 0.3]),
    momentum=st.sampled_from([0.0, 0.0, 0.8]),
    weight_decay=st.sampled_from([0.0, 0.0, 0.1]),
    sharpness_batch=st.sampled_from([0, 0, 1, 2]),
    activation_power=st.sampled_from([1.0, 1.0, 1.5, 2.0]),
)


def phases(config: TheoryConfig, drawn: Draw) -> list[tuple[Schedule, str, float]]:
    labels = drawn.problem.labels
    first = pretrain_schedule(config, labels, generator(0, "pretrain"), members=np.arange(config.n))
    second = unlearn_schedule(config, labels, generator(0, "unlearn"))
    return [
        (first, config.pretrain, config.pretrain_rho_scale * config.rho_th),
        (second, config.unlearn, config.rho_scale * config.rho_th),
    ]


def run_gram(config: TheoryConfig, drawn: Draw) -> NetworkState:
    state = start_state(drawn.start)
    for schedule, name, rho in phases(config, drawn):
        steps = 0, len(schedule.size), zero_velocity(config, state)
        ended = advance_network(drawn.problem, state, schedule, make_rule(name, config, rho=rho), *steps)
        if ended != -1 and currently_in_test_context():
            reject()  # of the settings that are drawn some diverge: nothing can be said of them
        assert ended == -1
    return state


def run_explicit(config: TheoryConfig, drawn: Draw, *, moved: float = 0.0) -> np.ndarray:
    """Return where explicit weights end, from a start that is moved by a share of itself."""
    network = Network(config, drawn)
    network.W *= torch.tensor(1 + moved * np.random.default_rng(0).standard_normal(network.W.shape))
    for unlearning, (schedule, name, _) in enumerate(phases(config, drawn)):
        network.train(name, schedule, unlearning=bool(unlearning))
    return network.W.numpy()


def reproduces_itself(config: TheoryConfig, seed: int, within: float = 1e-9) -> bool:
    """Return whether explicit weights end where they did, `within` their largest, if rounding moves their start."""
    drawn = draw(config, seed)
    one, other = (run_explicit(config, drawn, moved=moved) for moved in (0.0, 1e-15))
    return bool(np.abs(one - other).max() < within * np.abs(one).max())


def rebuild(drawn: Draw, state: NetworkState) -> np.ndarray:
    _, xi, weights = explicit(drawn)
    return state.share[0, 0] * weights + state.p.T @ signals(drawn) + state.q @ xi


def assert_same_network(config: TheoryConfig, tolerance: float) -> None:
    drawn = draw(config, 0)
    state, weights = run_gram(config, drawn), run_explicit(config, drawn)
    xi = explicit(drawn)[1]
    scale = max(np.abs(state.V).max(), np.abs(state.u).max())
    np.testing.assert_allclose(state.u / scale, signals(drawn) @ weights.T / scale, rtol=0, atol=tolerance)
    np.testing.assert_allclose(state.V / scale, weights @ xi.T / scale, rtol=0, atol=tolerance)
    size = np.abs(weights).max()
    np.testing.assert_allclose(rebuild(drawn, state) / size, weights / size, rtol=0, atol=tolerance)
    product = weights @ weights.T
    np.testing.assert_allclose(weight_gram(drawn.start, state), product, rtol=0, atol=tolerance * np.abs(product).max())


@pytest.mark.slow  # test_autograd.py has the product of rules and settings
@settings(max_examples=40, deadline=None)
@given(config=ANY_CONFIG)
def test_gram_engine_equals_explicit_weights_for_any_short_configuration(config):
    # Some are chaotic: steps at a pre-activation near 0, where the slope of z^1.5 turns without bound, made 3e-4 of a
    # start that was moved by 1e-15. What explicit weights do not reproduce themselves, the engine need not.
    assume(reproduces_itself(config, 0))
    assert_same_network(config, 1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("extension", [{}, {"activation_power": 1.5}, {"momentum": 0.8, "weight_decay": 0.1}])
def test_short_runs_are_seldom_chaotic(extension):
    """The assumption above leaves nearly all."""
    assert sum(reproduces_itself(SMALL.changed(**extension), seed) for seed in range(10)) >= 9


@settings(max_examples=12, deadline=None)
@given(config=ANY_CONFIG)
def test_kappa_and_zeta_rebuild_the_weights(config):
    """`w = w0 + j kappa phi / |phi|^2 + (1 / (P-1)) sum_i zeta_i xi_i / |xi_i|^2` to 1e-12."""
    drawn = draw(config, 0)
    state = run_gram(config, drawn)
    phi, xi, start = explicit(drawn)
    signs = np.repeat([1.0, -1.0], config.m)
    kappa = signs * drawn.problem.signal2 * state.p
    zeta = drawn.problem.noise_patches * drawn.problem.vectors * np.diag(drawn.problem.gram) * state.q
    directions = xi / np.sum(xi**2, axis=1, keepdims=True) / (config.patches - 1)
    weights = state.share[0, 0] * start + (signs * kappa).T @ signals(drawn) / (phi @ phi) + zeta @ directions
    np.testing.assert_allclose(weights, rebuild(drawn, state), rtol=0, atol=1e-12 * np.abs(weights).max())


@settings(max_examples=12, deadline=None)
@given(config=ANY_CONFIG, unlearn=st.sampled_from(["sam", "retain_sam", "sharpen"]))
def test_radius_zero_is_bitwise_sgd(config, unlearn):
    assume(unlearn != "retain_sam" or reproduces_itself(config, 0))
    drawn = draw(config, 0)
    flat = run_gram(replace(config, unlearn=unlearn, rho_scale=0.0), drawn)
    plain = run_gram(replace(config, unlearn="sgd"), drawn)
    tolerance = 0.0 if unlearn != "retain_sam" else 1e-8  # two groups, added in another order
    for left, right in zip(flat[:4], plain[:4], strict=True):
        np.testing.assert_allclose(left, right, rtol=0, atol=tolerance * max(1.0, np.abs(right).max()))


@settings(max_examples=12, deadline=None)
@given(config=ANY_CONFIG.filter(lambda config: config.unlearn != "minmax"))  # ties in a mask go by index
def test_flipping_every_label_mirrors_the_network(config):
    """With `y -> -y` and the two signs of neurons exchanged, u changes sign and V does not."""
    # Sums go in another order here, and chaos makes much of it: one run made 2.9e-9 of 1e-15, and 1.2e-9 here.
    assume(reproduces_itself(config, 0, within=1e-11))
    drawn = draw(config, 0)
    problem, start = drawn.problem, drawn.start
    swap = np.roll(np.arange(2 * config.m), config.m)
    flipped = {"labels": -problem.labels, "true_labels": -problem.true_labels}
    mirrored = problem._replace(**flipped, overlap=-problem.overlap)
    other = Draw(mirrored, start._replace(u=-start.u[:, swap], V=start.V[swap], K=start.K[swap][:, swap]))
    state, image = run_gram(config, drawn), run_gram(config, other)
    scale = max(np.abs(state.V).max(), np.abs(state.u).max())
    np.testing.assert_allclose(image.V / scale, state.V[swap] / scale, rtol=0, atol=1e-9)
    np.testing.assert_allclose(image.u / scale, -state.u[:, swap] / scale, rtol=0, atol=1e-9)


def test_parts_of_a_batch_are_of_samples_however_many_noise_vectors_each_has():
    """Where the two patches of every sample hold one vector, "independent" ones train what a repeated one does."""
    config = replace(SMALL, patches=3, sharpness_batch=2, pretrain="sam", unlearn="sam", rho_scale=1.0)
    phi, xi, weights = explicit(draw(config, 0))
    labels, n_retain = draw(config, 0).problem.labels, config.n_retain
    repeated = Draw.from_vectors(phi, xi, weights, labels, n_retain=n_retain, noise_patches=2)
    doubled = Draw.from_vectors(phi, np.stack([xi, xi], axis=1), weights, labels, n_retain=n_retain)
    one, other = run_gram(config, repeated), run_gram(replace(config, noise_patches="independent"), doubled)
    np.testing.assert_allclose(other.V[:, ::2], one.V, rtol=0, atol=1e-9 * np.abs(one.V).max())
    np.testing.assert_allclose(other.p, one.p, rtol=0, atol=1e-9 * np.abs(one.p).max())


def one_step(state: NetworkState, rule: str, rho: float, config: TheoryConfig = SMALL) -> NetworkState:
    drawn = draw(config, 0)
    moved = copy_state(state)
    schedule = unlearn_schedule(config, drawn.problem.labels, generator(0, "unlearn"))
    assert advance_network(drawn.problem, moved, schedule, make_rule(rule, config, rho=rho), 0, 1) == -1
    return moved


@pytest.mark.parametrize("rule", ["sgd", "sam", "sharpen", "minmax", "retain_sam"])
@pytest.mark.parametrize("level", [0.0, -1.0])
def test_dead_neurons_get_no_gradient_and_a_zero_gradient_perturbs_nothing(rule, level):
    """ReLU'(0) = 0: at exactly zero preactivations nothing moves, and no norm is divided by."""
    state = start_state(draw(SMALL, 0).start)
    state.u[:], state.V[:] = 0.0, level
    moved = one_step(state, rule, rho=1.0)
    for before, after in zip(state[:4], moved[:4], strict=True):
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("size", [1e3, 1e8])
def test_logistic_does_not_overflow_for_huge_outputs(size):
    state = start_state(draw(SMALL, 0).start)
    state.V[:3], state.V[3:] = size, -size
    moved = one_step(state, "sam", rho=1.0)
    assert all(np.all(np.isfinite(array)) for array in moved[:4])


@pytest.mark.parametrize("fraction, forget_neurons", [(0.25, 2), (0.5, 3), (0.9, 5)])
def test_minmax_never_lets_a_forget_sample_move_a_retain_neuron(fraction, forget_neurons):
    config = replace(SMALL, unlearn="minmax", mask_refresh=0, mask_fraction=fraction)
    drawn = draw(config, 0)
    state = start_state(drawn.start)
    schedule = unlearn_schedule(config, drawn.problem.labels, generator(0, "unlearn"))
    advance_network(
        drawn.problem, state, schedule, make_rule("minmax", config, rho=config.rho_th), 0, len(schedule.size)
    )
    retain_neurons, forget_samples = state.mask == 0.0, np.arange(config.n) >= config.n_retain
    assert np.sum(~retain_neurons) == forget_neurons  # of six
    assert np.all(state.q[retain_neurons][:, forget_samples] == 0.0)
    assert np.all(state.q[~retain_neurons][:, ~forget_samples] == 0.0)


def test_mask_is_refreshed_only_when_asked():
    masks = {}
    for refresh in (0, 1):
        config = replace(SMALL, unlearn="minmax", mask_refresh=refresh, epochs=40, eta_scale=20.0)
        drawn = draw(config, 1)
        state = start_state(drawn.start)
        schedule = unlearn_schedule(config, drawn.problem.labels, generator(0, "unlearn"))
        rule, seen = make_rule("minmax", config, rho=config.rho_th), []
        for epoch in range(config.epochs):
            advance_network(
                drawn.problem, state, schedule, rule, epoch * schedule.per_epoch, (epoch + 1) * schedule.per_epoch
            )
            seen.append(tuple(state.mask))
        masks[refresh] = set(seen)
    assert len(masks[0]) == 1
    assert len(masks[1]) > 1
