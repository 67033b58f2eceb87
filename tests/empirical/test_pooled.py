"""KLoM and U-LiRA: what many unlearned models are told from many retrained ones by."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import entropy, norm
from sklearn.metrics import roc_auc_score

from empirical.metrics.pooled import (
    FLOOR,
    SeedArrays,
    attack_rates,
    divergence,
    easydub_divergence,
    klom,
    klom_easydub,
    likelihood_ratios,
    ulira,
)
from empirical.settings.run_config import RunConfig
from empirical.studies.grid import run_grid
from empirical.studies.measure import measure_runs, pool_runs
from empirical.studies.recipe import Recipe
from repro.records.store import Store
from repro.statistics.spread import draw_models_and_images
from tests.empirical.conftest import Small
from tests.empirical.run_parts import CPU, recipe_of

ROLES, SETS = ("unlearned", "original", "retrained"), ("forget", "retain", "test")
APART = np.log(1 / FLOOR)


def pool(shift: float, models: int = 40, images: int = 50, seed: int = 0) -> SeedArrays:
    """Margins N(0, 1) of every model; those of unlearned models on F are `shift` lower, of originals higher."""
    generator = np.random.default_rng(seed)
    moved = {("unlearned", "forget"): -shift, ("original", "forget"): shift}
    runs = []
    for _ in range(models):
        runs.append({f"klom_{r}_{s}": generator.normal(moved.get((r, s), 0.0), 1, images) for r in ROLES for s in SETS})
    return SeedArrays(runs)


def test_divergence_is_zero_for_equal_margins_and_largest_for_disjoint_ones() -> None:
    margins = np.random.default_rng(0).normal(size=(30, 4))
    assert divergence(margins, margins).tolist() == [0.0] * 4
    constant = np.zeros((10, 2))
    assert divergence(constant, constant + 1).tolist() == pytest.approx([APART] * 2)
    assert divergence(constant, constant).tolist() == [0.0] * 2


def test_klom_finds_the_shifted_set_and_stands_beside_its_floor() -> None:
    found = klom(pool(2.0))
    floor = found["klom_retrained_forget_mean"]
    assert found["klom_unlearned_forget_mean_low"] > found["klom_retrained_forget_mean_high"]
    assert found["klom_unlearned_test_mean"] == pytest.approx(floor, rel=0.3)
    assert found["klom_unlearned_forget_p95"] > found["klom_unlearned_forget_mean"]
    low, high = found["klom_unlearned_forget_mean_low"], found["klom_unlearned_forget_mean_high"]
    resampled = found["klom_unlearned_forget_mean_resampled"]
    ends = np.quantile(resampled, (0.025, 0.975)) - resampled.mean()
    assert (low, high) == pytest.approx(tuple(found["klom_unlearned_forget_mean"] + ends))


def spread_pool(models: int = 21, images: int = 12) -> SeedArrays:
    """Margins of another mean and width in each role and set, so that no two of them can be exchanged unnoticed."""
    generator = np.random.default_rng(5)
    widths = {(role, name): (place, 1 + at) for place, role in enumerate(ROLES) for at, name in enumerate(SETS)}
    return SeedArrays([
        {f"klom_{role}_{name}": generator.normal(mean, width + mean, images) for (role, name), (mean, width) in
         widths.items()} for _ in range(models)
    ])  # fmt: skip


def margins(runs: SeedArrays, role: str, name: str) -> np.ndarray:
    return np.stack([one[f"klom_{role}_{name}"] for one in runs.arrays])


def klom_by_hand(reference: np.ndarray, model: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """`KL(reference || model)` of each image by numpy's histograms; `counts` is how often each model of a half counts.

    The mean of even reference models against odd others and of odd against even.
    """
    found = []
    for one, other in ((reference[0:20:2], model[1:20:2]), (reference[1:20:2], model[0:20:2])):
        for image in range(reference.shape[1]):
            left, right = one[:, image], other[:, image]
            edges = np.linspace(min(left.min(), right.min()), max(left.max(), right.max()), 21)
            p, q = (np.histogram(side, edges, weights=counts)[0] / counts.sum() for side in (left, right))
            found.append(sum(a * np.log(a / max(b, 1e-5)) for a, b in zip(p, q, strict=True) if a > 0))
    return np.reshape(found, (2, -1)).mean(0)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("name", SETS)
def test_klom_is_the_divergence_of_a_roles_margins_from_those_of_retrained_models(role: str, name: str) -> None:
    """Which of the two is the reference, of which role and set, and in which resample: by numpy's histograms."""
    runs = spread_pool()
    found = klom(runs)
    reference, model = margins(runs, "retrained", name), margins(runs, role, name)
    once = np.ones(10)
    models, images = draw_models_and_images(10, 12, np.random.default_rng(0))
    for key, statistic in (("mean", np.mean), ("p95", lambda values: np.percentile(values, 95))):
        head = f"klom_{role}_{name}_{key}"
        assert found[head] == pytest.approx(statistic(klom_by_hand(reference, model, once)))
        assert found[f"{head}_reverse"] == pytest.approx(statistic(klom_by_hand(model, reference, once)))
        by_hand = [
            statistic(klom_by_hand(reference, model, np.bincount(one, minlength=10))[rows])
            for one, rows in zip(models[:3], images[:3], strict=True)
        ]
        if key == "mean":
            assert found[f"{head}_resampled"][:3] == pytest.approx(by_hand)
    assert found["klom_models"] == 10, "on either side: no model meets one of its own seed"


