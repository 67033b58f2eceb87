"""Every metric against explicit weights, and the quadrature of the test error against closed forms."""

from dataclasses import replace

import numpy as np
import pytest

from tests.theory.explicit import POINTS, Network, assert_agrees, fresh_margins
from theory.config import TheoryConfig
from theory.draw import draw, generator
from theory.measures.measure import measure_network
from theory.measures.metrics import Probe
from theory.steps.dynamics import advance_network
from theory.training import Schedule, copy_state, make_rule, pretrain_schedule, start_state, unlearn_schedule

CONFIG = TheoryConfig(d=300, n=12, n_forget=3, m=4, draw="dense", sigma_0_scale=1.0)


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
            advance_network(self.drawn.problem, self.state, schedule, make_rule("sgd", self.config, rho=0.0), 0, steps)
        self.weights = self.start + np.outer(self.state.p.sum(axis=0), self.phi) + self.state.q @ self.xi
        self.signs = np.repeat([1.0, -1.0], self.config.m)
        self.match = np.equal.outer(self.signs, labels)
        self.sides = {"retain": np.arange(self.config.n) < self.config.n_retain}
        self.sides["forget"] = ~self.sides["retain"]

    def gradient(self, index: np.ndarray, c: np.ndarray) -> np.ndarray:
        """Return the gradient on a batch of the schedule."""
        network = Network(self.config, self.drawn)
        return network.gradient(self.weights, index, c, self.schedule.loss_labels[index]).numpy()

    def measured(self, probing: Probe | None = None) -> dict[str, float]:
        return measure_network(self.config.changed(directions=4096), self.drawn, self.state, probing)


SETTINGS = pytest.mark.parametrize("noise, patches", [("orthogonal", 2), ("plain", 3)])


@SETTINGS
@pytest.mark.parametrize("strength", [0.5, 8.0])
def test_test_error_agrees_with_monte_carlo(noise, patches, strength):
    net = Trained(noise, patches, strength)
    sampled = np.mean(fresh_margins(net.config, net.weights, net.phi, net.phi[None]) < 0)
    assert sampled < 0.48  # it has learned something
    assert net.measured()["test_error"] == pytest.approx(sampled, abs=4 * np.sqrt(sampled / POINTS) + 1e-3)


@SETTINGS
def test_test_noise_lies_along_the_signal_only_where_the_noise_model_says_so(noise, patches):
    """Weights along phi make the difference: noise across the signal does not reach them."""
    net = Trained(noise, patches, 0.5)
    tilt = 5.0 * np.random.default_rng(0).normal(size=2 * net.config.m)
    net.state.p[0] += tilt
    net.state.u[:] += tilt * net.drawn.problem.signal2
    net.state.V[:] += np.outer(tilt, net.drawn.problem.overlap[0])
    tilted = net.weights + np.outer(tilt, net.phi)
    assert_agrees(net.measured()["test_error"], net.config, tilted, net.phi, net.phi[None])


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
        gradient = net.gradient(index, c)
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
        gradient = net.gradient(index, c)
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
