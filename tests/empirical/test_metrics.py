"""Metrics against hand-computed cases and second derivations."""

from dataclasses import fields, replace
from typing import Any, cast

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment, linprog, minimize
from scipy.sparse import eye, kron, vstack
from sklearn.metrics import roc_auc_score
from torch import nn

from empirical.data.forget import Split
from empirical.data.images import ImageSet, load_dataset
from empirical.metrics.attacks import (
    attack_rows,
    auc,
    auc_interval,
    curve,
    entropy,
    forgotten_share,
    hits_at,
    losses,
    membership_scores,
    modified_entropy,
    released_modified_entropy,
    svc_attack,
    threshold_attack,
    threshold_numbers,
)
from empirical.metrics.closeness import (
    accuracies,
    distances,
    gaps,
    jensen_shannon,
    tug_of_war,
    weight_distances,
)
from empirical.metrics.coefficients import coefficient_observer
from empirical.metrics.entanglement import (
    class_pairs,
    entangle,
    entanglement,
    overlap,
    scaled_ratio,
    transport_cost,
    unit_rows,
    variance_ratio,
    weighted,
)
from empirical.metrics.evaluation import Evaluation, probabilities
from empirical.metrics.images import fixed_rows, logit_margin, margin
from empirical.metrics.landscape import directions, flatness, landscape
from empirical.metrics.outputs import ModelOutputs, Outputs
from empirical.models.network import Network, predict
from empirical.models.resnet import Classifier
from empirical.registry import METRICS, load
from empirical.runs.evaluations import values_of
from empirical.runs.resources import Resources
from empirical.settings.run_config import RunConfig, Runtime, config_for
from tests.empirical.conftest import Small, small_resnet
from tests.empirical.run_parts import evaluated

GENERATOR = np.random.default_rng(0)
P = np.array([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3]])
LABELS = np.array([0, 2])


@pytest.fixture
def small() -> Small:
    return small_resnet


@pytest.fixture
def evaluation(small: Small, shared: Resources) -> Evaluation:
    """A finished run; nothing a metric computes on it is remembered, so every call computes."""
    return replace(evaluated(small(landscape_points=3), shared), shared=None)


def with_logits(evaluation: Evaluation, **models: tuple[np.ndarray, np.ndarray]) -> Evaluation:
    """Return the evaluation with other logits of some models, on the training and the test images."""
    outputs = dict(evaluation.outputs)
    for role, (train, test) in models.items():
        old = outputs[role]
        outputs[role] = ModelOutputs(old.train._replace(logits=train), old.test._replace(logits=test))
    return replace(evaluation, outputs=outputs)


def truth(evaluation: Evaluation) -> tuple[np.ndarray, np.ndarray]:
    """Return the labels of training and test images."""
    return evaluation.images.train_labels.numpy(), evaluation.images.test_labels.numpy()


def certain(labels: np.ndarray, *, right: np.ndarray | bool = True) -> np.ndarray:
    """Return logits of two classes, sure of the label where `right` holds, of the other one elsewhere."""
    return 8.0 * np.eye(2)[np.where(right, labels, 1 - labels)]


def test_entropies_equal_their_sums_written_out() -> None:
    first = -(0.7 * np.log(0.7) + 0.2 * np.log(0.2) + 0.1 * np.log(0.1))
    assert entropy(P)[0] == pytest.approx(first)
    second = -(1 - 0.3) * np.log(0.3) - 0.1 * np.log(0.9) - 0.6 * np.log(0.4)
    assert modified_entropy(P, LABELS)[1] == pytest.approx(second)
    assert losses(np.log(P), LABELS) == pytest.approx([-np.log(0.7), -np.log(0.3)])
    scores = membership_scores(Outputs(np.log(P), P), LABELS)
    found = {name: values.tolist() for name, values in scores.items()}
    assert found["loss"] == pytest.approx([np.log(0.7), np.log(0.3)])
    assert found["confidence"] == pytest.approx([0.7, 0.3])
    assert (found["entropy"][0], found["m_entropy"][1]) == (pytest.approx(-first), pytest.approx(-second))


def test_released_modified_entropy_ignores_the_labels_once_all_are_present() -> None:
    """Of `LABELS` class 1 is missing: its column keeps p, and log p stands everywhere."""
    first = -(0.3 * np.log(0.7) + 0.2 * np.log(0.2) + 0.9 * np.log(0.1))
    assert released_modified_entropy(P, LABELS)[0] == pytest.approx(first)
    p = GENERATOR.dirichlet(np.ones(4), 40)
    labels = np.arange(40) % 4
    np.testing.assert_allclose(released_modified_entropy(p, labels), -((1 - p) * np.log(p)).sum(1))
    np.testing.assert_allclose(released_modified_entropy(p, (labels + 1) % 4), released_modified_entropy(p, labels))
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


