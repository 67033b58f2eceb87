"""What the extensions of the model measure, against explicit weights: errors, true labels, curvature; and bad input."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from repro.base.errors import ConfigError
from tests.theory.explicit import Network, assert_agrees, explicit, signals
from tests.theory.test_dynamics import EXTENSIONS, SMALL, rebuild, run_gram
from theory.config import TheoryConfig
from theory.draw import draw
from theory.engine import replay, simulate_many
from theory.measures.curvature import curvature
from theory.measures.measure import measure_network
from theory.measures.metrics import METRICS, metric_names
from theory.predict import unpredictable

TINY = SMALL.changed(sigma_0_scale=1.0, signal_strength=1.0, directions=4096)


@pytest.mark.parametrize("noise, patches", [("orthogonal", 2), ("plain", 3)])
@pytest.mark.parametrize("angle", [50.0, 120.0])
def test_both_signals_test_errors_agree_with_monte_carlo(noise, patches, angle):
    # In twelve dimensions the two that orthogonal noise does not have are a sixth of all: their absence shows.
    config = TINY.changed(noise=noise, patches=patches, forget_angle=angle, epochs=2)
    config = config.changed(d=12) if noise == "orthogonal" else config
    drawn = draw(config, 1)
    state = run_gram(config, drawn)
    weights, found = rebuild(drawn, state), measure_network(config, drawn, state)
    for name, signal in zip(("test_error", "forget_signal_error"), signals(drawn), strict=True):
        assert_agrees(found[name], config, weights, signal, signals(drawn))
    assert abs(found["test_error"] - found["forget_signal_error"]) > 0.01


def test_a_forget_signal_opposite_to_the_retain_signal_lies_along_it():
    """Noise misses that one direction, and the sign of an output on the one signal is the other's turned round."""
    config = TINY.changed(d=12, forget_angle=180.0, epochs=2)
    drawn = draw(config, 1)
    state = run_gram(config, drawn)
    found = measure_network(config, drawn, state)
    assert 0.05 < found["test_error"] < 0.45
    assert found["test_error"] == measure_network(config.changed(forget_angle=0.0), drawn, state)["test_error"]
    assert found["forget_signal_error"] == pytest.approx(1 - found["test_error"], abs=1e-9)


@pytest.mark.parametrize("patches", ["repeated", "independent"])
@pytest.mark.parametrize("power, noise", [(1.0, "orthogonal"), (1.0, "plain"), (1.5, "orthogonal"), (2.0, "orthogonal"),
                                          (3.0, "orthogonal")])  # fmt: skip
def test_test_errors_and_margins_of_any_power_and_patches_are_those_of_explicit_weights(power, noise, patches):
    """Along the line the crossing of any q is found by bisection, not of q = 1 and 2 alone."""
    config = TINY.changed(activation_power=power, patches=4, noise_patches=patches, noise=noise, sigma_p=0.5, epochs=1)
    drawn = draw(config, 2)
    state = run_gram(config, drawn)
    weights, (phi, xi, _), found = rebuild(drawn, state), explicit(drawn), measure_network(config, drawn, state)
    assert_agrees(found["test_error"], config, weights, phi, signals(drawn))
    labels = drawn.problem.labels.reshape(config.n, -1)[:, 0]
    across = (np.maximum(xi @ weights.T, 0) ** power).reshape(config.n, -1, 2 * config.m).sum(axis=1)
    across *= 3 if patches == "repeated" else 1
    hidden = across + np.maximum(np.outer(labels, weights @ phi), 0) ** power
    margins = labels * (hidden @ np.repeat([1.0, -1.0], config.m)) / config.m
    assert found["retain_margin"] == pytest.approx(margins[: config.n_retain].mean())


@pytest.mark.parametrize("power", [1.0, 2.0])
def test_training_numbers_count_given_labels_and_clean_errors_true_ones(power):
    config = TINY.changed(label_noise=0.4, forget_angle=70.0, activation_power=power, momentum=0.5, epochs=3)
    drawn = draw(config, 4)
    state = run_gram(config, drawn)
    weights, problem = rebuild(drawn, state), drawn.problem
    output, signs = Network(config, drawn).outputs(weights).numpy(), np.repeat([1.0, -1.0], config.m)
    assert np.sum(problem.labels != problem.true_labels) == round(0.4 * config.n)
    found, retain = measure_network(config, drawn, state), np.arange(config.n) < config.n_retain
    for side, members in {"retain": retain, "forget": ~retain}.items():
        margins = (problem.labels * output)[members]
        assert found[f"{side}_margin"] == pytest.approx(margins.mean())
        assert found[f"{side}_error"] == pytest.approx(np.mean(margins <= 0))
        assert found[f"{side}_clean_error"] == pytest.approx(np.mean((problem.true_labels * output)[members] <= 0))
    assert found["weight_norm"] == pytest.approx(np.linalg.norm(weights))
    agree = np.equal.outer(signs, problem.labels)
    zeta = (config.patches - 1) * np.sum(explicit(drawn)[1] ** 2, axis=1) * state.q
    assert found["zeta_retain"] == pytest.approx(zeta[agree & retain].mean())