@pytest.mark.slow
def test_ulira_tells_nothing_apart_where_nothing_differs() -> None:
    """And the AUC of each bootstrap sample is the share of drawn pairs of margins that stand the right way round."""
    runs = pool(0.0, models=60, images=100)
    found = ulira(runs)
    assert found["ulira_unlearned_auc_low"] < 0.5 < found["ulira_unlearned_auc_high"]
    scores, others = likelihood_ratios(runs.margins("unlearned", "forget"), runs.margins("retrained", "forget"))
    models, images = draw_models_and_images(60, 100, np.random.default_rng(0))
    for place in (0, 399):
        ours, theirs = (side[models[place]][:, images[place]].ravel() for side in (scores, others))
        expected = (ours[:, None] > theirs).mean() + (ours[:, None] == theirs).mean() / 2
        assert found["ulira_unlearned_auc_resampled"][place] == pytest.approx(expected)
    assert found["ulira_unlearned_tpr_at_1_percent"] == pytest.approx(0.01, abs=0.006)
    assert found["ulira_unlearned_tpr_at_01_percent"] < 0.006


def test_a_few_images_that_carry_an_attack_widen_its_interval() -> None:
    """Three of 36 images hold most true positives: how much of the attack is left in a sample without them?"""
    runs = pool(0.0, models=40, images=36)
    for one in runs.arrays:
        one["klom_unlearned_forget"][:3] -= 3.0  # type: ignore[index]
    found = ulira(runs)
    models, _ = draw_models_and_images(40, 36, np.random.default_rng(1))
    sides = likelihood_ratios(runs.margins("unlearned", "forget"), runs.margins("retrained", "forget"))
    alone = [roc_auc_score(np.repeat((1, 0), 40 * 36), np.r_[sides[0][one].ravel(), sides[1][one].ravel()])
             for one in models[:100]]  # fmt: skip
    width = found["ulira_unlearned_auc_high"] - found["ulira_unlearned_auc_low"]
    assert width > 2 * np.subtract(*np.quantile(alone, (0.975, 0.025)))


def test_ulira_reaches_the_power_of_the_best_test_between_two_gaussians() -> None:
    """For N(2, 1) against N(0, 1) the best test at false-positive rate a has power 1 - Phi(z_a - 2)."""
    runs = pool(2.0, models=100, images=200)
    for role in ("unlearned", "original"):
        rates = attack_rates(*likelihood_ratios(runs.margins(role, "forget"), runs.margins("retrained", "forget")))
        assert rates["auc"] == pytest.approx(norm.cdf(2 / np.sqrt(2)), abs=0.02)
        assert rates["tpr_at_1_percent"] == pytest.approx(norm.sf(norm.isf(0.01) - 2), abs=0.05)


@pytest.mark.parametrize("role", ["unlearned", "original"])
def test_ulira_counts_a_roles_models_among_the_false_alarms_of_retrained_ones(role: str) -> None:
    """Where the two differ in width, rates are others if the sides are exchanged: so they are counted by hand."""
    runs = spread_pool()
    found = ulira(runs)
    members, others = likelihood_ratios(margins(runs, role, "forget"), margins(runs, "retrained", "forget"))
    for name, rate in (("tpr_at_1_percent", 0.01), ("tpr_at_01_percent", 0.001)):
        threshold = np.sort(others, axis=None)[-1 - int(rate * others.size)]
        assert found[f"ulira_{role}_{name}"] == pytest.approx((members > threshold).mean())
    above = (members[..., None, None] > others).mean()
    assert found[f"ulira_{role}_auc"] == pytest.approx(above)