def test_the_interval_of_an_auc_holds_95_percent() -> None:
    """Where members and others are alike, the AUC has the variance of Mann and Whitney, (n + m + 1) / (12 n m)."""
    members, others = np.random.default_rng(1).normal(size=(2, 100))
    low, high = auc_interval(members, others, np.random.default_rng(0))
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(201 / (12 * 100 * 100)), rel=0.15)


def test_a_perfect_and_a_blind_attack() -> None:
    members, others = np.arange(10.0) + 20, np.arange(10.0)
    assert threshold_numbers(members, others) == {
        "auc": 1.0, "balanced_accuracy": 1.0, "tpr_at_1_percent": 1.0, "tpr_at_01_percent": 1.0
    }  # fmt: skip
    blind = threshold_numbers(np.zeros(10), np.zeros(10))
    assert blind["auc"] == blind["balanced_accuracy"] == 0.5
    assert blind["tpr_at_1_percent"] == 0
    # Of a thousand others one stands above every member, and five above all but 300.
    rare = threshold_numbers(np.repeat([3.5, 2.5, 0.5], [300, 500, 200]), np.repeat([4.0, 3.0, 2.0], [1, 4, 995]))
    assert (rare["tpr_at_01_percent"], rare["tpr_at_1_percent"]) == (0.3, 0.8)


def test_variance_ratio_by_hand() -> None:
    retain, forget = np.array([[0.0, 0.0], [2.0, 0.0]]), np.array([[4.0, 1.0], [4.0, -1.0]])
    middle = np.array([2.5, 0.0])
    apart = 0.5 * (((np.array([1.0, 0.0]) - middle) ** 2).sum() + ((np.array([4.0, 0.0]) - middle) ** 2).sum())
    assert variance_ratio(retain, forget) == pytest.approx((1 + 1) / apart)
    assert np.isnan(variance_ratio(retain, retain))
    assert variance_ratio(retain, retain, coincident=0.0) == 0
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


def test_overlap_is_one_for_the_same_points_and_depends_on_the_scale() -> None:
    points, other = (unit_rows(GENERATOR.normal(size=(30, 5))) for _ in range(2))
    values = [overlap(points, other, generator=np.random.default_rng(0), scale=s) for s in ("diameter", "max")]
    assert overlap(points, points, generator=np.random.default_rng(0), scale="max") == pytest.approx(1)
    assert 0 <= values[1] < values[0] < 1


@pytest.mark.parametrize("switches", ["", "entanglement_scale=released"])
def test_scores_by_class_are_those_of_the_classes_one_by_one(switches: str, evaluation: Evaluation) -> None:
    """Class 1 has one forget image, which counts in the released E_Var alone and in E_Wp never."""
    split, labels = evaluation.split, evaluation.images.train_labels.numpy()
    forget = np.concatenate([split.forget[labels[split.forget] == 0], split.forget[labels[split.forget] == 1][:1]])
    config = replace(evaluation.config, switches=switches)
    found = entangle(replace(evaluation, config=config, split=replace(split, forget=forget)), "original")
    features = evaluation.outputs["original"].train.features.astype(float)
    sides = [unit_rows(features[rows[labels[rows] == 0]]) for rows in (split.retain, forget)]
    cost = np.linalg.norm(sides[0][:, None] - sides[1], axis=2)
    assert found["wp_class"] == pytest.approx(1 - transport_by_program(cost / (cost.max() if switches else 2)))
    pairs = [[unit_rows(features[rows[labels[rows] == c]]) for rows in (split.retain, forget)] for c in (0, 1)]
    counted = [(variance_ratio(*pair), sum(map(len, pair))) for pair in pairs[: 2 if switches else 1]]
    expected = sum(value * count for value, count in counted) / sum(count for _, count in counted)
    assert found["var_class_raw"] == pytest.approx(expected)
    assert found["var_class_scaled"] == pytest.approx(min(1, found["var_class_raw"] / 1300))
    assert found["var_scaled"] == pytest.approx(min(1, found["var_raw"] / 1300)) != found["var_class_scaled"]


def test_classes_need_two_images_in_both_sets_and_count_by_the_images_of_both() -> None:
    labels = (np.array([0, 0, 1, 1, 2]), np.array([0, 0, 1, 2, 2]))
    assert [len(r) for r, _ in class_pairs((np.zeros((5, 2)), np.zeros((5, 2))), labels)] == [2]
    pairs = [(np.zeros((6, 2)), np.zeros((2, 2))), (np.ones((3, 2)), np.ones((9, 2)))]
    assert weighted(lambda retain, forget: float(retain[0, 0]), pairs) == pytest.approx(12 / 20)
    assert np.isnan(weighted(lambda retain, forget: 1.0, []))


