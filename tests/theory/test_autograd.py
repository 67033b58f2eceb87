"""Every rule of the engine against a two-layer CNN of its own in torch, whose gradients autograd computes.

The network reads patches and weights of dimension d; of the engine it takes the drawn vectors, the order of samples and
the settings. Loss weights, masks, radii and perturbations are written down here once more, from the papers.
"""

import numpy as np
import pytest
import torch

from tests.theory.test_dynamics import explicit, phases, rebuild, signals
from theory.config import UNLEARN_RULES, TheoryConfig
from theory.draw import draw
from theory.engine import advance
from theory.training import make_rule, rest, start_state

BASE = TheoryConfig(d=200, n=22, n_forget=6, m=4, draw="dense", pretrain_epochs=10, epochs=6, batch_size=5,
                    retain_batch=4, forget_batch=3, alpha=0.8, rho_scale=0.4, signal_strength=0.8, mask_refresh=2,
                    mask_fraction=0.3)  # fmt: skip
SETTINGS = {
    "default": {},
    "plain noise, 4 patches": {"noise": "plain", "patches": 4},
    "a patch each": {"noise": "plain", "patches": 3, "noise_patches": "independent"},
    "random labels": {"method": "random_label", "pretrain": "sam", "label_noise": 0.3},
    "parts of a batch": {"sharpness_batch": 2, "pretrain": "sam"},
    "momentum, decay, angle": {"momentum": 0.8, "weight_decay": 0.2, "forget_angle": 60.0},
    "smooth activation": {"activation_power": 2.0, "noise": "plain"},
}


class Network:
    """`f(x) = (1/m) sum_a j_a sum_patches relu(<w_a, x_patch>)^q` in float64, trained by torch."""

    def __init__(self, config: TheoryConfig, drawn) -> None:
        _, xi, weights = explicit(drawn)
        self.config, self.m = config, config.m
        carried = torch.tensor(drawn.problem.true_labels[:: config.noise_vectors])
        signal = torch.tensor(signals(drawn))[(torch.arange(config.n) >= config.n_retain).long()]
        noise = torch.tensor(xi).reshape(config.n, config.noise_vectors, config.d)
        if config.noise_vectors == 1:
            noise = noise.expand(config.n, config.patches - 1, config.d)
        self.patches = torch.cat([(carried[:, None] * signal)[:, None], noise], dim=1)
        self.labels = torch.tensor(drawn.problem.labels[:: config.noise_vectors])
        self.W, self.velocity = torch.tensor(weights), torch.zeros(weights.shape, dtype=torch.float64)
        self.owns_forget = torch.zeros(2 * self.m, dtype=torch.bool)

    def gradient(self, W: torch.Tensor, samples: torch.Tensor, weights: torch.Tensor, labels: torch.Tensor):
        W = W.clone().requires_grad_()
        hidden = torch.relu(self.patches[samples] @ W.T) ** self.config.activation_power
        by_neuron = hidden.sum(dim=1)
        f = (by_neuron[:, : self.m].sum(dim=1) - by_neuron[:, self.m :].sum(dim=1)) / self.m
        loss = (weights * torch.nn.functional.softplus(-labels * f)).sum()
        return torch.autograd.grad(loss, W)[0]

    def perturbation(self, name: str, g: torch.Tensor) -> torch.Tensor:
        """Return eps of SAM at radius rho, or of ASAM in units of the weights."""
        config = self.config
        rho = config.rho_scale * config.m * config.batch_size**0.5 / (config.patches * config.sigma_p * config.d**0.5)
        scale = torch.ones_like(g)
        if name == "asam":
            scale, rho = self.W.norm(dim=1, keepdim=True).expand_as(g), rho / config.sigma_0 / config.d**0.5
        elif name == "asam_entry":
            scale, rho = self.W.abs(), rho / config.sigma_0
        length = (scale * g).norm()
        return rho * scale**2 * g / length if length > 0 else torch.zeros_like(g)

    def by_rule(self, name: str, samples: torch.Tensor, weights: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        forget = samples >= self.config.n_retain

        def part(chosen: torch.Tensor, neurons: torch.Tensor | float, sharpness: float, inner: str) -> torch.Tensor:
            at = lambda W: neurons * self.gradient(W, samples[chosen], weights[chosen], labels[chosen])  # noqa: E731
            g = at(self.W)
            return g if inner == "sgd" else (1 - sharpness) * g + sharpness * at(self.W + self.perturbation(inner, g))

        everything = torch.ones_like(forget)
        if name == "retain_sam":
            return part(~forget, 1.0, 1.0, "sam") + part(forget, 1.0, 1.0, "sgd")
        if name == "minmax":
            owned = self.owns_forget[:, None].double()
            return part(~forget, 1.0 - owned, 1.0, "sam") + part(forget, owned, -1.0, "sam")
        return part(everything, 1.0, -1.0, "sam") if name == "sharpen" else part(everything, 1.0, 1.0, name)

    def train(self, name: str, schedule, *, unlearning: bool) -> None:
        config = self.config
        self.velocity.zero_()
        labels = self.labels.clone()
        if unlearning and config.method == "random_label":
            labels[config.n_retain :] *= -1
        for t, size in enumerate(schedule.size):
            samples = torch.tensor(schedule.samples[t, : size : config.noise_vectors]) // config.noise_vectors
            forget = samples >= config.n_retain
            weights = torch.full(samples.shape, 1.0 / len(samples), dtype=torch.float64)
            if unlearning:
                sign = -1.0 if config.method == "neggrad" else 1.0
                count = forget.sum().double()
                weights = torch.where(forget, sign * (1 - config.alpha) / count, config.alpha / (len(forget) - count))
            if name == "minmax" and t % (config.mask_refresh * schedule.per_epoch) == 0:
                everyone = torch.arange(config.n_retain, config.n)
                g = self.gradient(self.W, everyone, torch.ones(len(everyone)), labels[everyone])
                most = torch.argsort(-g.norm(dim=1))[: round(config.mask_fraction * 2 * config.m)]
                self.owns_forget[:] = False
                self.owns_forget[most] = True
            parts = -(-len(samples) // (config.sharpness_batch or len(samples)))
            each = [slice(first, None, parts) for first in range(parts)]
            g = sum(self.by_rule(name, samples[one], weights[one], labels[samples[one]]) for one in each)
            self.velocity = config.momentum * self.velocity + g + config.weight_decay * self.W
            self.W = self.W - config.eta * self.velocity


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("rule", UNLEARN_RULES)
def test_the_state_is_that_of_autograd(rule, setting):
    config = BASE.changed(unlearn=rule, **SETTINGS[setting])
    drawn = draw(config, 0)
    state, network = start_state(drawn.start), Network(config, drawn)
    for unlearning, (schedule, name, rho) in enumerate(phases(config, drawn)):
        made = make_rule(name, config, rho=rho)
        assert advance(drawn, state, schedule, made, (0, len(schedule.size)), rest(config, state)) == -1
        network.config = config if unlearning else config.changed(rho_scale=config.pretrain_rho_scale)
        network.train(name, schedule, unlearning=bool(unlearning))
    W = network.W.numpy()
    products = {"u": (state.u, signals(drawn) @ W.T), "V": (state.V, W @ explicit(drawn)[1].T),
                "W": (rebuild(drawn, state), W)}  # fmt: skip
    for quantity, (found, expected) in products.items():
        np.testing.assert_allclose(found, expected, rtol=0, atol=2e-12 * np.abs(expected).max(), err_msg=quantity)
    assert np.abs(W - explicit(drawn)[2]).max() > 0.1 * np.abs(W).max()  # it did train
