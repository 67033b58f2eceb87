"""Forget sets: sizes, disjointness, memorization levels, imported files and their mistakes."""

from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from empirical import registry
from empirical.data.forget import choose_forget
from empirical.data.memorization import (
    agreement,
    compare_draws,
    describe,
    draw_subsets,
    estimate,
    filled,
    rank_agreement,
    reliability,
    tied_share,
)
from empirical.data.source import data_digest
from empirical.registry import ForgetSet
from empirical.runs.imports import import_index, import_scores
from empirical.runs.resources import Resources
from empirical.runs.run import run
from empirical.runs.subset_models import SubsetModels, memorization_scores
from empirical.settings.run_config import MemorizationConfig, RunConfig, Runtime
from repro.base.errors import ConfigError, MissingDataError
from repro.records.publish import write_published
from repro.records.store import Store
from tests.empirical.conftest import Small

LABELS = np.repeat(np.arange(5), 20)


@pytest.mark.parametrize("difficulty", ["random", "low", "mid", "high", "class", "class-part"])
def test_retain_and_forget_share_out_the_training_rows(difficulty: str) -> None:
    config = RunConfig(difficulty=difficulty, forget_fraction=0.1, forget_class=2)
    split = choose_forget(config, LABELS, memorization=lambda: np.linspace(0, 1, 100))
    assert len(split.forget) == (20 if difficulty == "class" else 10)
    assert np.array_equal(np.sort(np.concatenate([split.retain, split.forget])), np.arange(100))
    if difficulty.startswith("class"):
        assert set(LABELS[split.forget]) == {2}
    if difficulty == "class-part":
        most = choose_forget(replace(config, forget_fraction=0.5), LABELS)
        assert len(most.forget) == 19, "never all of the class"


def test_levels_take_the_lowest_the_middle_and_the_highest_scores() -> None:
    labels, scores = np.zeros(101, int), np.linspace(0, 1, 101)
    configs = [RunConfig(difficulty=level, forget_fraction=0.05) for level in ("low", "mid", "high")]
    sets = {c.difficulty: choose_forget(c, labels, memorization=lambda: scores).forget.tolist() for c in configs}
    assert sets == {"low": [0, 1, 2, 3, 4], "mid": [48, 49, 50, 51, 52], "high": [96, 97, 98, 99, 100]}


def test_where_few_images_are_memorized_the_middle_is_none_of_the_lowest_or_highest() -> None:
    """All but four score nearly 0: the nearest to 0.5 would be the highest ones again."""
    labels, scores = np.zeros(20, int), np.append(np.arange(16) / 1000, [0.1, 0.2, 0.3, 0.4])
    mid = RunConfig(difficulty="mid", forget_fraction=0.2)
    assert choose_forget(mid, labels, memorization=lambda: scores).forget.tolist() == [12, 13, 14, 15]
    most = replace(mid, forget_fraction=0.4)  # three such sets have no room: then nearness alone decides
    assert choose_forget(most, labels, memorization=lambda: scores).forget.tolist() == list(range(12, 20))


def test_the_released_split_holds_out_a_tenth_of_each_class_drawn_by_its_seed_1() -> None:
    """Its forget set is a share of the rows that are trained on, drawn from those of the run's own split."""
    released = choose_forget(RunConfig(seed=2, forget_fraction=0.2, switches="forget_split=reseeded"), LABELS)
    held = {}
    for seed in (1, 2):
        generator = np.random.RandomState(seed)
        classes = [generator.choice(np.arange(20 * c, 20 * c + 20), 2, replace=False) for c in range(5)]
        held[seed] = np.sort(np.concatenate(classes)).tolist()
    assert released.validation.tolist() == held[1]
    assert sorted({*range(100)} - {*released.forget, *released.retain}) == held[2]
    assert len(released.forget) == 18