def test_jensen_shannon_is_one_bit_between_certain_opposites() -> None:
    opposite = jensen_shannon(np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]]))
    assert opposite[0] == pytest.approx(1)
    assert jensen_shannon(P, P).tolist() == pytest.approx([0, 0])


def test_flatness_of_a_known_grid() -> None:
    grid = np.zeros((3, 3))
    grid[0] = 3.0
    numbers = flatness(grid)
    assert numbers["variability"] == pytest.approx(np.sqrt(2))
    assert numbers["basin_ratio"] == pytest.approx(6 / 9)
    assert numbers["slope"] == pytest.approx((3 + 1.5 + 0) / 3)
    assert numbers["rise"] == pytest.approx(1)
    # Centre 2; the others lie 0, 5, 9, 19, 30, 49, 60 and 100 percent of it away, above and below.
    near = flatness(2 * np.array([[1.0, 0.95, 1.09], [0.81, 1.0, 1.3], [0.51, 1.6, 2.0]]))
    assert [near[f"stability_{t}"] for t in (10, 25, 50, 75)] == pytest.approx([4 / 9, 5 / 9, 7 / 9, 8 / 9])


def test_filters_of_a_direction_are_as_long_as_the_networks(evaluation: Evaluation) -> None:
    network = evaluation.networks["original"]()
    first, _ = directions(network, torch.Generator().manual_seed(0))
    for weight, step in zip(network.parameters(), first, strict=True):
        if weight.dim() > 1:
            torch.testing.assert_close(step.flatten(1).norm(dim=1), weight.detach().flatten(1).norm(dim=1))
        else:
            assert not step.any()


def test_a_landscape_has_the_loss_of_each_model_on_each_set_at_its_centre(evaluation: Evaluation) -> None:
    found = landscape(evaluation, landscape_points=3)
    for role in ("original", "retrained", "unlearned"):
        for name in ("forget", "test"):
            outputs, labels = evaluation.on(role, name)
            expected = losses(outputs.logits, labels).mean()
            assert found[f"landscape_{role}_{name}"][1, 1] == pytest.approx(expected, rel=1e-5)


def test_the_directions_of_all_landscapes_are_as_long_as_the_filters_of_the_original(evaluation: Evaluation) -> None:
    """Beside other models the original's landscape stays; in the directions of another original a model's changes."""

    def seen(**models: str) -> dict[str, Any]:
        networks = {**evaluation.networks, **{role: evaluation.networks[name] for role, name in models.items()}}
        return landscape(replace(evaluation, networks=networks), landscape_points=3)

    found = seen()
    beside, stretched = seen(unlearned="initial", retrained="initial"), seen(original="initial")
    for name in ("forget", "test"):
        assert np.array_equal(beside[f"landscape_original_{name}"], found[f"landscape_original_{name}"])
        for role in ("retrained", "unlearned"):
            assert not np.allclose(stretched[f"landscape_{role}_{name}"], found[f"landscape_{role}_{name}"])


def test_another_evaluation_seed_looks_at_other_images_of_a_landscape(evaluation: Evaluation) -> None:
    few = replace(evaluation, outputs={"original": evaluation.outputs["original"]})
    one, again, other = (
        landscape(replace(few, seed=seed), landscape_points=3, landscape_images=4) for seed in (1, 1, 2)
    )
    for name in ("landscape_original_forget", "landscape_original_test"):
        assert np.array_equal(one[name], again[name])
        assert not np.allclose(one[name], other[name])


def test_the_distance_of_weights_is_measured_in_lengths_of_the_retrained_ones() -> None:
    ours, theirs = (Network(nn.Linear(2, 1), (0.0,), (1.0,)) for _ in range(2))
    for network, weight, bias in ((ours, [3.0, 4.0], 2.0), (theirs, [6.0, 8.0], 0.0)):
        network.model.load_state_dict({"weight": torch.tensor([weight]), "bias": torch.tensor([bias])})
    assert weight_distances(ours, theirs) == {"weight": 5 / 10, "bias": 2}  # no length at all counts as 1


def test_accuracies_are_those_of_the_models_on_their_own_images(evaluation: Evaluation) -> None:
    """Against a plain forward pass in evaluation mode, model by model and set by set."""
    found = accuracies(evaluation)
    images, split = evaluation.images, evaluation.split
    sets = {
        "retain": (images.train_images[split.retain], images.train_labels[split.retain]),
        "forget": (images.train_images[split.forget], images.train_labels[split.forget]),
        "test": (images.test_images, images.test_labels),
    }
    for role, prefix in (("unlearned", ""), ("original", "original_"), ("retrained", "retrained_")):
        network = evaluation.networks[role]().copy()
        network.model.eval()
        for name, (rows, labels) in sets.items():
            with torch.no_grad():
                answers = network.model(network.normalize(rows)).argmax(1)
            assert found[f"{prefix}{name}_accuracy"] == pytest.approx(float((answers == labels).double().mean()))
    assert len(set(found.values())) > 3


