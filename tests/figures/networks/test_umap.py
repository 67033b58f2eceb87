"""Numbers of the feature space against hand-made clouds, and maps that are fitted once and kept."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from figures.drawing.drawing import Drawing
from figures.networks.umap import _pictures, embed, entanglement_wp, forget_purity, normalize, trust, umap_installed
from figures.tables.records import Records
from figures.tables.snapshots import Snapshot, snapshots
from repro.records.store import Store
from tests.figures.conftest import attack_arrays, save_network


def two_clouds(gap: float, count: int = 40) -> tuple[np.ndarray, np.ndarray]:
    points = 0.1 * np.random.default_rng(0).standard_normal((count, 6))
    is_forget = np.arange(count) % 2 == 0
    points[is_forget, 0] += gap
    return points, is_forget


def test_two_samples_at_distance_one_have_no_overlap() -> None:
    features, is_forget = np.array([[0.0, 0.0], [1.0, 0.0]]), np.array([True, False])
    assert entanglement_wp(features, is_forget) == 0.0


def test_equal_sets_are_wholly_entangled() -> None:
    points = np.random.default_rng(1).standard_normal((10, 3))
    features, is_forget = np.concatenate([points, points]), np.arange(20) < 10
    assert entanglement_wp(features, is_forget) == pytest.approx(1.0)


def test_entanglement_is_one_minus_the_mean_matched_distance() -> None:
    # On a line: F at 0 and 1, R at 2 and 5. Any matching that keeps order costs (2 + 4) / 2 = 3; the largest is 5.
    features = np.array([[0.0], [1.0], [2.0], [5.0]])
    assert entanglement_wp(features, np.array([True, True, False, False])) == pytest.approx(1 - 3 / 5)


def test_purity_is_one_for_separate_clouds_and_near_chance_for_mixed_ones() -> None:
    assert forget_purity(*two_clouds(gap=50.0)) == 1.0
    mixed = forget_purity(*two_clouds(gap=0.0))
    assert 0.3 < mixed < 0.7


def test_rows_have_unit_length() -> None:
    rows = normalize(np.array([[3.0, 4.0], [0.0, 2.0]]))
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0)


def test_a_faithful_picture_is_trustworthy() -> None:
    flat = np.random.default_rng(2).standard_normal((30, 2))
    assert trust(flat, flat) == 1.0
    assert trust(flat, np.random.default_rng(3).standard_normal((30, 2))) < 0.9


def test_components_send_equal_features_to_equal_places(tmp_path: Path) -> None:
    features, _ = two_clouds(gap=3.0)
    first, second = embed(features, [features], neighbours=5, cache=None)
    np.testing.assert_allclose(first, second)
    assert first.shape == (40, 2)


def test_an_embedding_is_kept_by_digest(tmp_path: Path) -> None:
    features, _ = two_clouds(gap=3.0)
    first = embed(features, [features + 1], neighbours=5, cache=tmp_path)
    (kept,) = tmp_path.iterdir()
    stamp = kept.stat().st_mtime_ns
    again = embed(features, [features + 1], neighbours=5, cache=tmp_path)
    assert kept.stat().st_mtime_ns == stamp
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)
    embed(features, [features + 2], neighbours=5, cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.slow
@pytest.mark.skipif(not umap_installed(), reason="needs umap-learn")
def test_umap_keeps_clouds_apart_and_repeats(tmp_path: Path) -> None:
    features, is_forget = two_clouds(gap=50.0, count=120)
    first, moved = embed(features, [features], neighbours=10, cache=None)
    again, _ = embed(features, [features], neighbours=10, cache=None)
    np.testing.assert_array_equal(first, again)
    assert moved.shape == (120, 2)
    assert forget_purity(first, is_forget) == 1.0


def test_rules_with_learning_rates_of_their_own_stand_beside_the_original_and_the_retrained_model(
    empty: Store,
) -> None:
    for rule, lr in (("sgd", 0.01), ("sam-0.1", 0.02), ("minmax-sam-0.1", 0.02)):
        for seed in range(2):
            save_network(empty, 0.9, rule=rule, lr=lr, seed=seed, difficulty="high", metrics=["features"],
                         arrays=attack_arrays(seed, 0.1), method="neggrad", pretrain="sgd")  # fmt: skip
    found = snapshots(Records(empty.records()), "features")
    assert [one.model for one in found] == ["original", "retrained", *["unlearned"] * 3]
    assert [one.record.config["rule"] for one in found[2:]] == ["sgd", "sam-0.1", "minmax-sam-0.1"]
    assert all(len(one.records) == 2 for one in found)


def test_originals_of_both_pretraining_rules_stand_beside_each_other_where_starts_are_compared(empty: Store) -> None:
    for pretrain, rule in itertools.product(("asam-1.0", "sgd"), ("asam-1.0", "sgd")):
        save_network(empty, 0.9, rule=rule, pretrain=pretrain, difficulty="high", metrics=["landscape"],
                     arrays=attack_arrays(0, 0.1), method="neggrad")  # fmt: skip
    found = snapshots(Records(empty.records()), "landscape", starts=True)
    assert [(one.model, one.record.config["pretrain"], one.record.config["rule"]) for one in found] == [
        ("original", "sgd", "sgd"), ("original", "asam-1.0", "sgd"), ("retrained", "sgd", "sgd"),
        ("unlearned", "sgd", "sgd"), ("unlearned", "sgd", "asam-1.0"),
    ]  # fmt: skip
    assert [one.title for one in found[:2]] == ["before\n(SGD)", "before\n(ASAM 1.0)"]
    assert [one.model for one in snapshots(Records(empty.records()), "landscape")][:2] == ["original", "retrained"]


def test_a_retrained_model_has_a_map_of_its_own_and_the_unlearned_ones_that_of_the_original() -> None:
    clouds = [two_clouds(3.0)[0] for _ in range(3)]
    clouds[1] = np.roll(clouds[1], 1, axis=1)
    shown = [Snapshot("", model, ()) for model in ("original", "retrained", "unlearned")]
    before, retrained, after = _pictures(shown, clouds, neighbours=5, cache=None)
    assert np.allclose(before, after)
    # The same features under other names give the same picture, which the original's map would not give.
    assert np.allclose(retrained, before)
    assert not np.allclose(embed(clouds[0], [clouds[1]], neighbours=5, cache=None)[1], before)


def test_arrows_move_the_class_means_of_the_unlearned_models_among_all_classes(
    drawing: Callable[[str], Drawing],
) -> None:
    drawn = drawing("fig-umap")
    found: Any = drawn.figure
    titles = [panel.get_title() for panel in found.axes[: len(found.axes) // 2]]
    arrows = [[text for text in panel.texts if text.arrow_patch is not None] for panel in found.axes]
    above, below = arrows[: len(titles)], arrows[len(titles) :]
    assert not any(below), "of a single class there is no mean to move"
    data = drawn.data[drawn.data["row"] == "all classes"]
    for title, there in zip(titles, above, strict=True):
        rows = data[(data["title"] == title) & data["is_forget"]]
        means = rows.groupby("label")[["x", "y"]].mean().to_numpy() if title.startswith("NegGrad") else ()
        assert [tuple(arrow.xy) for arrow in there] == [pytest.approx(tuple(mean)) for mean in means], title
    assert sum(map(bool, above)) == 3