def test_memorization_is_the_difference_of_two_shares() -> None:
    inside = np.array([[1, 1], [1, 0], [0, 1], [0, 0]], bool)
    correct = np.array([[1, 1], [1, 1], [0, 1], [0, 0]], bool)
    scores, errors = estimate(inside, correct)
    assert scores.tolist() == [1.0, 0.5]
    assert errors.tolist() == [0.0, np.sqrt(0.25 / 2)]
    never_outside, _ = estimate(np.array([[True], [True]]), np.array([[True], [True]]))
    assert np.isnan(never_outside[0])
    # Without a score an image is neither the easiest nor the hardest.
    assert filled(np.array([0.0, np.nan, 0.2, 1.0])).tolist() == [0.0, 0.2, 0.2, 1.0]


def test_rank_agreement_is_one_for_the_same_order_and_skips_unknown_scores() -> None:
    assert agreement(np.array([1.0, 2.0, 3.0, np.nan]), np.array([10.0, 20.0, 25.0, 0.0])) == pytest.approx(1.0)
    assert agreement(np.ones(3), np.arange(3.0)) is None
    inside, correct = np.array([[1, 1, 1], [1, 1, 1], [0, 0, 0], [0, 0, 0]], bool), np.zeros((4, 3), bool)
    correct[0], correct[1] = (
        [True, False, True],
        [False, True, False],
    )  # even models say one thing, odd ones the reverse
    assert rank_agreement(inside, correct) == pytest.approx(-1.0)


@pytest.mark.parametrize("fraction", [0.001, 0.999])
def test_a_subset_of_no_image_or_of_all_is_refused(fraction: float) -> None:
    with pytest.raises(ConfigError, match=r"fraction = .*1 to 39 of 40 images"):
        draw_subsets(MemorizationConfig(fraction=fraction), 40)


def test_a_subset_model_that_diverged_scores_nothing(resources: Resources) -> None:
    said = "subset_model = 'resnet8-narrow': number 0 diverged"
    config = MemorizationConfig(n_train=60, subsets=4, epochs=1, lr=1e30)  # in its one step: its weights are finite
    with pytest.raises(ConfigError, match=said):
        SubsetModels(config, resources).record()
    in_the_middle = SubsetModels(replace(config, batch_size=8), resources)
    with pytest.raises(ConfigError, match=said):
        in_the_middle.network(0, np.arange(60) < 40)
    assert resources.store.records("memorization") == []


def test_the_commands_estimate_is_that_of_a_run_on_the_same_files(tmp_path: Path) -> None:
    from repro.commands.cli import app

    words = ["empirical", "memorization", "--n-train", "40", "--subsets", "4", "--epochs", "1", "--device", "cpu"]
    words += ["--store", str(tmp_path)]
    assert CliRunner().invoke(app, words).exit_code == 0
    (record,) = Store(tmp_path).records("memorization")
    assert record.config["data"] == data_digest(RunConfig(), Runtime()) != ""
    refused = CliRunner().invoke(app, [*words, "--data", "0" * 16])
    assert isinstance(refused.exception, ConfigError)
    assert len(Store(tmp_path).records("memorization")) == 1


def test_scores_are_described_by_their_quartiles() -> None:
    found = describe(np.append(np.arange(101.0), np.nan), np.full(102, 0.5))
    assert (found["quartile_low"], found["median"], found["quartile_high"]) == (25, 50, 75)
    assert (found["n"], found["unknown"], found["mean"], found["mean_standard_error"]) == (102, 1, 50, 0.5)
    assert tied_share(np.array([0.0, 0.0, 0.5, 1.0, np.nan, np.nan])) == 0.5


def test_subsets_hold_the_stated_share() -> None:
    inside = draw_subsets(MemorizationConfig(subsets=6), 50)
    assert inside.sum(1).tolist() == [35] * 6
    assert len(np.unique(inside, axis=0)) == 6


ESTIMATE = MemorizationConfig(
    dataset="signal-noise", dataset_options="side=8, n=40, n_test=10, signal_strength=4.0", subsets=8, epochs=6,
    batch_size=8,
)  # fmt: skip