def test_tow_and_the_gaps_of_a_model_that_does_as_the_retrained_one_are_perfect(evaluation: Evaluation) -> None:
    """The retrained model knows R and T and fails on F; the original knows all, so doing nothing scores 0."""
    train, test = truth(evaluation)
    forgotten = np.isin(np.arange(len(train)), evaluation.split.forget)
    ideal, known = (certain(train, right=~forgotten), certain(test)), (certain(train), certain(test))
    evaluation = with_logits(evaluation, unlearned=ideal, retrained=ideal, original=known)
    for name in ("accuracy", "mia", "tow", "gap"):
        evaluation.result.update(load("metrics", name)(evaluation))
    result = evaluation.result
    assert [result[f"{s}_accuracy"] for s in ("retain", "forget", "test")] == [1, 0, 1]
    assert (result["tow"], result["original_tow"], result["tow_signed"]) == (1, 0, 1)
    assert (result["average_gap"], result["tow_mia"]) == (0, 1)
    assert result["original_average_gap"] >= 0.25


def test_tow_and_the_average_gap_of_a_model_and_of_doing_nothing(evaluation: Evaluation) -> None:
    names = ("retain_accuracy", "forget_accuracy", "test_accuracy", "mia_confidence")
    own, original, retrained = ([0.9, 0.4, 0.8, 0.3], [1.0, 0.7, 0.9, 0.1], [0.95, 0.2, 0.7, 0.6])
    numbers = {f"{prefix}{n}": v for prefix, values in (("", own), ("original_", original), ("retrained_", retrained))
               for n, v in zip(names, values, strict=True)}  # fmt: skip
    found = tug_of_war(replace(evaluation, result=numbers)) | gaps(replace(evaluation, result=numbers))
    assert found["original_tow"] == pytest.approx(0.95 * 0.5 * 0.8)
    assert found["original_tow_signed"] == pytest.approx(1.05 * 0.5 * 1.2)
    assert found["tow_signed"] == pytest.approx(0.95 * 0.8 * 1.1)
    assert found["average_gap"] == pytest.approx((0.05 + 0.2 + 0.1 + 0.3) / 4)
    assert found["tow_mia"] == pytest.approx(0.95 * 0.9 * 0.7)
    assert found["original_tow_mia"] == pytest.approx(0.95 * 0.8 * 0.5)


def test_zrf_is_one_for_a_model_that_answers_like_an_untrained_one(evaluation: Evaluation) -> None:
    train, test = truth(evaluation)
    untrained, _ = predict(evaluation.networks["random"](), evaluation.images.train_images)
    like = (untrained.double().numpy(), certain(test))
    found = distances(with_logits(evaluation, unlearned=like, original=(certain(train), certain(test))))
    assert found["zrf"] == pytest.approx(1)
    assert found["original_zrf"] < 0.8


def test_distances_grow_with_the_difference_of_answers_and_vanish_for_equal_ones(evaluation: Evaluation) -> None:
    train, test = truth(evaluation)
    ours, theirs = ((certain(train), certain(test, right=right)) for right in (False, True))
    found = distances(with_logits(evaluation, unlearned=ours, retrained=theirs))
    assert found["jsd_retain"] == found["activation_distance_retain"] == found["jsd_forget"] == 0
    assert found["jsd_test"] > 0.9
    assert found["activation_distance_test"] == pytest.approx(np.sqrt(2), rel=1e-2)
    assert len(found["weight_distance"]) == len(found["weight_layers"])
    assert max(found["weight_distance"]) > 0


def forgetful(evaluation: Evaluation, *, forget_like_test: bool) -> Evaluation:
    """Return an unlearned model that is sure of R, unsure of T, and treats F as one or the other."""
    train, test = truth(evaluation)
    logits = certain(train) + np.random.default_rng(0).normal(0, 0.1, (len(train), 2))
    if forget_like_test:
        logits[evaluation.split.forget] /= 20
    return with_logits(evaluation, unlearned=(logits, certain(test) / 20))


