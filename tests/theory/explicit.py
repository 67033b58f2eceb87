"""The same training with explicit weights: a two-layer CNN of its own in torch, whose gradients autograd computes.

The network reads patches and weights of dimension d. Of the engine it takes the drawn vectors, the order of samples and
the settings; loss weights, masks, radii and perturbations are written down here once more, from the papers.
"""

from typing import Any

import numpy as np
import pytest
import torch

from theory.config import TheoryConfig
from theory.draw import Draw
from theory.training import Schedule

POINTS = 60_000  # of a Monte Carlo test error


def explicit(drawn: Draw) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return phi_R `(d,)`, the noise `(n, d)` and the initial weights `(2m, d)` of an explicit draw."""
    assert drawn.vectors is not None
    return drawn.vectors


def signals(drawn: Draw) -> np.ndarray:
    """Return phi_R and phi_F, shape `(2, d)`."""
    assert drawn.forget_signal is not None
    return np.stack([explicit(drawn)[0], drawn.forget_signal])


class Network:
    """`f(x) = (1/m) sum_a j_a sum_patches relu(<w_a, x_patch>)^q` in float64, trained by torch.

    Attributes:
        W: weights, shape `(2m, d)`.
    """

    def __init__(self, config: TheoryConfig, drawn: Draw) -> None:
        _, xi, weights = explicit(drawn)
        self.config, self.m, vectors = config, config.m, config.noise_vectors
        carried = torch.tensor(drawn.problem.true_labels[::vectors])
        signal = torch.tensor(signals(drawn))[(torch.arange(config.n) >= config.n_retain).long()]
        noise = torch.tensor(xi).reshape(config.n, vectors, config.d)
        noise = noise if vectors > 1 else noise.expand(config.n, config.patches - 1, config.d)
        self.patches = torch.cat([(carried[:, None] * signal)[:, None], noise], dim=1)
        self.labels = torch.tensor(drawn.problem.labels[::vectors])
        self.W, self.velocity = torch.tensor(weights), torch.zeros(weights.shape, dtype=torch.float64)
        self.owns_forget = torch.zeros(2 * self.m, dtype=torch.bool)

    def outputs(self, W: Any, samples: Any = slice(None)) -> torch.Tensor:
        """Return f of some samples, or of all."""
        hidden = torch.relu(self.patches[samples] @ torch.as_tensor(W).T) ** self.config.activation_power
        by_neuron = hidden.sum(dim=1)
        return (by_neuron[:, : self.m].sum(dim=1) - by_neuron[:, self.m :].sum(dim=1)) / self.m

    def gradient(self, W: Any, samples: Any, weights: Any, labels: Any) -> torch.Tensor:
        """Return the gradient of `sum_b c_b log(1 + exp(-y_b f_b))`, shape `(2m, d)`."""
        W = torch.as_tensor(W).clone().requires_grad_()
        margins = torch.as_tensor(labels) * self.outputs(W, samples)
        loss = (torch.as_tensor(weights) * torch.nn.functional.softplus(-margins)).sum()
        return torch.autograd.grad(loss, W)[0]

    def perturbation(self, name: str, g: torch.Tensor, rho_scale: float) -> torch.Tensor:
        """Return eps of SAM at radius rho, or of ASAM in units of the weights."""
        config = self.config
        rho = rho_scale * config.m * config.batch_size**0.5 / (config.patches * config.sigma_p * config.d**0.5)
        scale = torch.ones_like(g)
        if name == "asam":
            scale, rho = self.W.norm(dim=1, keepdim=True).expand_as(g), rho / config.sigma_0 / config.d**0.5
        elif name == "asam_entry":
            scale, rho = self.W.abs(), rho / config.sigma_0
        length = (scale * g).norm()
        return rho * scale**2 * g / length if length > 0 else torch.zeros_like(g)

    def by_rule(self, name: str, samples: Any, weights: Any, labels: Any, rho_scale: float) -> torch.Tensor:
        """Return the step of a rule on some samples, their weights and the labels of their loss."""
        forget = samples >= self.config.n_retain

        def part(chosen: torch.Tensor, neurons: torch.Tensor | float, sharpness: float, inner: str) -> torch.Tensor:
            at = lambda W: neurons * self.gradient(W, samples[chosen], weights[chosen], labels[chosen])  # noqa: E731
            g = at(self.W)
            if inner == "sgd":
                return g
            return (1 - sharpness) * g + sharpness * at(self.W + self.perturbation(inner, g, rho_scale))

        if name == "retain_sam":
            return part(~forget, 1.0, 1.0, "sam") + part(forget, 1.0, 1.0, "sgd")
        if name == "minmax":
            owned = self.owns_forget[:, None].double()
            return part(~forget, 1.0 - owned, 1.0, "sam") + part(forget, owned, -1.0, "sam")
        everything = torch.ones_like(forget)
        return part(everything, 1.0, -1.0, "sam") if name == "sharpen" else part(everything, 1.0, 1.0, name)

    def train(self, name: str, schedule: Schedule, *, unlearning: bool) -> None:
        """Train by a rule over the batches of a schedule, from rest."""
        config = self.config
        self.velocity.zero_()
        labels = self.labels.clone()
        if unlearning and config.method == "random_label":
            labels[config.n_retain :] *= -1
        between = config.mask_refresh * schedule.per_epoch
        for t, size in enumerate(schedule.size):
            samples = torch.tensor(schedule.samples[t, : size : config.noise_vectors]) // config.noise_vectors
            forget = samples >= config.n_retain
            weights = torch.full(samples.shape, 1.0 / len(samples), dtype=torch.float64)
            if unlearning:
                sign = -1.0 if config.method == "neggrad" else 1.0
                count = forget.sum().double()
                weights = torch.where(forget, sign * (1 - config.alpha) / count, config.alpha / (len(forget) - count))
            if name == "minmax" and (t % between if between else t) == 0:
                everyone = torch.arange(config.n_retain, config.n)
                g = self.gradient(self.W, everyone, torch.ones(len(everyone)), labels[everyone])
                most = torch.argsort(-g.norm(dim=1), stable=True)[: round(config.mask_fraction * 2 * config.m)]
                self.owns_forget[:] = False
                self.owns_forget[most] = True
            parts = -(-len(samples) // (config.sharpness_batch or len(samples)))
            each = [slice(first, None, parts) for first in range(parts)]
            rho_scale = config.rho_scale if unlearning else config.pretrain_rho_scale
            g = sum(self.by_rule(name, samples[s], weights[s], labels[samples[s]], rho_scale) for s in each)
            self.velocity = config.momentum * self.velocity + g + config.weight_decay * self.W
            self.W = self.W - config.eta * self.velocity


def fresh_margins(config: TheoryConfig, weights: np.ndarray, signal: np.ndarray, both: np.ndarray, *,
                  points: int = POINTS) -> np.ndarray:  # fmt: skip
    """Return the margins of explicit weights on fresh points that carry `signal`.

    Args:
        config: noise model, patches and activation.
        weights: shape `(2m, d)`.
        signal: shape `(d,)`.
        both: the signals that orthogonal noise avoids, shape `(signals, d)`.
        points: how many.
    """
    rng = np.random.default_rng(3)
    y = rng.choice([-1.0, 1.0], size=points)
    noise = config.sigma_p * rng.standard_normal((config.noise_vectors, points, config.d))
    if config.noise == "orthogonal":
        basis = np.linalg.svd(both, full_matrices=False)
        axes = basis.Vh[1e-9 * basis.S[0] < basis.S]
        noise -= noise @ axes.T @ axes
    q, repeats = config.activation_power, (config.patches - 1) / config.noise_vectors
    hidden = np.maximum(np.outer(y, weights @ signal), 0) ** q
    hidden = hidden + repeats * (np.maximum(noise @ weights.T, 0) ** q).sum(axis=0)
    return y * (hidden[:, : config.m].sum(axis=1) - hidden[:, config.m :].sum(axis=1)) / config.m


def assert_agrees(found: float, config: TheoryConfig, weights: np.ndarray, signal: np.ndarray, both: Any) -> None:
    """A test error is the share of fresh points with a margin below 0, which is no error of 0."""
    sampled = float(np.mean(fresh_margins(config, weights, signal, both) < 0))
    assert 0.0 < sampled < 0.65
    assert found == pytest.approx(sampled, abs=4 * (sampled * (1 - sampled) / POINTS) ** 0.5 + 1e-3)