def test_a_score_that_a_retrained_model_has_too_raises_no_alarm_without_a_false_one() -> None:
    """All scores alike: whoever calls one unlearned calls all retrained ones so, far more than one in a hundred."""
    rates = attack_rates(*likelihood_ratios(np.zeros((4, 10)), np.zeros((4, 10))))
    assert rates == {"auc": 0.5, "tpr_at_1_percent": 0.0, "tpr_at_01_percent": 0.0}


def test_a_score_is_the_log_likelihood_ratio_of_two_gaussians() -> None:
    generator = np.random.default_rng(3)
    model, reference = generator.normal(1, 3, (8, 1)), generator.normal(-2, 0.5, (8, 1))
    members, others = likelihood_ratios(model, reference)
    rest = [(sample[1:].mean(), sample[1:].std(ddof=1)) for sample in (model, reference)]
    for score, margins in ((members, model), (others, reference)):
        first, second = (norm.logpdf(margins[0, 0], *one) for one in rest)
        assert score[0, 0] == pytest.approx(first - second)


@pytest.fixture
def recipe(small: Small) -> Recipe:
    block = {"rule": ["sgd", "sam-0.1"], "seed": [0, 1, 2, 3]}
    return recipe_of(small(metrics=("accuracy", "klom", "ulira")), block)


@pytest.mark.slow
def test_a_study_pools_its_seeds_and_a_run_more_is_another_pool(recipe: Recipe, store: Store) -> None:
    run_grid(recipe, store, runtime=CPU)
    found = store.records("evaluation")
    assert sorted((one.config["metric"], one.result["labels"]["rule"]) for one in found) == [
        ("klom", "sam-0.1"), ("klom", "sgd"), ("ulira", "sam-0.1"), ("ulira", "sgd")
    ]  # fmt: skip
    first = next(one for one in found if one.config["metric"] == "klom")
    assert len(first.config["stages"]["unlearned"]) == len(first.result["runs"]) == 4
    assert first.config["stages"]["unlearned"] == sorted(first.config["stages"]["unlearned"])
    run_grid(recipe, store, runtime=CPU)
    assert len(store.records("evaluation")) == 4
    block = {**recipe.blocks[0], "seed": [0, 1, 2, 3, 4]}
    run_grid(replace(recipe, blocks=(block,)), store, runtime=CPU)
    assert len(store.records("evaluation")) == 8


def test_pooled_numbers_are_added_to_finished_runs(recipe: Recipe, store: Store) -> None:
    plain_recipe = replace(recipe, defaults={**recipe.defaults, "metrics": ["accuracy"]})
    run_grid(plain_recipe, store, runtime=CPU)
    assert store.records("evaluation") == []
    measured = measure_runs(store.records("unlearn"), ["klom"], store, CPU)
    assert [one.kind for one in measured].count("evaluation") == 2


def save_run(store: Store, config: RunConfig, *, measured: bool = True, **parents: str) -> None:
    """Save a run with the margins of one model; stages other than those of its seed are given, a missing one as ''."""
    own = {"pretrain": f"a{config.seed}", "retrain": f"b{config.seed}", "unlearn": f"c{config.seed}", "forget_set": "d"}
    stages = {stage: one for stage, one in (own | parents).items() if one}
    (arrays,) = pool(0.0, models=1, seed=config.seed).arrays
    key = {"metric": "klom_margins", "of": [stages, config.n_test]}
    ids = {"klom_margins": store.save_evaluation(key, result={}, arrays=arrays).run_id} if measured else {}
    store.save("unlearn", config, evaluations=ids, result={"parents": stages, "labels": {"rule": config.rule}})


def test_runs_without_the_margins_or_without_a_retrained_model_are_not_pooled(small: Small, store: Store) -> None:
    for seed in range(4):
        save_run(store, small(rule="sgd", seed=seed))
        save_run(store, small(rule="sam-0.1", seed=seed), measured=False)
        save_run(store, small(rule="asam-1.0", seed=seed), retrain="")
    found = pool_runs(store.records("unlearn"), ["klom", "klom_easydub", "accuracy"], store)
    pools = [(one.config["metric"], one.result["labels"]["rule"]) for one in found]
    assert pools == [("klom", "sgd"), ("klom_easydub", "sgd")]


def test_models_that_forgot_other_images_are_no_pool(small: Small, store: Store) -> None:
    """The released code draws a forget set for each seed: image 3 of one is another image than that of the next."""
    for seed in range(8):
        save_run(store, small(seed=seed), forget_set=f"d{seed % 2}")
    found = pool_runs(store.records("unlearn"), ["klom"], store)
    assert {one.config["forget_set"]: one.config["stages"]["unlearned"] for one in found} == {
        "d0": ["c0", "c2", "c4", "c6"], "d1": ["c1", "c3", "c5", "c7"]
    }  # fmt: skip