def test_the_svc_attack_is_a_machine_of_cost_3_whose_kernel_is_as_wide_as_the_scores_are_many() -> None:
    """Its share is that of the dual problem solved anew: sum a - a K a / 2 with 0 <= a <= 3 and sum a y = 0."""
    generator = np.random.default_rng(22)
    members, others, target = (generator.normal(place, 1, (size, 2)) for place, size in ((0.8, 9), (0, 9), (0.3, 40)))
    points, y = np.concatenate([members, others]), np.repeat([1.0, -1.0], 9)

    def kernel(left: np.ndarray, right: np.ndarray) -> np.ndarray:
        return np.exp(-((left[:, None] - right) ** 2).sum(2) / 2)

    gram = y[:, None] * y * kernel(points, points)
    balance = {"type": "eq", "fun": lambda a: a @ y, "jac": lambda a: y}
    found = minimize(
        lambda a: a @ gram @ a / 2 - a.sum(), np.ones(18), jac=lambda a: gram @ a - 1, bounds=[(0, 3)] * 18,
        constraints=balance, method="SLSQP", options={"ftol": 1e-12, "maxiter": 500},
    )  # fmt: skip
    free = int(np.argmax(np.minimum(found.x, 3 - found.x)))
    bias = y[free] - kernel(points[free : free + 1], points) @ (found.x * y)
    score = kernel(target, points) @ (found.x * y) + bias
    assert np.abs(score).min() > 1e-2
    assert forgotten_share(members, others, target) == pytest.approx(np.mean(score < 0))


@pytest.mark.parametrize("score", ["confidence", "entropy", "prob", "m_entropy_per_row"])
def test_the_svc_attack_calls_forgotten_images_non_members(score: str, evaluation: Evaluation) -> None:
    shares = [svc_attack(forgetful(evaluation, forget_like_test=f))[f"mia_{score}"] for f in (True, False)]
    assert shares == [1, 0]


def test_the_svc_attack_learns_from_other_images_under_another_seed(evaluation: Evaluation) -> None:
    train, test = (GENERATOR.normal(size=(len(labels), 2)) for labels in truth(evaluation))
    evaluation = with_logits(evaluation, unlearned=(train, test))
    first, other, again = (svc_attack(replace(evaluation, seed=seed), attack_size=8) for seed in (1, 2, 1))
    assert first == again != other


@pytest.mark.parametrize(("size", "rows"), [(0, 1010), (1000, 1000), (1020, 1010)])
def test_the_svc_attack_learns_from_as_many_images_as_the_test_set_has_where_its_size_is_0(
    size: int, rows: int, evaluation: Evaluation
) -> None:
    train, test = torch.arange(1030) % 2, torch.arange(1010) % 2
    images = replace(evaluation.images, train_labels=train, test_labels=test)
    split = replace(evaluation.split, retain=np.arange(1020), forget=np.arange(1020, 1030))
    large = replace(evaluation, images=images, split=split)
    outputs = ModelOutputs(*(Outputs(certain(one.numpy()), np.zeros((len(one), 1))) for one in (train, test)))
    large = replace(large, outputs={"original": outputs})
    assert [len(side) for side in attack_rows(large, size, np.random.default_rng(0))] == [rows, rows]
    few = replace(large, split=replace(split, retain=np.arange(30)))
    assert [len(side) for side in attack_rows(few, size, np.random.default_rng(0))] == [30, 30], "as many of each"


def test_thresholds_tell_members_by_confidence_low_loss_and_low_entropy(evaluation: Evaluation) -> None:
    remembered, forgotten = (threshold_attack(forgetful(evaluation, forget_like_test=f)) for f in (False, True))
    for score in ("loss", "confidence", "entropy", "m_entropy"):
        assert remembered[f"attack_{score}_auc"] == remembered[f"attack_{score}_balanced_accuracy"] == 1
        assert forgotten[f"attack_{score}_auc"] < 0.8
    assert remembered["attack_roc_tpr_unlearned"].tolist() == [1] * len(remembered["attack_roc_fpr"])
    assert remembered["attack_loss_auc_interval"] == [1, 1]


def test_entanglement_is_high_where_features_mix_and_low_where_they_part(evaluation: Evaluation) -> None:
    points = np.random.default_rng(0).normal(size=(len(evaluation.images.train_labels), 6)).astype(np.float32)
    apart = points.copy()
    apart[evaluation.split.forget, 0] += 20
    found = []
    for features in (points, apart):
        old = evaluation.outputs["unlearned"]
        outputs = old._replace(train=old.train._replace(features=features))
        found.append(entanglement(replace(evaluation, outputs={**evaluation.outputs, "unlearned": outputs})))
    mixed, parted = found
    for name in ("var_raw", "var_scaled", "var_class_raw", "wp", "wp_class"):
        assert mixed[f"entanglement_{name}"] > parted[f"entanglement_{name}"]
    assert parted["entanglement_wp"] < 0.5 < mixed["entanglement_wp"]


