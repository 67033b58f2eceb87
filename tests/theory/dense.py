"""The same training with explicit weights `(2m, d)` in plain numpy: the oracle the compiled engine is tested against.

It shares only the draw, the schedule and the names of the rules with the engine, and computes forward pass, gradient,
norm and perturbation from the vectors themselves.
"""

import numpy as np
import pytest

from theory.config import TheoryConfig
from theory.draw import Draw
from theory.training import Schedule

POINTS = 60_000  # of a Monte Carlo test error
Part = tuple[np.ndarray, np.ndarray]  # sample indices and their signed weights


class DenseNetwork:
    """A two-layer ReLU^q CNN with explicit weights, trained step by step as `torch.optim.SGD` would.

    `f(x) = (1/m) sum_a j_a [relu(<w_a, y phi>)^q + (P - 1) relu(<w_a, xi>)^q]`, phi that of the sample's side.

    Args:
        config: the run's settings.
        draw: an explicit draw (`config.draw == "dense"`).
    """

    def __init__(self, config: TheoryConfig, draw: Draw) -> None:
        if draw.vectors is None or draw.forget_signal is None:
            raise ValueError("draw has no vectors: use TheoryConfig(draw='dense')")
        self.config, self.labels = config, draw.problem.true_labels
        self.phi, self.xi, weights = draw.vectors
        in_retain = np.arange(config.n)[:, None] < config.n_retain
        self.signals = np.where(in_retain, self.phi, draw.forget_signal)
        self.weights, self.velocity = weights.copy(), np.zeros_like(weights)
        self.signs = np.repeat([1.0, -1.0], config.m)
        self.mask = np.zeros(2 * config.m, bool)

    def gradient(self, weights: np.ndarray, part: Part, loss_labels: np.ndarray) -> np.ndarray:
        """Return the gradient of `sum_b c_b log(1 + exp(-yl_b f_b))`, shape `(2m, d)`."""
        index, c = part
        q = self.config.activation_power
        patches = [(self.labels[index, None] * self.signals[index], 1.0), (self.xi[index], self.config.patches - 1.0)]
        hidden = [np.maximum(inputs @ weights.T, 0) for inputs, _ in patches]
        scores = [count * h**q @ self.signs for h, (_, count) in zip(hidden, patches, strict=True)]
        label, output = loss_labels[index], sum(scores) / self.config.m
        slope = -c * label / (1.0 + np.exp(np.minimum(label * output, 700.0))) / self.config.m
        pairs = zip(hidden, patches, strict=True)
        slopes = ((n * (h > 0) * q * h ** (q - 1) * slope[:, None], inputs) for h, (inputs, n) in pairs)
        return self.signs[:, None] * sum(by_sample.T @ inputs for by_sample, inputs in slopes)

    def step(self, schedule: Schedule, t: int, rule: str, rho: float) -> None:
        """Take step `t` of the schedule with the named rule and absolute radius."""
        index, c = schedule.samples[t, : schedule.size[t]], schedule.weights[t, : schedule.size[t]]
        refresh = self.config.mask_refresh * schedule.per_epoch
        if rule == "minmax" and (t == 0 or (refresh and t % refresh == 0)):
            self.refresh_mask(schedule.loss_labels)
        size = self.config.sharpness_batch or len(index)
        parts = -(-len(index) // size)
        gradient = sum(self._by_rule(rule, (index[i::parts], c[i::parts]), schedule, rho=rho) for i in range(parts))
        self.velocity = self.config.momentum * self.velocity + gradient + self.config.weight_decay * self.weights
        self.weights = self.weights - self.config.eta * self.velocity

    def _by_rule(self, rule: str, whole: Part, schedule: Schedule, *, rho: float) -> np.ndarray:
        index, c = whole
        cut = int(np.sum(index < self.config.n_retain))
        retain, forget = (index[:cut], c[:cut]), (index[cut:], c[cut:])
        steps = {
            "sgd": lambda: self._move(whole, schedule, rho=0.0),
            "sam": lambda: self._move(whole, schedule, rho=rho),
            "sharpen": lambda: self._reflect(whole, schedule, rho=rho),
            "retain_sam": lambda: self._move(retain, schedule, rho=rho) + self._move(forget, schedule, rho=0.0),
            "minmax": lambda: (
                self._move(retain, schedule, rho=rho, own=~self.mask)
                + self._reflect(forget, schedule, rho=rho, own=self.mask)
            ),
        }
        return steps[rule]()

    def refresh_mask(self, loss_labels: np.ndarray) -> None:
        """Give the neurons with the largest forget gradient to the forget part of Sharp MinMax."""
        index = np.arange(self.config.n_retain, self.config.n)
        gradient = self.gradient(self.weights, (index, np.ones(len(index))), loss_labels)
        order = np.argsort(-np.sum(gradient**2, axis=1), kind="stable")
        self.mask = np.isin(np.arange(len(order)), order[: round(self.config.mask_fraction * len(order))])

    def _move(self, part: Part, schedule: Schedule, *, rho: float, own: np.ndarray | None = None) -> np.ndarray:
        """Return the gradient at `W + rho g / |g|`, all of it restricted to the neurons `own`."""
        keep = np.ones((len(self.signs), 1)) if own is None else own[:, None]
        gradient = keep * self.gradient(self.weights, part, schedule.loss_labels)
        norm = np.linalg.norm(gradient)
        if norm == 0.0 or rho == 0.0:
            return gradient
        return keep * self.gradient(self.weights + rho * gradient / norm, part, schedule.loss_labels)

    def _reflect(self, part: Part, schedule: Schedule, *, rho: float, own: np.ndarray | None = None) -> np.ndarray:
        """Return `2 g(W) - g(W + rho g / |g|)`, the gradient of `L - [max_eps L(W + eps) - L]`."""
        plain = self._move(part, schedule, rho=0.0, own=own)
        return 2.0 * plain - self._move(part, schedule, rho=rho, own=own)


def monte_carlo(config: TheoryConfig, weights: np.ndarray, signal: np.ndarray, both: np.ndarray) -> float:
    """Return the test error of explicit weights on points that carry `signal`, noise across `both` where it is so.

    Args:
        config: noise model, patches and activation.
        weights: shape `(2m, d)`.
        signal: shape `(d,)`.
        both: the signals that orthogonal noise avoids, shape `(signals, d)`.
    """
    rng = np.random.default_rng(3)
    y = rng.choice([-1.0, 1.0], size=POINTS)
    noise = config.sigma_p * rng.standard_normal((config.noise_vectors, POINTS, config.d))
    if config.noise == "orthogonal":
        basis = np.linalg.svd(both, full_matrices=False)
        axes = basis.Vh[1e-9 * basis.S[0] < basis.S]
        noise -= noise @ axes.T @ axes
    q, repeats = config.activation_power, (config.patches - 1) / config.noise_vectors
    hidden = np.maximum(np.outer(y, weights @ signal), 0) ** q
    hidden = hidden + repeats * (np.maximum(noise @ weights.T, 0) ** q).sum(axis=0)
    return float(np.mean(y * (hidden[:, : config.m].sum(axis=1) - hidden[:, config.m :].sum(axis=1)) < 0))


def assert_agrees(found: float, sampled: float) -> None:
    """A test error is that of `monte_carlo`, which is no error of 0."""
    assert 0.0 < sampled < 0.65
    assert found == pytest.approx(sampled, abs=4 * (sampled * (1 - sampled) / POINTS) ** 0.5 + 1e-3)
