"""Metrics against hand-computed cases and second derivations."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment, linprog
from scipy.sparse import eye, kron, vstack
from sklearn.metrics import roc_auc_score

from empirical.metrics.attacks import (
    auc,
    auc_interval,
    curve,
    entropy,
    hits_at,
    losses,
    modified_entropy,
    released_modified_entropy,
    threshold_numbers,
)
from empirical.metrics.closeness import jensen_shannon, tow, weight_distances
from empirical.metrics.entanglement import class_pairs, overlap, scaled_ratio, transport_cost, unit_rows, variance_ratio
from empirical.metrics.evaluation import Evaluation, probabilities
from empirical.metrics.hessian import top_eigenvalue
from empirical.metrics.images import fixed_rows, logit_margin, margin
from empirical.metrics.landscape import directions, flatness, loss_grid
from empirical.registry import load, names
from empirical.runs.evaluations import make_evaluation
from empirical.runs.experiment import Experiment
from empirical.runs.run import run
from empirical.runs.workspace import Workspace
from empirical.settings.run_config import RunConfig

GENERATOR = np.random.default_rng(0)
P = np.array([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3]])
LABELS = np.array([0, 2])


@pytest.fixture
def evaluation(small: Callable[..., RunConfig], shared: Workspace) -> Evaluation:
    return make_evaluation(Experiment(small(landscape_points=3), shared))


def test_tow_multiplies_three_closenesses() -> None:
    reference = {"retain": 0.9, "forget": 0.5, "test": 0.8}
    own = {"retain": 0.8, "forget": 0.3, "test": 0.85}
    assert tow(own, reference) == pytest.approx(0.9 * 0.8 * 0.95)
    assert tow(own, reference, signed=True) == pytest.approx(0.9 * 1.2 * 1.05)
    assert tow(reference, reference) == 1


def test_entropies_equal_their_sums_written_out() -> None:
    first = -(0.7 * np.log(0.7) + 0.2 * np.log(0.2) + 0.1 * np.log(0.1))
    assert entropy(P)[0] == pytest.approx(first)
    second = -(1 - 0.3) * np.log(0.3) - 0.1 * np.log(0.9) - 0.6 * np.log(0.4)
    assert modified_entropy(P, LABELS)[1] == pytest.approx(second)
    assert losses(np.log(P), LABELS) == pytest.approx([-np.log(0.7), -np.log(0.3)])


def test_released_modified_entropy_ignores_the_labels_once_all_are_present() -> None:
    p = GENERATOR.dirichlet(np.ones(4), 40)
    labels = np.arange(40) % 4
    expected = -((1 - p) * np.log(p)).sum(1)
    np.testing.assert_allclose(released_modified_entropy(p, labels), expected)
    np.testing.assert_allclose(released_modified_entropy(p, (labels + 1) % 4), expected)
    assert np.abs(modified_entropy(p, labels) - modified_entropy(p, (labels + 1) % 4)).max() > 0.1


def test_extreme_scores_stay_finite() -> None:
    logits = np.array([[1000.0, -1000.0], [-1000.0, 1000.0]])
    p = probabilities(logits)
    for values in (entropy(p), modified_entropy(p, np.array([0, 0])), losses(logits, np.array([1, 1]))):
        assert np.isfinite(values).all()


def test_auc_agrees_with_scikit_learn_and_the_curve_with_counting() -> None:
    members, others = np.round(GENERATOR.normal(0.5, 1, 60), 1), np.round(GENERATOR.normal(0, 1, 80), 1)
    truth = np.repeat([1, 0], [60, 80])
    assert auc(members, others) == pytest.approx(roc_auc_score(truth, np.concatenate([members, others])))
    rate = 0.1
    hits = max(np.mean(members >= t) for t in np.concatenate([others, members]) if np.mean(others >= t) <= rate)
    assert hits_at(*curve(members, others), rate) == pytest.approx(hits)
    low, high = auc_interval(members, others, np.random.default_rng(0))
    assert low < auc(members, others) < high


def test_a_perfect_and_a_blind_attack() -> None:
    members, others = np.arange(10.0) + 20, np.arange(10.0)
    assert threshold_numbers(members, others) == {
        "auc": 1.0, "balanced_accuracy": 1.0, "tpr_at_1_percent": 1.0, "tpr_at_01_percent": 1.0
    }  # fmt: skip
    blind = threshold_numbers(np.zeros(10), np.zeros(10))
    assert blind["auc"] == blind["balanced_accuracy"] == 0.5
    assert blind["tpr_at_1_percent"] == 0


def test_variance_ratio_by_hand() -> None:
    retain, forget = np.array([[0.0, 0.0], [2.0, 0.0]]), np.array([[4.0, 1.0], [4.0, -1.0]])
    middle = np.array([2.5, 0.0])
    apart = 0.5 * (((np.array([1.0, 0.0]) - middle) ** 2).sum() + ((np.array([4.0, 0.0]) - middle) ** 2).sum())
    assert variance_ratio(retain, forget) == pytest.approx((1 + 1) / apart)
    assert variance_ratio(retain, retain) == 0
    assert scaled_ratio(650.0) == 0.5
    assert scaled_ratio(1e6) == 1


def transport_by_program(cost: np.ndarray) -> float:
    """Return the optimal cost by scipy: an assignment for samples of one size, a linear program otherwise."""
    n, m = cost.shape
    if n == m:
        return float(cost[linear_sum_assignment(cost)].mean())
    rows, columns = kron(eye(n), np.ones((1, m))), kron(np.ones((1, n)), eye(m))
    limits = np.concatenate([np.full(n, 1 / n), np.full(m, 1 / m)])
    return float(linprog(cost.ravel(), A_eq=vstack([rows, columns]), b_eq=limits, method="highs").fun)


def test_transport_is_exact() -> None:
    for shape in ((9, 9), (4, 7)):
        cost = GENERATOR.random(shape)
        assert transport_cost(cost) == pytest.approx(transport_by_program(cost))


def test_transport_on_a_line_is_the_distance_of_sorted_points() -> None:
    a, b = GENERATOR.random(12), GENERATOR.random(12)
    assert transport_cost(np.abs(a[:, None] - b)) == pytest.approx(np.abs(np.sort(a) - np.sort(b)).mean())


def test_overlap_is_one_for_the_same_points_and_depends_on_the_scale() -> None:
    points, other = (unit_rows(GENERATOR.normal(size=(30, 5))) for _ in range(2))
    values = [overlap(points, other, generator=np.random.default_rng(0), scale=s) for s in ("diameter", "max")]
    assert overlap(points, points, generator=np.random.default_rng(0), scale="max") == pytest.approx(1)
    assert 0 <= values[1] < values[0] < 1


def test_classes_need_two_images_in_both_sets() -> None:
    pair = (np.zeros((5, 2)), np.zeros((5, 2)))
    labels = (np.array([0, 0, 1, 1, 2]), np.array([0, 0, 1, 2, 2]))
    assert [len(r) for r, _ in class_pairs(pair, labels)] == [2]


def test_jensen_shannon_is_one_bit_between_certain_opposites() -> None:
    opposite = jensen_shannon(np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]]))
    assert opposite[0] == pytest.approx(1)
    assert jensen_shannon(P, P).tolist() == pytest.approx([0, 0])


def test_power_iteration_finds_the_largest_eigenvalue() -> None:
    matrix = torch.diag(torch.tensor([1.0, -2.0, 7.0], dtype=torch.float64))
    w = torch.randn(3, dtype=torch.float64, requires_grad=True)
    found = top_eigenvalue(lambda: 0.5 * w @ matrix @ w, [w], torch.Generator().manual_seed(0))
    assert found == pytest.approx(7, rel=1e-2)


def test_flatness_of_a_known_grid() -> None:
    grid = np.zeros((3, 3))
    grid[0] = 3.0
    numbers = flatness(grid)
    assert numbers["variability"] == pytest.approx(np.sqrt(2))
    assert numbers["basin_ratio"] == pytest.approx(6 / 9)
    assert numbers["rise"] == pytest.approx(1)


def test_filters_of_a_direction_are_as_long_as_the_networks(evaluation: Evaluation) -> None:
    network = evaluation.networks["original"]()
    first, _ = directions(network, torch.Generator().manual_seed(0))
    for weight, step in zip(network.parameters(), first, strict=True):
        if weight.dim() > 1:
            torch.testing.assert_close(step.flatten(1).norm(dim=1), weight.detach().flatten(1).norm(dim=1))
        else:
            assert not step.any()


def test_a_landscape_leaves_the_weights_and_has_the_loss_at_its_centre(evaluation: Evaluation) -> None:
    network = evaluation.networks["original"]()
    before = [w.detach().clone() for w in network.parameters()]
    images, labels = evaluation.images.test_images, evaluation.images.test_labels
    pair = directions(network, torch.Generator().manual_seed(0))
    grid = loss_grid(network, pair, np.array([-0.5, 0.0, 0.5]), images=images, labels=labels)
    expected = losses(evaluation.outputs["original"].test.logits, labels.numpy()).mean()
    assert grid[1, 1] == pytest.approx(expected, rel=1e-5)
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))


def test_a_model_is_at_no_distance_from_itself(evaluation: Evaluation) -> None:
    network = evaluation.networks["retrained"]()
    assert set(weight_distances(network, network).values()) == {0.0}


@pytest.mark.parametrize("name", [name for name in names("metrics") if name not in ("tow", "gap")])
def test_every_metric_returns_finite_numbers_on_a_finished_run(name: str, evaluation: Evaluation) -> None:
    found: dict[str, Any] = load("metrics", name)(evaluation)
    assert found
    for value in found.values():
        if not isinstance(value, str | list):
            assert np.isfinite(value).all()


def test_original_retrained_and_unlearned_stand_in_one_record(
    small: Callable[..., RunConfig], shared: Workspace
) -> None:
    config = small(metrics=["accuracy", "tow", "mia", "gap"])
    result = run(config, shared.store, workspace=shared).result
    for role in ("", "original_", "retrained_"):
        assert 0 <= result[f"{role}forget_accuracy"] <= 1
        assert 0 <= result[f"{role}mia_confidence"] <= 1
    gap = np.mean([
        abs(result[name] - result[f"retrained_{name}"])
        for name in ("retain_accuracy", "forget_accuracy", "test_accuracy", "mia_confidence")
    ])  # fmt: skip
    assert result["average_gap"] == pytest.approx(gap)


def test_the_method_retrain_reaches_tow_one(small: Callable[..., RunConfig], shared: Workspace) -> None:
    assert run(small(method="retrain"), shared.store, workspace=shared).result["tow"] == 1


def test_a_margin_is_the_true_score_less_the_best_other() -> None:
    logits = np.array([[3.0, 1.0, 2.0], [0.0, 5.0, 1.0]])
    assert margin(logits, np.array([0, 2])).tolist() == [1.0, -4.0]


def test_features_of_all_models_belong_to_the_same_images(evaluation: Evaluation) -> None:
    found = load("metrics", "features")(evaluation)
    assert found["is_forget"].sum() == 12
    for role in ("original", "retrained", "unlearned"):
        assert len(found[f"features_{role}"]) == len(found["labels"]) == 48


def test_numbers_of_shared_models_are_computed_once(evaluation: Evaluation) -> None:
    calls: list[str] = []
    for _ in range(2):
        for role in ("original", "retrained", "unlearned"):
            evaluation.once(role, "probe", lambda role=role: calls.append(role))
    assert calls == ["original", "retrained", "unlearned", "unlearned"]


def test_the_klom_margin_is_the_log_odds_of_the_true_class() -> None:
    logits = np.random.default_rng(0).standard_normal((6, 4))
    labels = np.arange(6) % 4
    p = probabilities(logits)[np.arange(6), labels]
    assert logit_margin(logits, labels) == pytest.approx(np.log(p / (1 - p)))


def test_klom_looks_at_the_same_images_in_every_run() -> None:
    assert np.array_equal(fixed_rows(500), fixed_rows(500))
    assert len(fixed_rows(500)) == 100
    assert fixed_rows(7).tolist() == list(range(7))