def test_entanglement_of_many_images_is_that_of_others_under_another_seed() -> None:
    """Of 1,200 retained images a thousand are drawn."""
    count, forget = 1204, np.arange(4)
    labels = torch.zeros(count, dtype=torch.long)
    images = ImageSet("points", labels, labels, labels, labels, 1, (0.0,), (1.0,))
    side = Outputs(np.zeros((count, 1)), np.random.default_rng(0).normal(size=(count, 3)).astype(np.float32))
    split = Split(np.arange(count), np.setdiff1d(np.arange(count), forget), forget, np.arange(0))
    one = Evaluation(RunConfig(), images, split, {"unlearned": ModelOutputs(side, side)}, {}, labels)
    first, other, again = (entangle(replace(one, seed=seed), "unlearned")["wp"] for seed in (1, 2, 1))
    assert first == again
    assert first != pytest.approx(other, rel=1e-6)


def test_margins_of_an_evaluation_are_those_of_its_forget_images(evaluation: Evaluation) -> None:
    train, test = truth(evaluation)
    sure = np.isin(np.arange(len(train)), evaluation.split.forget)
    ours, theirs = np.where(sure[:, None], certain(train), 0), certain(train) * 0
    evaluation = with_logits(evaluation, unlearned=(ours, certain(test)), retrained=(theirs, certain(test)))
    found = load("metrics", "margins")(evaluation)
    assert found["margin_unlearned"].tolist() == [8] * len(evaluation.split.forget)
    assert found["margin_distance"] == 8
    odds = load("metrics", "klom_margins")(evaluation)
    assert odds["klom_unlearned_forget"].tolist() == [8] * odds["klom_images"]
    assert not odds["klom_unlearned_retain"].any()
    assert odds["klom_unlearned_test"].tolist() == [8] * len(test)


def test_models_with_the_same_margins_on_other_images_are_at_no_distance(evaluation: Evaluation) -> None:
    train, test = truth(evaluation)
    forget = evaluation.split.forget
    sure = np.zeros((len(train), 1))
    for role, order in (("unlearned", 1), ("retrained", -1)):
        sure[forget, 0] = np.arange(len(forget))[::order]
        evaluation = with_logits(evaluation, **{role: (sure * certain(train), certain(test))})
    found = load("metrics", "margins")(evaluation)
    assert found["margin_unlearned"].tolist() == found["margin_retrained"].tolist()[::-1]
    assert found["margin_unlearned"].tolist() == [8 * k for k in range(len(forget))]
    assert found["margin_distance"] == 0


def test_the_hessians_top_eigenvalue_is_that_of_the_whole_matrix_in_evaluation_mode(evaluation: Evaluation) -> None:
    """A linear model after BatchNorm: the full Hessian is small enough to write down."""
    torch.manual_seed(0)
    norm = nn.BatchNorm1d(128, affine=False)
    norm.running_var = torch.full((128,), 4.0)
    model = Classifier(nn.Sequential(nn.Flatten(), norm, nn.Linear(128, 2, bias=False)), 2, 2)
    network = Network(model, evaluation.images.mean, evaluation.images.std)
    network.model.train()
    same = {role: lambda: network for role in ("original", "retrained", "unlearned")}
    found = load("metrics", "hessian")(replace(evaluation, networks=same))["hessian_top"]
    rows = evaluation.split.retain
    inputs = network.normalize(evaluation.images.train_images[rows]).flatten(1) / 2
    labels = evaluation.images.train_labels[rows]

    def loss(flat: torch.Tensor) -> torch.Tensor:
        body, weight, bias = flat.split([256, 4, 2])
        return F.cross_entropy(inputs @ body.view(2, 128).T @ weight.view(2, 2).T + bias, labels)

    flat = torch.cat([weight.detach().flatten() for weight in model.parameters()])
    matrix: Any = torch.autograd.functional.hessian(loss, flat)
    values = torch.linalg.eigvalsh(matrix)
    assert found == pytest.approx(float(values[values.abs().argmax()]), rel=0.02)


def test_seeds_start_elsewhere_and_find_the_same_top_eigenvalue(evaluation: Evaluation) -> None:
    """Images far from zero on one side: the largest curvature stands out, and few steps find it."""
    torch.manual_seed(0)
    network = Network(Classifier(nn.Flatten(), 128, 2).double(), (0.0,), (1.0,))
    bright = replace(evaluation.images, train_images=evaluation.images.train_images + 1)
    outputs = {"unlearned": evaluation.outputs["unlearned"]}
    one = replace(evaluation, images=bright, outputs=outputs, networks={"unlearned": lambda: network})
    first, other, again = (load("metrics", "hessian")(replace(one, seed=seed))["hessian_top"] for seed in (1, 2, 1))
    assert first == again != other
    assert first == pytest.approx(other, rel=1e-3)


