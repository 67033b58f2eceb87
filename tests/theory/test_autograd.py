"""Every rule of the engine over whole runs against a network of its own in torch, whose gradients autograd computes."""

import numpy as np
import pytest

from tests.theory.explicit import Network, explicit, signals
from tests.theory.test_dynamics import phases, rebuild
from theory.config import UNLEARN_RULES, TheoryConfig
from theory.draw import draw
from theory.engine import advance
from theory.measures.measure import weight_gram
from theory.training import make_rule, start_state, zero_velocity

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


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("rule", UNLEARN_RULES)
def test_the_state_is_that_of_autograd(rule, setting):
    config = BASE.changed(unlearn=rule, **SETTINGS[setting])
    drawn = draw(config, 0)
    state, network = start_state(drawn.start), Network(config, drawn)
    for unlearning, (schedule, name, rho) in enumerate(phases(config, drawn)):
        made = make_rule(name, config, rho=rho)
        assert advance(drawn, state, schedule, made, (0, len(schedule.size)), zero_velocity(config, state)) == -1
        network.train(name, schedule, unlearning=bool(unlearning))
    W = network.W.numpy()
    products = {"u": (state.u, signals(drawn) @ W.T), "V": (state.V, W @ explicit(drawn)[1].T),
                "W": (rebuild(drawn, state), W), "K": (weight_gram(drawn.start, state), W @ W.T)}  # fmt: skip
    for quantity, (found, expected) in products.items():
        np.testing.assert_allclose(found, expected, rtol=0, atol=2e-12 * np.abs(expected).max(), err_msg=quantity)
    assert np.abs(W - explicit(drawn)[2]).max() > 0.1 * np.abs(W).max()  # it did train