@pytest.mark.parametrize("changes", [
    {"noise": "orthogonal", "patches": 2}, {"noise": "plain", "patches": 3},
    {"noise_patches": "independent", "patches": 4},
])  # fmt: skip
def test_curvature_is_that_of_the_explicit_hessian(changes):
    """The whole Hessian of the mean loss on R by differences of the explicit gradient."""
    config = TINY.changed(d=20, m=2, label_noise=0.2, weight_decay=0.1, epochs=2, **changes)
    drawn = draw(config, 5)
    state = run_gram(config, drawn)
    network, weights, retain = Network(config, drawn), rebuild(drawn, state), np.arange(config.n_retain)
    columns, step = [], 1e-6
    for place in np.eye(weights.size):
        away = step * place.reshape(weights.shape)
        ends = [network.gradient(weights + sign * away, retain, 1 / len(retain), network.labels[retain])
                for sign in (1, -1)]  # fmt: skip
        columns.append((ends[0] - ends[1]).numpy().ravel() / (2 * step))
    hessian = np.array(columns)
    top, trace = curvature(drawn, state)
    assert trace == pytest.approx(np.trace(hessian), rel=1e-6)
    assert top == pytest.approx(np.linalg.eigvalsh((hessian + hessian.T) / 2)[-1], rel=1e-6)
    assert 0 < top < trace


def test_only_cells_that_ask_for_them_have_metrics_of_their_own():
    base = TheoryConfig(d=300, n=12, n_forget=3, m=3, pretrain_epochs=3, epochs=4, seeds=2, directions=64)
    changed = base.changed(forget_angle=40.0, label_noise=0.2, curvature=True, attacks=True)
    plain, other = simulate_many([base, changed])
    own = {"forget_signal_error", "forget_signal_error_quadrature", "retain_clean_error", "forget_clean_error",
           "retain_curvature_top", "retain_curvature_trace", "forget_auc", "forget_auc_quadrature",
           "relearning_epochs"}  # fmt: skip
    assert tuple(plain.metrics) == METRICS == metric_names(base)
    assert set(other.metrics) == set(METRICS) | own
    assert own < set(other.retrained) & set(other.pretrain)
    assert all(np.isfinite(other.metrics[name]).all() for name in own)


def test_flips_grow_with_the_share_and_leave_everything_else_as_it_is():
    none, some, more = (draw(SMALL.changed(label_noise=share), 3).problem for share in (0.0, 0.25, 0.5))
    wrong = [problem.labels != problem.true_labels for problem in (none, some, more)]
    assert [int(each.sum()) for each in wrong] == [0, 3, 6]
    assert np.all(wrong[2][wrong[1]])
    np.testing.assert_array_equal(none.true_labels, more.true_labels)
    np.testing.assert_array_equal(none.gram, more.gram)


@pytest.mark.parametrize("name", EXTENSIONS)
def test_the_mean_field_predicts_none_of_them_and_a_given_draw_has_only_what_it_has(name):
    config = SMALL.changed(**{name: 2 if name in ("sharpness_batch", "activation_power") else 0.5})
    assert name in unpredictable(config)
    if name in ("forget_angle", "label_noise", "activation_power"):
        with pytest.raises(ConfigError, match=name):
            replay(config, draw(SMALL, 0), None)  # type: ignore[arg-type]


def test_every_example_of_the_page_runs():
    text = (Path(__file__).parents[2] / "docs" / "extensions.md").read_text()
    examples = re.findall(r"```python\n(.*?)```", text, re.S)
    shown = "".join(examples)
    assert all(f"{name}=" in shown for name in (*EXTENSIONS, "curvature"))
    for code in examples:
        *lines, last = code.strip().splitlines()
        known: dict[str, Any] = {}
        exec("\n".join(lines), known)
        values = eval(last, known)
        assert all(np.isfinite(value).all() for value in (values if isinstance(values, tuple) else (values,)))