# What the stages are made of, and therefore part of every number's identity already.
OF_THE_STAGES = {
    "dataset", "dataset_options", "n_train", "n_test", "model", "seed", "augment", "corruption", "precision",
    "momentum", "weight_decay", "fidelity", "randaugment", "double_normalize", "glass_blur", "pretraining",
    *(field.name for field in fields(RunConfig) if field.name.startswith("pretrain")),
}  # fmt: skip


class Recorder:
    """Gives out another object's attributes and writes their names down; a config's switches are recorded too."""

    def __init__(self, target: Any, read: set[str]) -> None:
        self._target, self._read = target, read

    def __getattr__(self, name: str) -> Any:
        self._read.add(name)
        value = getattr(self._target, name)
        return Recorder(value, self._read) if name == "fidelity" else value


class Numbers(dict):
    """The numbers of earlier metrics; writes down which metric's were read."""

    def __init__(self, values: dict[str, Any], makers: dict[str, str], read: set[str]) -> None:
        super().__init__(values)
        self.makers, self.read = makers, read

    def __getitem__(self, key: str) -> Any:
        self.read.add(self.makers[key])
        return super().__getitem__(key)


@pytest.fixture
def everything(shared: Resources) -> Evaluation:
    """A run that walks into every branch of every metric: noisy images, held-out rows, published references."""
    own: dict[str, Any] = {"landscape_points": 3}
    config = RunConfig(
        n_train=120, n_test=60, pretrain_epochs=1, epochs=1, corruption="gaussian_noise-3", **own,
        switches="forget_split=reseeded, validation_images=train, tow_reference=published", forget_fraction=0.2,
    )  # fmt: skip
    return replace(evaluated(config, shared), shared=None)


def test_a_metric_declares_all_it_reads_and_nothing_else(everything: Evaluation) -> None:
    values: dict[str, Any] = {}
    makers: dict[str, str] = {}
    for name, declared in ((name, one) for name, one in METRICS.items() if not one.pooled):
        read: set[str] = set()
        needed: set[str] = set()
        config: Any = Recorder(everything.config, read)
        numbers = Numbers(values, makers, needed)
        found = values_of(name, replace(everything, config=config, result=numbers))
        others = declared.settings if declared.shadow_models else ()  # read where the subset models are made
        assert read - OF_THE_STAGES == {*declared.reads, *declared.switches} - set(others), name
        assert needed == set(declared.needs), name
        assert set(declared.reads) <= {field.name for field in fields(RunConfig)}
        values |= found
        makers |= dict.fromkeys(found, name)


def test_an_attack_declares_all_that_decides_on_its_shadows(small: Small) -> None:
    read: set[str] = set()
    config_for(cast(RunConfig, Recorder(small(subset_model="resnet8"), read)))
    config_for(cast(RunConfig, Recorder(small(), read)))
    config_for(cast(RunConfig, Recorder(small(portable=True), read)))
    assert read - {"dataset", "dataset_options", "n_train", "data"} == set(METRICS["lira"].settings)


