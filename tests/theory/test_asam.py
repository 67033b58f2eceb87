"""What ASAM is equal to: SAM where all weights are as large as each other, exactly or as the dimension grows."""

from dataclasses import replace

import numpy as np
import pytest

from repro.base.errors import ConfigError
from tests.theory.explicit import explicit
from theory.config import TheoryConfig
from theory.draw import Draw
from theory.engine import Orders, replay, simulate
from theory.predict import unpredictable
from theory.steps.plain import Draws, Networks, batches, gradient, near, preactivations, weight_scales
from theory.training import BY_ENTRY, BY_NEURON, start_state


def given(d: int, seed: int = 0, *, equal: bool = False) -> tuple[TheoryConfig, Draw, Orders]:
    """Return a cell, data and weights spread over all d coordinates, and one batch of everything for two steps."""
    config = TheoryConfig(d=d, n=8, n_forget=2, m=3, pretrain_epochs=2, epochs=0, batch_size=8, draw="dense",
                          eta_scale=20.0, directions=16)  # fmt: skip
    rng = np.random.default_rng(seed)
    phi = rng.choice([-1.0, 1.0], d) / d**0.5
    w0 = config.sigma_0 * rng.standard_normal((6, d))
    if equal:
        w0 *= config.sigma_0 * d**0.5 / np.linalg.norm(w0, axis=1, keepdims=True)
    drawn = Draw.from_vectors(phi, rng.standard_normal((8, d)), w0, rng.choice([-1.0, 1.0], 8), n_retain=6)
    return config, drawn, Orders(np.tile(np.arange(8), (2, 1)), np.empty((0, 12), int))


def moved(config: TheoryConfig, drawn: Draw, orders: Orders, rule: str) -> np.ndarray:
    """Return what pretraining by a rule moved: the noise coefficients' mean and the signal's."""
    run = replay(config.changed(pretrain=rule), drawn, orders)
    names = ("kappa_retain", "kappa_forget", "zeta_retain", "zeta_forget", "zeta_retain_oppose", "weight_norm")
    return np.array([run.pretrain[name][0, -1] for name in names])


def test_with_neurons_of_one_length_it_is_sam():
    config, drawn, orders = first_step(equal=True)
    np.testing.assert_allclose(moved(config, drawn, orders, "asam"), moved(config, drawn, orders, "sam"), rtol=1e-12)
    assert np.abs(moved(config, drawn, orders, "sam") - moved(config, drawn, orders, "sgd")).max() > 1e-3


@pytest.mark.parametrize("scaled", [BY_NEURON, BY_ENTRY])
def test_at_the_random_start_it_becomes_sam_as_the_dimension_grows(scaled):
    """The distance of perturbed preactivations falls as d^(-1/2): by 10 from d = 300 to 30000, here at least by 4."""

    def distance(d: int, seed: int) -> float:
        config, drawn, _ = given(d, seed)
        draws, nets = Draws.of([drawn]), Networks.of([[start_state(drawn.start)]])
        batch = next(batches(draws, np.arange(8)[None, None], np.full((1, 1, 8), 1 / 8), draws.problem.labels))
        here, radius = preactivations(draws, nets), {BY_NEURON: config.rho_th / config.sigma_0 / d**0.5,
                                                     BY_ENTRY: config.rho_th / config.sigma_0}[scaled]  # fmt: skip
        step, _ = gradient(draws, batch, here)
        scales = weight_scales(draws, nets, scaled)
        ours, sam = (near(draws, batch, here, step, np.array([rho]), by)[1]
                     for rho, by in ((radius, scales), (config.rho_th, None)))  # fmt: skip
        return float(np.linalg.norm(ours - sam) / np.linalg.norm(sam - here[1]))

    far, close = (np.mean([distance(d, seed) for seed in range(4)]) for d in (300, 30_000))
    assert close < far / 4
    assert far > 0.01


def first_step(**more: bool) -> tuple[TheoryConfig, Draw, Orders]:
    config, drawn, orders = given(300, **more)
    return config.changed(pretrain_epochs=1), drawn, orders._replace(pretrain=orders.pretrain[:1])


def test_longer_neurons_are_perturbed_further():
    """Twice the weights is twice the perturbation: ASAM's at 2 W is SAM's of twice the radius there."""
    config, drawn, orders = first_step()
    phi, xi, w0 = explicit(drawn)
    w0 = w0 / np.linalg.norm(w0, axis=1, keepdims=True) * 2 * config.sigma_0 * config.d**0.5
    twice = replace(drawn, start=drawn.start._replace(V=w0 @ xi.T, K=w0 @ w0.T,
                                                       u=np.stack([w0 @ phi] * 2)))  # fmt: skip
    far = config.changed(pretrain_rho_scale=2.0)
    np.testing.assert_allclose(moved(config, twice, orders, "asam"), moved(far, twice, orders, "sam"), rtol=1e-12)


def test_by_entry_needs_the_vectors_and_neither_is_predicted():
    with pytest.raises(ConfigError, match=r"draw.*dense"):
        TheoryConfig(unlearn="asam_entry")
    assert unpredictable(TheoryConfig(unlearn="asam"))
    assert unpredictable(TheoryConfig(pretrain="asam:5, sgd"))
    run = simulate(TheoryConfig(d=100, n=10, n_forget=2, m=2, draw="dense", pretrain="asam_entry", unlearn="asam",
                                pretrain_epochs=5, epochs=5, seeds=2, directions=16))  # fmt: skip
    assert run.status == "ok"
    assert np.isfinite(run.final("test_error")).all()
