"""The two draws have one law, and inner products are those of vectors."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import ks_2samp

from theory.config import TheoryConfig
from theory.draw import Draw, bartlett_factor, draw
from theory.engine import simulate

SMALL = TheoryConfig(d=120, n=10, n_forget=2, m=3, pretrain_epochs=10, epochs=10, retain_batch=4, checkpoint_every=100)
LEVEL = 1e-3  # with about thirty comparisons, a false alarm in three percent of all seeds; these seeds are fixed


def same_law(one: Any, two: Any) -> bool:
    """Return whether a two-sample Kolmogorov-Smirnov test finds no difference."""
    result: Any = ks_2samp(one, two)
    return bool(result.pvalue > LEVEL)


@pytest.mark.parametrize("noise", ["orthogonal", "plain"])
def test_bartlett_and_explicit_draws_have_the_same_gram_entries(noise):
    samples = {}
    for kind, first in (("bartlett", 0), ("dense", 1000)):
        draws = [draw(replace(SMALL, draw=kind, noise=noise), first + seed) for seed in range(300)]
        samples[kind] = {
            "norm": [d.problem.gram[0, 0] for d in draws],
            "product": [d.problem.gram[0, 9] for d in draws],
            "largest eigenvalue": [np.linalg.eigvalsh(d.problem.gram)[-1] for d in draws],
            "smallest eigenvalue": [np.linalg.eigvalsh(d.problem.gram)[0] for d in draws],
            "initial noise": [d.start.V[2, 3] for d in draws],
            "initial signal": [d.start.u[0, 1] for d in draws],
            "initial weights": [d.start.K[0, 5] for d in draws],
        }
    for name, values in samples["bartlett"].items():
        assert same_law(values, samples["dense"][name]), name


@pytest.mark.parametrize("noise", ["orthogonal", "plain"])
@pytest.mark.parametrize("angle", [0.0, 60.0])
def test_bartlett_and_explicit_draws_train_to_the_same_law(noise, angle):
    config = replace(SMALL, noise=noise, unlearn="sam", signal_strength=1.0, forget_angle=angle)
    one = simulate(replace(config, draw="bartlett", seeds=150))
    two = simulate(replace(config, draw="dense", seeds=150, first_seed=5000))
    for name in ("test_error", "kappa_retain", "zeta_retain", "zeta_forget", "forget_loss", "weight_norm"):
        assert same_law(one.final(name), two.final(name)), name


@pytest.mark.parametrize("noise", ["orthogonal", "plain"])
@pytest.mark.parametrize("angle", [0.0, 50.0, 90.0, 180.0])
def test_inner_products_are_those_of_the_vectors(noise, angle):
    found = draw(replace(SMALL, draw="dense", noise=noise, forget_angle=angle), 3)
    assert found.vectors is not None
    phi, xi, weights = found.vectors
    np.testing.assert_allclose(found.problem.gram, xi @ xi.T, rtol=1e-12, atol=1e-10)
    assert found.forget_signal is not None
    signals = np.stack([phi, found.forget_signal])
    np.testing.assert_allclose(found.problem.overlap, signals @ xi.T, rtol=1e-12, atol=1e-10)
    np.testing.assert_allclose(found.start.V, weights @ xi.T, rtol=1e-12, atol=1e-10)
    np.testing.assert_allclose(found.start.u, signals @ weights.T, rtol=1e-12, atol=1e-10)
    np.testing.assert_allclose(found.start.K, weights @ weights.T, rtol=1e-12, atol=1e-10)
    lengths = found.problem.signal2 * np.array([[1.0, found.problem.cosine], [found.problem.cosine, 1.0]])
    np.testing.assert_allclose(signals @ signals.T, lengths, rtol=1e-12, atol=1e-10)


def test_dimensions_below_the_number_of_vectors_are_drawn_explicitly():
    assert bartlett_factor(8, 3, np.random.default_rng(0)).shape == (8, 3)
    config = TheoryConfig(d=10, n=20, n_forget=4)
    assert np.linalg.matrix_rank(draw(config, 0).problem.gram) == 9


def test_a_billion_dimensions_cost_no_more_than_a_thousand():
    found = draw(TheoryConfig(d=10**9), 0)
    assert found.problem.gram.shape == (40, 40)
    np.testing.assert_allclose(np.diag(found.problem.gram) / 1e9, 1.0, atol=1e-3)


def test_one_seed_gives_the_same_geometry_at_every_strength():
    weak, strong = (draw(TheoryConfig(signal_strength=s), 4) for s in (0.5, 2.0))
    np.testing.assert_array_equal(weak.problem.gram, strong.problem.gram)
    np.testing.assert_allclose(4 * weak.start.u, strong.start.u, rtol=1e-12)


def test_balanced_labels_change_the_labels_alone():
    iid, balanced = (draw(replace(SMALL, labels=kind), 3) for kind in ("iid", "balanced"))
    assert balanced.problem.labels.sum() == 0
    assert len({tuple(draw(replace(SMALL, labels="balanced"), seed).problem.labels) for seed in range(9)}) > 5
    np.testing.assert_array_equal(iid.problem.gram, balanced.problem.gram)
    np.testing.assert_array_equal(iid.start.V, balanced.start.V)


def test_every_seed_has_a_second_signal_and_flips_of_its_own():
    config = replace(SMALL, forget_angle=90.0, label_noise=0.3, noise="plain")
    draws = [draw(config, seed) for seed in range(5)]
    for name, found in {
        "weights along phi_F": [tuple(np.round(one.start.u[1], 9)) for one in draws],
        "noise along phi_F": [tuple(np.round(one.problem.overlap[1], 9)) for one in draws],
        "flipped labels": [tuple(one.problem.labels != one.problem.true_labels) for one in draws],
    }.items():
        assert len(set(found)) == 5, name


def test_a_draw_from_its_own_vectors_is_the_same_draw():
    found = draw(replace(SMALL, draw="dense", noise="plain"), 3)
    assert found.vectors is not None
    again = Draw.from_vectors(*found.vectors, found.problem.labels, n_retain=found.problem.n_retain)
    for name in ("gram", "overlap", "labels", "signal2", "noise_patches", "orthogonal", "n_retain"):
        np.testing.assert_allclose(getattr(again.problem, name), getattr(found.problem, name), rtol=1e-12, atol=1e-10)
    for name in ("u", "V", "K"):
        np.testing.assert_allclose(getattr(again.start, name), getattr(found.start, name), rtol=1e-10, atol=1e-10)
