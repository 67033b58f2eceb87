"""The engine in plain numpy is the oracle of the compiled one: the same state, metrics and test error, seed by seed."""

import numpy as np
import pytest

from tests.theory.test_dynamics import phases
from theory.config import TheoryConfig
from theory.draw import draw, generator
from theory.measures.measure import measure_network
from theory.measures.metrics import TEST_METRICS, TRAINING_METRICS, Probe
from theory.measures.plain_measure import plain_test_errors, probed, training_numbers
from theory.measures.points import lattice_count, normal_points
from theory.measures.quadrature import test_error as compiled_error
from theory.steps.dynamics import advance_network, curved, probe
from theory.steps.plain import Draws, Networks, advance_networks, preactivations
from theory.training import make_rule, start_state, unlearn_schedule, zero_velocity

BASE = TheoryConfig(d=300, n=14, n_forget=4, m=4, pretrain_epochs=15, epochs=15, retain_batch=4, alpha=0.7,
                    rho_scale=0.7, directions=64)  # fmt: skip
SEEDS = 3
SETTINGS = [
    {}, {"unlearn": "sam", "pretrain": "sam"}, {"unlearn": "asam", "pretrain": "asam"},
    {"unlearn": "asam", "forget_angle": 50.0, "noise": "plain", "momentum": 0.8, "weight_decay": 0.1},
    {"unlearn": "sharpen"}, {"unlearn": "retain_sam", "pretrain": "sam"},
    {"unlearn": "minmax", "mask_refresh": 2, "mask_fraction": 0.3}, {"unlearn": "minmax", "mask_refresh": 0},
    {"method": "random_label", "unlearn": "sam"}, {"noise": "plain", "patches": 3, "unlearn": "sam"},
    {"noise": "plain", "noise_patches": "independent", "patches": 3, "unlearn": "minmax"},
    {"noise_patches": "independent", "patches": 4, "unlearn": "sam", "sharpness_batch": 2},
    {"forget_angle": 50.0, "unlearn": "sam"}, {"forget_angle": 120.0, "noise": "plain", "unlearn": "minmax"},
    {"label_noise": 0.3, "unlearn": "sam", "pretrain": "sam"}, {"momentum": 0.8, "weight_decay": 0.1, "unlearn": "sam"},
    {"sharpness_batch": 3, "unlearn": "sam", "momentum": 0.5}, {"activation_power": 1.5, "unlearn": "sam"},
    {"activation_power": 2.0, "forget_angle": 30.0, "noise": "plain"}, {"labels": "balanced", "m": 1},
]  # fmt: skip


class Both:
    """The same seeds of one setting, trained by both engines."""

    def __init__(self, config: TheoryConfig) -> None:
        self.config, self.draws = config, [draw(config, seed) for seed in range(SEEDS)]
        self.states = [start_state(one.start) for one in self.draws]
        self.stacked, self.nets = Draws.of(self.draws), Networks.of([[state] for state in self.states])
        runs = [phases(config, one) for one in self.draws]
        for stage in range(2):
            schedules = [run[stage][0] for run in runs]
            _, name, rho = runs[0][stage]
            rule, steps = make_rule(name, config, rho=rho), (0, len(schedules[0].size))
            velocities = [zero_velocity(config, state) for state in self.states]
            for one, state, schedule, velocity in zip(self.draws, self.states, schedules, velocities, strict=True):
                assert advance_network(one.problem, state, schedule, rule, *steps, velocity, one.start) == -1
            still = None if velocities[0] is None else self.nets.at_rest()
            assert np.all(advance_networks(self.stacked, self.nets, schedules, [rule], *steps, still) == -1)


@pytest.fixture(scope="module", params=SETTINGS, ids=lambda changes: ",".join(map(str, changes.values())) or "default")
def both(request) -> Both:
    return Both(BASE.changed(**request.param))


