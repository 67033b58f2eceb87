"""The compiled step against explicit weights, and the identities every rule must keep."""

from dataclasses import replace

import numpy as np
import pytest

from theory.coefficients import weight_gram
from theory.config import TheoryConfig
from theory.dense import DenseNetwork
from theory.dynamics import advance
from theory.gram import Draw, draw, generator
from theory.rules import make_rule
from theory.schedule import Schedule, pretrain_schedule, unlearn_schedule
from theory.state import State, start_state

ORACLE = TheoryConfig(d=1000, n=40, n_forget=10, retain_batch=10, draw="dense", epochs=100, alpha=0.7, rho_scale=0.5)


def phases(config: TheoryConfig, drawn: Draw) -> list[tuple[Schedule, str, float]]:
    labels = drawn.problem.labels
    first = pretrain_schedule(config, labels, generator(0, "pretrain"), members=np.arange(config.n))
    second = unlearn_schedule(config, labels, generator(0, "unlearn"))
    return [
        (first, config.pretrain, config.pretrain_rho_scale * config.rho_th),
        (second, config.unlearn, config.rho_scale * config.rho_th),
    ]


def run_gram(config: TheoryConfig, drawn: Draw) -> State:
    state = start_state(drawn.start)
    for schedule, name, rho in phases(config, drawn):
        assert advance(drawn.problem, state, schedule, make_rule(name, config, rho=rho), 0, len(schedule.size)) == -1
    return state


def run_dense(config: TheoryConfig, drawn: Draw) -> DenseNetwork:
    network = DenseNetwork(config, drawn)
    for schedule, name, rho in phases(config, drawn):
        for t in range(len(schedule.size)):
            network.step(schedule, t, name, rho)
    return network


def rebuild(drawn: Draw, state: State) -> np.ndarray:
    assert drawn.vectors is not None
    phi, xi, weights = drawn.vectors
    return weights + np.outer(state.p.sum(axis=0), phi) + state.q @ xi


@pytest.mark.parametrize("noise", ["orthogonal", "plain"])
@pytest.mark.parametrize("pretrain, unlearn, method", [
    ("sgd", "sgd", "neggrad"), ("sam", "sam", "neggrad"), ("sgd", "sam", "random_label"),
    ("sam", "minmax", "neggrad"), ("sgd", "retain_sam", "neggrad"), ("sgd", "sharpen", "neggrad"),
])  # fmt: skip
def test_gram_engine_equals_explicit_weights_over_700_steps(noise: str, pretrain: str, unlearn: str, method: str):
    patches = 3 if noise == "plain" else 2
    config = replace(ORACLE, noise=noise, pretrain=pretrain, unlearn=unlearn, method=method, patches=patches)
    drawn = draw(config, 0)
    state, network = run_gram(config, drawn), run_dense(config, drawn)
    assert sum(len(schedule.size) for schedule, _, _ in phases(config, drawn)) == 700
    assert drawn.vectors is not None
    phi, xi, _ = drawn.vectors
    scale = np.abs(state.V).max()
    np.testing.assert_allclose(state.u / scale, network.weights @ phi / scale, rtol=0, atol=1e-10)
    np.testing.assert_allclose(state.V / scale, network.weights @ xi.T / scale, rtol=0, atol=1e-10)
    np.testing.assert_allclose(rebuild(drawn, state), network.weights, rtol=0, atol=1e-10)
    np.testing.assert_allclose(weight_gram(drawn, state), network.weights @ network.weights.T, rtol=1e-10, atol=1e-10)