def test_a_committed_estimate_needs_no_subset_models(
    shared: Resources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = SubsetModels(ESTIMATE, shared).record()
    write_published([record], tmp_path / "results" / "mine.parquet")
    monkeypatch.chdir(tmp_path)
    elsewhere = Resources(Store(tmp_path / "runs"), shared.runtime)
    found = SubsetModels(ESTIMATE, elsewhere).record()
    np.testing.assert_array_equal(found.arrays()["scores"], record.arrays()["scores"])
    assert elsewhere.store.stages.all() == []
    other = SubsetModels(replace(ESTIMATE, epochs=1), elsewhere).record()
    assert other.run_id != record.run_id
    assert len(elsewhere.store.stages.all()) == ESTIMATE.subsets


@pytest.mark.parametrize("kind", ["index", "mine"])
@pytest.mark.parametrize(
    ("index", "message"),
    [([1, 100], r"100.*\[0, 99\]"), ([-1, 2], r"-1"), ([3, 4, 4], "4 is repeated")],
)
def test_a_bad_index_and_a_users_own_bad_forget_set_are_named(
    kind: str, index: list[int], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry.FORGET_SETS, "mine", ForgetSet("tests.empirical.cells:rows_of_a_class_file"))
    config = RunConfig(difficulty=kind, forget_index="x")
    with pytest.raises(ConfigError, match=message):
        choose_forget(config, LABELS, index=lambda: np.array(index))
    assert choose_forget(config, LABELS, index=lambda: np.array([7, 5])).forget.tolist() == [5, 7]


@pytest.mark.parametrize(("settings", "message"), [
    ({"difficulty": "class", "forget_class": 9}, r"forget_class = 9.*\[0, 4\]"),
    ({"difficulty": "high"}, "difficulty = 'high': needs memorization scores"),
])  # fmt: skip
def test_a_class_that_does_not_exist_and_scores_that_nobody_gave_are_named(settings: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        choose_forget(RunConfig(**settings), LABELS)


def test_a_bad_line_of_an_index_file_is_named(tmp_path: Path, store: Store) -> None:
    path = tmp_path / "mine.txt"
    path.write_text("3\nfive\n")
    with pytest.raises(ConfigError, match=r"mine.txt line 2: 'five'"):
        import_index(path, store)
    with pytest.raises(MissingDataError, match=r"absent\.txt"):
        import_index(tmp_path / "absent.txt", store)


def score_file(path: Path, labels: np.ndarray) -> Path:
    scores = np.linspace(0, 1, len(labels))
    scores[5] = np.nan
    np.savez(path, tr_mem=scores, tr_labels=labels)
    return path


def test_published_scores_belong_to_one_order_of_one_data_set_and_may_lack_some(
    tmp_path: Path, small: Small, resources: Resources
) -> None:
    labels = resources.images(small()).train_labels.numpy().copy()
    record = import_scores(score_file(tmp_path / "good.npz", labels), small(), resources)
    assert np.isnan(record.arrays()["scores"]).sum() == 1
    config = small(difficulty="high", scores=record.run_id)
    assert run(config, resources.store, resources=resources).result["n_forget"] == 12
    elsewhere = resources.store.save("memorization", {**record.config, "dataset": "cifar10"}, result={"n": len(labels)},
                                     arrays=record.arrays())  # fmt: skip
    with pytest.raises(ConfigError, match=r"must be scores of dataset = .*, not of 'cifar10'"):
        memorization_scores(small(difficulty="high", scores=elsewhere.run_id), resources)
    labels[7] = 1 - labels[7]
    with pytest.raises(ConfigError, match=r"row 7.*another order"):
        import_scores(score_file(tmp_path / "bad.npz", labels), small(), resources)
    with pytest.raises(ConfigError, match="10 rows"):
        import_scores(score_file(tmp_path / "short.npz", labels[:10]), small(), resources)


@pytest.mark.parametrize("level", ["random", "low", "mid", "high"])
def test_a_forget_set_depends_on_its_own_seed_and_not_on_the_training_seed(level: str) -> None:
    """Retrained models of several training seeds can be compared only on one and the same forget set."""
    scores = np.repeat([0.0, 1.0], 50)  # ties, which are broken at random

    def drawn(**seeds: Any) -> str:
        return choose_forget(RunConfig(difficulty=level, **seeds), LABELS, memorization=lambda: scores).identity

    assert len({drawn(seed=seed) for seed in range(3)}) == 1
    assert len({drawn(forget_seed=seed) for seed in range(3)}) == 3


def test_an_estimate_cut_short_goes_on_with_the_models_it_lacks(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    from empirical.runs import stages

    trained: list[object] = []
    real = stages.fit

    def counting(*arguments: object, **options: object) -> object:
        if len(trained) == 2:
            raise KeyboardInterrupt
        trained.append(arguments)
        return real(*arguments, **options)  # type: ignore[arg-type]

    estimate_ = SubsetModels(MemorizationConfig("signal-noise", "n=40", subsets=4, epochs=1), resources)
    monkeypatch.setattr(stages, "fit", counting)
    with pytest.raises(KeyboardInterrupt):
        estimate_.record()
    monkeypatch.setattr(stages, "fit", lambda *a, **k: trained.append(a) or real(*a, **k))
    record = estimate_.record()
    assert len(trained) == 4
    assert np.array_equal(record.arrays()["correct"], estimate_.train()[1])


def subset_estimates(models: int, seed: int, *, images: int = 1500) -> tuple[np.ndarray, np.ndarray]:
    """Models that know what they saw, and other images with a probability of each image's own."""
    known = np.random.default_rng(0).random(images)
    generator = np.random.default_rng(seed)
    inside = generator.random((models, images)) < 0.7
    return inside, inside | (generator.random(inside.shape) < known)


def test_reliability_foretells_how_scores_agree_with_those_of_as_many_other_models() -> None:
    for models in (16, 48):
        one, other = (subset_estimates(models, seed) for seed in (1, 2))
        found = reliability(*one)
        assert found == pytest.approx(agreement(estimate(*one)[0], estimate(*other)[0]), abs=0.04)
        assert found == reliability(*one)
    noise = np.random.default_rng(3).random((2, 32, 1500)) < 0.5
    assert abs(reliability(*noise) or 0.0) < 0.15
    assert reliability(np.eye(4, 50, dtype=bool), np.ones((4, 50), bool)) is None


def test_draws_of_a_forget_set_share_what_the_noise_of_their_scores_leaves() -> None:
    """Known truths: images that every draw finds, ties that chance breaks, and coin flips."""
    generator = np.random.default_rng(0)
    inside, memorized = generator.random((32, 2000)) < 0.5, np.arange(2000) < 100
    sure = compare_draws(inside, inside | ~memorized, 16)
    assert sure["high"] == pytest.approx((1.0, 0.05, 1.0, 1.0, 0.0))
    assert sure["low"].overlap == pytest.approx(100 / 1900, abs=0.015)  # any 100 of the 1,900 whose score is 0
    flips = generator.random((2, 32, 8000)) < 0.5
    noise = compare_draws(flips[0], flips[1], 16)
    for found in noise.values():
        assert found.overlap == pytest.approx(found.chance, abs=0.02)
        assert found.other == pytest.approx(0.0, abs=0.02)  # by the other estimate nothing is memorized
    assert noise["high"].own > 0.3
    with pytest.raises(ConfigError, match=r"models = 17: must be in \[4, 16\]"):
        compare_draws(inside, inside, 17)


def test_draws_foretell_what_other_estimates_share_and_what_their_images_are_like() -> None:
    images, size = 6000, 300
    drawn = subset_estimates(48, 1, images=images)
    few, found = (compare_draws(*drawn, models, repeats=5)["high"] for models in (12, 24))
    jitter = np.random.default_rng(1).random((6, images)) * 1e-6  # ties in random order
    scores = [estimate(*subset_estimates(24, 2 + one, images=images))[0] + jitter[one] for one in range(6)]
    tops = [np.argsort(one)[-size:] for one in scores]
    overlaps = [len(np.intersect1d(one, other)) / size for one, other in combinations(tops, 2)]
    assert found.overlap == pytest.approx(np.mean(overlaps), abs=0.04)
    assert few.overlap < found.overlap
    truth = 1 - np.random.default_rng(0).random(images)  # of `subset_estimates`
    assert found.other == pytest.approx(np.mean([truth[top].mean() for top in tops]), abs=0.02)
    assert found.spread == pytest.approx(np.mean([truth[top].std() for top in tops]), abs=0.02)