def test_every_coordinate_is_that_of_the_compiled_engine(both):
    for state, (found,) in zip(both.states, both.nets.states(both.stacked), strict=True):
        for name in state._fields:
            expected = getattr(state, name)
            size = max(1.0, np.abs(expected).max())
            np.testing.assert_allclose(getattr(found, name) / size, expected / size, rtol=0, atol=1e-12, err_msg=name)


def test_every_number_is_that_of_the_compiled_engine(both):
    K, found = training_numbers(both.stacked, both.nets, preactivations(both.stacked, both.nets))
    numbers = found.metrics()
    for row, (one, state) in enumerate(zip(both.draws, both.states, strict=True)):
        expected = measure_network(both.config, one, state)
        assert numbers.keys() >= set(TRAINING_METRICS) - set(TEST_METRICS)
        for name in numbers.keys() & expected.keys():
            assert numbers[name][0, row] == pytest.approx(expected[name], rel=1e-11, abs=1e-12), name
        size = np.abs(K[row, 0]).max()
        rebuilt = expected["weight_norm"] ** 2
        assert np.trace(K[row, 0]) == pytest.approx(rebuilt, abs=1e-11 * size)


def test_activations_are_those_of_the_compiled_engine(both):
    schedules = [unlearn_schedule(both.config.changed(epochs=1), one.problem.labels, generator(seed, "probe"))
                 for seed, one in enumerate(both.draws)]  # fmt: skip
    probing = Probe(schedules[0], 0.8 * both.config.rho_th)
    found = probed(both.stacked, both.nets, schedules, probing.rho)
    for row, (one, state) in enumerate(zip(both.draws, both.states, strict=True)):
        expected = probe(one.problem, curved(one.problem), state, schedules[row], probing.rho)
        for name, values in found._asdict().items():
            np.testing.assert_allclose(values[row, 0], getattr(expected, name), rtol=1e-9, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("power, tolerance", [(1.0, 1e-13), (2.0, 1e-6)])  # a root of x^2 near 0 has half the digits
def test_the_test_error_is_that_of_the_compiled_engine(power, tolerance):
    rng, m = np.random.default_rng(2), 5
    W = rng.standard_normal((6, 2 * m, 12)) + 0.5 * np.repeat(rng.standard_normal((6, 2, 12)), m, axis=1)
    W[5, 0] = -W[5, m:].mean(axis=0) * -1.0  # a neuron that pulls against its sign
    K, u = W @ W.swapaxes(1, 2), rng.standard_normal((6, 2 * m))
    points = np.stack([normal_points(2 * m + 1, 256, seed) for seed in range(3)])  # of each draw, with two networks
    for signal2 in (0.0, 3.0):
        whole = K + (u[:, :, None] * u[:, None] / signal2 if signal2 else 0.0)
        stacks = whole.reshape(3, 2, *K.shape[1:]), u.reshape(3, 2, -1)
        found = plain_test_errors(*stacks, signal2, 0.3, points, lattice_count(256), power)
        for row in range(6):
            expected = compiled_error(whole[row], u[row], signal2, 0.3, points[row // 2], lattice_count(256), power)
            assert [values.ravel()[row] for values in found] == pytest.approx(expected, abs=tolerance)


def test_a_seed_that_leaves_the_finite_range_is_named_with_its_step():
    config = BASE.changed(eta_scale=1e308)
    draws = [draw(config, seed) for seed in range(SEEDS)]
    schedules = [phases(config, one)[0][0] for one in draws]
    rule = make_rule("sgd", config, rho=0.0)
    with np.errstate(all="ignore"):
        starts = Networks.of([[start_state(one.start)] for one in draws])
        found = advance_networks(Draws.of(draws), starts, schedules, [rule], 0, 10)
    expected = [advance_network(one.problem, start_state(one.start), schedule, rule, 0, 10)
                for one, schedule in zip(draws, schedules, strict=True)]  # fmt: skip
    assert found.tolist() == [expected]