def test_features_of_many_images_stand_beside_the_labels_of_these(
    evaluation: Evaluation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every feature is made the number of its row; of ten retained and of ten forgotten images they are kept."""
    monkeypatch.setattr("empirical.metrics.images.MOST_FEATURES", 10)
    old, numbered = evaluation.outputs["original"], np.arange(48.0)[:, None]
    outputs = {"original": old._replace(train=old.train._replace(features=numbered))}
    found = load("metrics", "features")(replace(evaluation, outputs=outputs))
    rows = found["features_original"][:, 0].astype(int)
    assert found["labels"].tolist() == evaluation.images.train_labels.numpy()[rows].tolist()
    assert len(set(rows.tolist())) == 20
    assert found["is_forget"].tolist() == np.isin(rows, evaluation.split.forget).tolist() == [False] * 10 + [True] * 10


def test_numbers_of_shared_models_are_computed_once(evaluation: Evaluation, shared: Resources) -> None:
    calls: list[str] = []
    evaluation = replace(evaluation, shared=shared.remember)
    for _ in range(2):
        for role in ("original", "retrained", "unlearned"):
            evaluation.once(role, "probe", lambda role=role: calls.append(role))
    assert calls == ["original", "retrained", "unlearned", "unlearned"]


@pytest.mark.parametrize("change", [{"unlearn_seed": 1}, {"rows_measured": "report"}, {"attack_size": 6}], ids=str)
def test_what_runs_share_of_a_model_are_numbers_of_one_seed_and_the_same_images(
    change: dict[str, Any], small: Small, resources: Resources
) -> None:
    """The original is the same in both; which images an attack draws, and which it judges, are not."""
    base = {"rows_measured": "validation", "attack_size": 10}
    configs = [small(**base), small(**{**base, **change})]
    first, second = (evaluated(one, resources) for one in configs)
    found = [values_of("mia", one) for one in (first, second, replace(second, shared=None))]
    assert found[1] == found[2]
    own = [{name: share for name, share in one.items() if name.startswith("original_")} for one in found]
    assert own[0] != own[1]


@pytest.mark.parametrize(
    "change", [{"landscape_radius": 0.5}, {"landscape_images": 4}, {"forget_fraction": 0.125}], ids=str
)
def test_what_runs_share_of_a_landscape_is_on_one_plane_and_of_one_forget_set(
    change: dict[str, Any], small: Small, shared: Resources
) -> None:
    configs = [small(**{"landscape_points": 3, "retrain": "none", **one}) for one in ({}, change)]
    _, second = [values_of("landscape", evaluated(one, shared)) for one in configs]
    anew = values_of("landscape", replace(evaluated(configs[1], shared), shared=None))
    assert np.array_equal(second["landscape_original_forget"], anew["landscape_original_forget"])


def test_a_margin_is_the_true_score_less_the_best_other_and_that_of_klom_the_log_odds() -> None:
    assert margin(np.array([[3.0, 1.0, 2.0], [0.0, 5.0, 1.0]]), np.array([0, 2])).tolist() == [1.0, -4.0]
    logits = np.random.default_rng(0).standard_normal((6, 4))
    labels = np.arange(6) % 4
    p = probabilities(logits)[np.arange(6), labels]
    assert logit_margin(logits, labels) == pytest.approx(np.log(p / (1 - p)))


def test_klom_looks_at_the_same_images_in_every_run() -> None:
    assert np.array_equal(fixed_rows(500), fixed_rows(500))
    assert len(fixed_rows(500)) == 100
    assert fixed_rows(7).tolist() == list(range(7))


def patch_network(images: ImageSet) -> Network:
    return Network(load("models", "patch-cnn")(images.image_shape, 2).double(), (0.0,), (1.0,))


def test_coefficients_are_read_from_weights_that_have_them(small: Small) -> None:
    """Weights are made of known coefficients of the signal and of two noise vectors a sample."""
    config = small(dataset_options="side=8, patches=3, n=12, n_test=4")
    images = load_dataset(config, Runtime())
    initial, network = patch_network(images), patch_network(images)
    model: Any = network.model
    patches = model.patches(images.train_images.double())
    y = 2.0 * images.train_labels - 1
    phi, noise = y[0] * patches[0, 0], patches[:, 1:]
    p, q = GENERATOR.standard_normal(20), GENERATOR.standard_normal((20, 12, 2))
    moved = torch.outer(torch.from_numpy(p), phi) + torch.einsum("aik,ikd->ad", torch.from_numpy(q), noise)
    with torch.no_grad():
        model.weight.copy_(dict(initial.model.named_parameters())["weight"] + moved)
    split = Split(np.arange(12), np.arange(8), np.arange(8, 12), np.arange(0))
    found = coefficient_observer(initial, images, split)(network)
    signs, size = np.repeat([-1.0, 1.0], 10), noise.pow(2).sum(2).numpy()
    kappa, zeta = signs * float(phi @ phi) * p, 2 * size * q
    match = np.equal.outer(signs, y.numpy())
    active = (torch.einsum("ad,ikd->aik", model.weight.detach(), noise) > 0).numpy()
    for side, rows in (("retain", slice(0, 8)), ("forget", slice(8, 12))):
        assert found[f"zeta_{side}"] == pytest.approx(zeta[:, rows][match[:, rows]].mean())
        assert found[f"zeta_{side}_oppose"] == pytest.approx(zeta[:, rows][~match[:, rows]].mean())
        assert found[f"active_{side}_match"] == pytest.approx(active[:, rows][match[:, rows]].mean())
    assert found["kappa"] == pytest.approx(kappa.mean())
    assert found["kappa_minus"] == pytest.approx(kappa[:10].mean())
    assert found["kappa_plus"] == pytest.approx(kappa[10:].mean())
    reach = {"initial": lambda: initial, "original": lambda: initial, "unlearned": lambda: network}
    roles: Any = dict.fromkeys(("original", "unlearned"))
    both = load("metrics", "coefficients")(Evaluation(config, images, split, roles, reach, images.train_images))
    assert both["kappa"] == found["kappa"]
    assert both["original_kappa"] == 0
    assert coefficient_observer(initial, images, split, digits=2)(network)["kappa"] == float(f"{kappa.mean():.2g}")


def test_of_another_network_there_are_no_coefficients(evaluation: Evaluation) -> None:
    assert load("metrics", "coefficients")(evaluation) == {}