def test_of_several_unlearning_seeds_one_is_pooled_and_other_test_images_are_another_pool(
    small: Small, store: Store
) -> None:
    """Runs of one training seed share their retrained model: split in halves it would be held against itself."""
    for seed, again, count in itertools.product(range(4), (1, 0), (60, 30)):
        save_run(store, small(seed=seed, unlearn_seed=again, n_test=count), unlearn=f"c{seed} {again}")
    found = pool_runs(store.records("unlearn"), ["klom"], store)
    assert len({one.run_id for one in found}) == 2
    for one in found:
        assert one.config["stages"]["unlearned"] == [f"c{seed} 0" for seed in range(4)]


def published_klom(unlearned: np.ndarray, oracle: np.ndarray) -> float:
    """KLoM of one image as EasyDUB's code computes it, step by step; `entropy` divides both samples by their sums."""
    unlearned, oracle = np.clip(unlearned, -100, 100), np.clip(oracle, -100, 100)
    low, high = min(unlearned.min(), oracle.min()), max(unlearned.max(), oracle.max())
    edges = np.linspace(low, high, 20 + 1)
    p, q = (np.bincount(np.digitize(sample, edges), minlength=22)[1:21] for sample in (unlearned, oracle))
    p, q = p / p.sum(), q / q.sum()  # the largest sample fell into bin 21
    q[(p > 0) & (q < 1e-5)] = 1e-5
    return float(entropy(p, q))


def test_klom_easydub_is_what_the_published_code_gives_image_by_image() -> None:
    generator = np.random.default_rng(7)
    reference, model = generator.normal(3, 2, (100, 30)), generator.normal(2, 3, (100, 30))
    model[:, 3] *= 80  # beyond the cut at 100
    found = easydub_divergence(reference, model)
    assert found == pytest.approx([published_klom(model[:, k], reference[:, k]) for k in range(30)], rel=1e-12)


def test_klom_easydub_drops_the_largest_sample_and_looks_the_other_way() -> None:
    reference, model = np.array([[0.0], [0.0], [1.0], [1.0], [9.0]]), np.array([[0.0], [0.0], [0.0], [1.0], [1.0]])
    p, q = np.array([3, 2]) / 5, np.array([2, 2]) / 4
    assert easydub_divergence(reference, model)[0] == pytest.approx((p * np.log(p / q)).sum(), rel=1e-12)
    assert easydub_divergence(np.ones((4, 1)), np.ones((4, 1))).tolist() == [0.0]
    assert easydub_divergence(np.zeros((4, 1)), np.ones((4, 1))).tolist() == [0.0], "all of the model's are dropped"


def test_klom_easydub_floors_the_reference_where_a_model_is_and_nothing_else() -> None:
    """Of the model's margins half are where no reference is: q is (1, 1e-5) there, divided by its sum."""
    reference, model = np.array([[0.0], [0.0], [0.0], [9.0]]), np.array([[0.0], [0.0], [4.0], [4.0]])
    q = np.array([1.0, 1e-5]) / (1 + 1e-5)
    assert easydub_divergence(reference, model)[0] == pytest.approx((0.5 * np.log(0.5 / q)).sum(), rel=1e-12)
    assert easydub_divergence(model, reference)[0] == pytest.approx(np.log(2), rel=1e-12), "where no model is, no floor"


@pytest.mark.parametrize("role", ["unlearned", "original"])
@pytest.mark.parametrize("name", SETS)
def test_klom_easydub_pools_every_model_of_a_role_on_a_set(role: str, name: str) -> None:
    runs = spread_pool()
    found = klom_easydub(runs)
    values = easydub_divergence(margins(runs, "retrained", name), margins(runs, role, name))
    assert found[f"klom_easydub_{role}_{name}_mean"] == pytest.approx(values.mean())
    assert found[f"klom_easydub_{role}_{name}_p95"] == pytest.approx(np.percentile(values, 95))


def test_klom_easydub_holds_retrained_models_of_even_seeds_against_those_of_odd_ones() -> None:
    odd = pool(0.0, models=41)  # the last has no partner
    margins = odd.margins("retrained", "test")
    even = easydub_divergence(margins[0:40:2], margins[1:40:2])
    assert klom_easydub(odd)["klom_easydub_retrained_test_mean"] == pytest.approx(even.mean())
