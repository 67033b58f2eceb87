"""Every metric against explicit weights, and the quadrature of the test error against closed forms."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import gammaincc

from tests.theory.dense import DenseNetwork
from theory.config import TheoryConfig
from theory.directions import sphere_directions
from theory.draw import draw, generator
from theory.dynamics import advance
from theory.measure import Probe, measure, radial_tail, weight_gram
from theory.measure import test_error as exact_error
from theory.training import Schedule, copy_state, make_rule, pretrain_schedule, start_state, unlearn_schedule

CONFIG = TheoryConfig(d=300, n=12, n_forget=3, m=4, draw="dense", sigma_0_scale=1.0)


def monte_carlo(config: TheoryConfig, weights: np.ndarray, phi: np.ndarray, points: int = 200_000) -> float:
    rng = np.random.default_rng(7)
    wrong = 0
    for _ in range(points // 10_000):
        y = rng.choice([-1.0, 1.0], size=10_000)
        noise = config.sigma_p * rng.standard_normal((10_000, config.d))
        if config.noise == "orthogonal":
            noise -= np.outer(noise @ phi / (phi @ phi), phi)
        hidden = np.maximum(np.outer(y, weights @ phi), 0) + (config.patches - 1) * np.maximum(noise @ weights.T, 0)
        output = hidden[:, : config.m].sum(axis=1) - hidden[:, config.m :].sum(axis=1)
        wrong += np.sum(y * output < 0)
    return wrong / points


class Trained:
    """A network pretrained on everything and unlearned a little, in inner products and as explicit weights."""

    def __init__(self, noise: str, patches: int, strength: float) -> None:
        self.config = replace(CONFIG, noise=noise, patches=patches, signal_strength=strength, sigma_p=0.5)
        self.drawn = draw(self.config, 1)
        assert self.drawn.vectors is not None
        self.phi, self.xi, self.start = self.drawn.vectors
        labels, self.labels = self.drawn.problem.labels, self.drawn.problem.labels
        self.state = start_state(self.drawn.start)
        first = pretrain_schedule(self.config, labels, generator(1, "a"), members=np.arange(self.config.n))
        self.schedule = unlearn_schedule(self.config, labels, generator(1, "b"))
        for schedule, steps in ((first, 20), (self.schedule, 2)):
            advance(self.drawn.problem, self.state, schedule, make_rule("sgd", self.config, rho=0.0), 0, steps)
        self.weights = self.start + np.outer(self.state.p.sum(axis=0), self.phi) + self.state.q @ self.xi
        self.signs = np.repeat([1.0, -1.0], self.config.m)
        self.match = np.equal.outer(self.signs, labels)
        self.sides = {"retain": np.arange(self.config.n) < self.config.n_retain}
        self.sides["forget"] = ~self.sides["retain"]

    def measured(self, probing: Probe | None = None) -> dict[str, float]:
        return measure(self.config.changed(directions=4096), self.drawn, self.state, probing)


SETTINGS = pytest.mark.parametrize("noise, patches", [("orthogonal", 2), ("plain", 3)])


@SETTINGS
@pytest.mark.parametrize("strength", [0.5, 8.0])
def test_test_error_agrees_with_monte_carlo(noise, patches, strength):
    net = Trained(noise, patches, strength)
    sampled = monte_carlo(net.config, net.weights, net.phi, 40_000)
    assert sampled < 0.48  # it has learned something
    assert net.measured()["test_error"] == pytest.approx(sampled, abs=4 * np.sqrt(sampled / 40_000) + 2e-3)


@SETTINGS
def test_test_noise_lies_along_the_signal_only_where_the_noise_model_says_so(noise, patches):
    """Weights along phi make the difference: noise across the signal does not reach them."""
    net = Trained(noise, patches, 0.5)
    tilt = 5.0 * np.random.default_rng(0).normal(size=2 * net.config.m)
    net.state.p[0] += tilt
    net.state.u[:] += tilt * net.drawn.problem.signal2
    net.state.V[:] += np.outer(tilt, net.drawn.problem.overlap[0])
    sampled = monte_carlo(net.config, net.weights + np.outer(tilt, net.phi), net.phi, 40_000)
    assert net.measured()["test_error"] == pytest.approx(sampled, abs=4 * np.sqrt(sampled / 40_000) + 2e-3)


@SETTINGS
def test_errors_losses_and_margins_are_those_of_the_explicit_network(noise, patches):
    net = Trained(noise, patches, 0.5)
    signal = np.maximum(np.outer(net.weights @ net.phi, net.labels), 0.0)
    hidden = signal + (patches - 1) * np.maximum(net.weights @ net.xi.T, 0.0)
    margins = net.labels * (net.signs @ hidden) / net.config.m
    found = net.measured()
    for side, members in net.sides.items():
        assert found[f"{side}_margin"] == pytest.approx(margins[members].mean())
        assert found[f"{side}_loss"] == pytest.approx(np.log1p(np.exp(-margins[members])).mean())
        assert found[f"{side}_error"] == pytest.approx(np.mean(margins[members] < 0))
    assert found["weight_norm"] == pytest.approx(np.linalg.norm(net.weights))


@SETTINGS
def test_coefficients_are_what_the_explicit_weights_gained_along_signal_and_noise(noise, patches):
    net = Trained(noise, patches, 0.5)
    directions = np.vstack([net.phi, net.xi])
    gained = np.linalg.lstsq(directions.T, (net.weights - net.start).T, rcond=None)[0].T
    kappa = net.signs * gained[:, 0] * (net.phi @ net.phi)
    zeta = (patches - 1) * gained[:, 1:] * np.sum(net.xi**2, axis=1)
    found = net.measured()
    assert found["kappa_retain"] + found["kappa_forget"] == pytest.approx(kappa.mean())
    plus = kappa[: net.config.m].mean()
    assert found["kappa_retain_plus"] + found["kappa_forget_plus"] == pytest.approx(plus)
    assert found["kappa_retain"] > 0.0
    for side, members in net.sides.items():
        for name, pairs in (("", net.match), ("_oppose", ~net.match)):
            assert found[f"zeta_{side}{name}"] == pytest.approx(zeta[pairs & members].mean())


@SETTINGS
@pytest.mark.parametrize("rho", [0.0, 0.3])
def test_activation_is_that_of_the_explicit_network_at_the_batch_and_beside_it(noise, patches, rho):
    net = Trained(noise, patches, 0.5)
    counts = {(side, match, near): [0, 0] for side in net.sides for match in (True, False) for near in (True, False)}
    for index, c in batches(net.schedule):
        gradient = DenseNetwork(net.config, net.drawn).gradient(net.weights, (index, c), net.schedule.loss_labels)
        for near, weights in ((False, net.weights), (True, net.weights + rho * gradient / np.linalg.norm(gradient))):
            active = weights @ net.xi[index].T > 0.0
            for (side, match, where), count in counts.items():
                pairs = (net.match[:, index] == match) & net.sides[side][index]
                count[0] += int(np.sum(active[pairs])) if where == near else 0
                count[1] += int(np.sum(pairs)) if where == near else 0
    found = net.measured(Probe(net.schedule, rho))
    for (side, match, near), (active, pairs) in counts.items():
        name = f"active_{side}_{'match' if match else 'oppose'}{'_perturbed' if near else ''}"
        assert found[name] == pytest.approx(active / pairs)
    assert (found["active_retain_match"] == found["active_retain_match_perturbed"]) == (rho == 0.0)


@SETTINGS
@pytest.mark.parametrize("rho", [0.05, 0.5])
def test_joint_shares_survivors_and_depth_are_those_of_the_explicit_network(noise, patches, rho):
    """V > V_c = rho |xi_b| |r_b| / |r|_active decides for a pair whose own gradient pushes its preactivation down."""
    net = Trained(noise, patches, 0.5)
    counts = {(side, match): np.zeros(5) for side in net.sides for match in (True, False)}
    for index, c in batches(net.schedule):
        gradient = DenseNetwork(net.config, net.drawn).gradient(net.weights, (index, c), net.schedule.loss_labels)
        V, near = (weights @ net.xi[index].T for weights in (
            net.weights, net.weights + rho * gradient / np.linalg.norm(gradient)))  # fmt: skip
        hidden = np.maximum(np.outer(net.weights @ net.phi, net.labels[index]), 0) + (patches - 1) * np.maximum(V, 0)
        f, y = net.signs @ hidden / net.config.m, net.schedule.loss_labels[index]
        pull = -c * y / (1 + np.exp(y * f)) / net.config.m * net.signs[:, None]  # j_a r_b
        critical = rho * np.linalg.norm(net.xi[index], axis=1) * np.abs(pull) / np.sqrt(np.sum(pull[V > 0] ** 2))
        for (side, match), count in counts.items():
            pairs = (net.match[:, index] == match) & net.sides[side][index]
            active = pairs & (V > 0)
            survive = active & ((pull > 0) | (critical < V))
            count += [np.sum(active & (near > 0)), survive.sum(), V[active].sum(), critical[active].sum(), pairs.sum()]
    found = net.measured(Probe(net.schedule, rho))
    for (side, match), (joint, survive, depth, critical, pairs) in counts.items():
        group = f"{side}_{'match' if match else 'oppose'}"
        assert found[f"active_{group}_joint"] == pytest.approx(joint / pairs)
        assert found[f"active_{group}_predicted"] == pytest.approx(survive / pairs)
        assert found[f"depth_{group}"] == pytest.approx(depth / critical if critical else 0.0)
    assert found["active_retain_match_joint"] < found["active_retain_match"] or rho < 0.1


def batches(schedule: Schedule):
    for samples, weights, size in zip(schedule.samples, schedule.weights, schedule.size, strict=True):
        yield samples[:size], weights[:size]


def test_measuring_changes_nothing():
    net = Trained("plain", 3, 0.5)
    before = copy_state(net.state)
    net.measured(Probe(net.schedule, 0.3))
    for one, two in zip(before, net.state, strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("sign", [1, -1])
def test_one_pair_of_neurons_has_a_closed_form(sign):
    """m = 1, W W^T = I, and t = relu(cos) - relu(sin): with y = +1 the margin is S + r t for u = (S, 0).

    For u = (0, S) it is -S + r t, which is wrong unless r t exceeds S.
    """
    signal, angles = 1.3, (np.arange(200_000) + 0.5) * 2 * np.pi / 200_000
    t = np.maximum(np.cos(angles), 0) - np.maximum(np.sin(angles), 0)
    with np.errstate(divide="ignore"):
        beyond = np.where(sign * t < 0, np.exp(-((signal / t) ** 2) / 2), 0.0).mean()
    positive = beyond if sign > 0 else 1.0 - beyond
    negative = 0.5  # S_- = 0: wrong where t > 0 (three eighths), half wrong where t = 0 (a quarter)
    u = np.array([signal, 0.0]) if sign > 0 else np.array([0.0, signal])
    found = exact_error(np.eye(2), u, 0.0, 1.0, sphere_directions(2, 8192))
    assert found == pytest.approx(0.5 * (positive + negative), abs=2e-4)


def test_a_network_without_signal_errs_half_the_time():
    found = draw(replace(CONFIG, signal_strength=0.01), 0)
    state = start_state(found.start)
    state.u[:] = 0.0
    K = weight_gram(found.start, state)
    assert exact_error(K, state.u[0], 0.0, 0.25, sphere_directions(8, 2048)) == pytest.approx(0.5, abs=1e-12)


def test_quadrature_converges_in_the_number_of_directions():
    found = draw(replace(CONFIG, signal_strength=3.0), 2)
    state = start_state(found.start)
    state.u[:] = np.repeat([0.4, -0.3], CONFIG.m)
    args = (weight_gram(found.start, state), state.u[0], 0.0, 0.25)
    coarse, fine = (exact_error(*args, sphere_directions(8, count)) for count in (512, 16384))
    assert coarse == pytest.approx(fine, rel=0.05)


@pytest.mark.parametrize("m, x", [(1, 0.3), (10, 4.0), (10, 2000.0), (1000, 900.0), (1000, 1100.0), (1000, 0.0)])
def test_radial_tail_is_that_of_a_chi_square(m, x):
    assert radial_tail(m, x) == pytest.approx(gammaincc(m, x), rel=1e-9, abs=1e-300)


def test_the_test_error_of_many_neurons_has_tails_beyond_the_reach_of_exp():
    """With W W^T = I and u = 0 but for one neuron, `x = (S / (c t))^2 / 2` is above 700 and the tail is no 0."""
    m, directions = 700, np.random.default_rng(0).standard_normal((1400, 2))
    directions /= np.linalg.norm(directions, axis=0)
    both = np.hstack([directions, -directions])
    t = np.maximum(both[:m], 0).sum(axis=0) - np.maximum(both[m:], 0).sum(axis=0)
    signal = 37.6 * np.max(-t)  # S m on the label +1; 0 on the other
    x = (signal / t) ** 2 / 2
    assert np.min(x[t < 0]) == pytest.approx(706.88)
    expected = (np.mean(gammaincc(m, x) * (t < 0)) + np.mean(t > 0)) / 2
    found = exact_error(np.eye(2 * m), signal * np.eye(2 * m)[0], 0.0, 1 / m, directions)
    assert found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("noise", ["orthogonal", "plain"])
def test_the_test_error_of_independent_patches_agrees_with_monte_carlo(noise):
    config = replace(CONFIG, noise=noise, patches=4, noise_patches="independent", signal_strength=1.0, directions=4096)
    drawn = draw(config, 2)
    state, labels = start_state(drawn.start), drawn.problem.labels
    schedule = pretrain_schedule(config, labels, generator(1, "a"), members=np.arange(config.n))
    advance(drawn.problem, state, schedule, make_rule("sgd", config, rho=0.0), 0, 20)
    assert drawn.vectors is not None
    phi, xi, start = drawn.vectors
    weights = start + np.outer(state.p.sum(axis=0), phi) + state.q @ xi
    rng = np.random.default_rng(7)
    y = rng.choice([-1.0, 1.0], size=40_000)
    patches = config.sigma_p * rng.standard_normal((3, 40_000, config.d))
    if noise == "orthogonal":
        patches -= (patches @ phi / (phi @ phi))[..., None] * phi
    hidden = np.maximum(np.outer(y, weights @ phi), 0) + np.maximum(patches @ weights.T, 0).sum(axis=0)
    sampled = np.mean(y * (hidden[:, : config.m].sum(axis=1) - hidden[:, config.m :].sum(axis=1)) < 0)
    found = measure(config, drawn, state)
    assert 0.02 < sampled < 0.45
    assert found["test_error"] == pytest.approx(sampled, abs=4 * (sampled * (1 - sampled) / 40_000) ** 0.5)
    repeated = replace(config, noise_patches="repeated")
    assert (
        abs(measure(repeated, draw(repeated, 2), start_state(draw(repeated, 2).start))["test_error"] - sampled) > 0.02
    )
    own = np.maximum(np.outer(labels[::3], weights @ phi), 0) + np.maximum(xi @ weights.T, 0).reshape(-1, 3, 8).sum(
        axis=1
    )
    margins = labels[::3] * (own[:, : config.m].sum(axis=1) - own[:, config.m :].sum(axis=1)) / config.m
    assert found["retain_margin"] == pytest.approx(margins[: config.n_retain].mean())
