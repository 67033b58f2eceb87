"""Numbers of the feature space against hand-made clouds, and maps that are fitted once and kept."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from figures.drawing.drawing import Drawing
from figures.drawing.style import Theme
from figures.networks import umap
from figures.networks.umap import _pictures, embed, feature_numbers
from figures.tables.records import Records, Studies
from figures.tables.snapshots import Snapshot, snapshots
from repro.records.store import Store
from tests.figures.conftest import attack_arrays, save_network


def two_clouds(gap: float, count: int = 40) -> tuple[np.ndarray, np.ndarray]:
    points = 0.1 * np.random.default_rng(0).standard_normal((count, 6))
    is_forget = np.arange(count) % 2 == 0
    points[is_forget, 0] += gap
    return points, is_forget


def test_purity_is_one_for_separate_clouds_and_near_chance_for_mixed_ones() -> None:
    purities = [feature_numbers(points, points[:, :2], is_forget)["forget_purity"]
                for points, is_forget in (two_clouds(gap=50.0), two_clouds(gap=0.0))]  # fmt: skip
    assert purities[0] == 1.0
    assert 0.3 < purities[1] < 0.7


def test_a_picture_is_trustworthy_that_keeps_the_neighbours_of_the_features_by_angle() -> None:
    angles = np.random.default_rng(2).uniform(0, 1.5, 30)
    lengths = np.random.default_rng(3).uniform(1, 5, (30, 1))
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    is_forget = np.arange(30) % 2 == 0
    assert feature_numbers(lengths * circle, circle, is_forget)["trust"] == 1.0
    assert (
        feature_numbers(lengths * circle, np.random.default_rng(4).standard_normal((30, 2)), is_forget)["trust"] < 0.9
    )


def test_components_send_equal_features_to_equal_places() -> None:
    features, _ = two_clouds(gap=3.0)
    first, second = embed([features, features], neighbours=5)
    np.testing.assert_allclose(first, second)
    assert first.shape == (40, 2)


def test_maps_of_the_published_features_come_with_the_toolkit(
    committed: Studies, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(umap, "_umap", None)  # `python -m figures.networks.umap` writes them anew
    found = umap.feature_maps(committed.of("cifar10"), Theme())
    assert len(found.data) > 5000
    assert found.missing == ()


def test_the_number_under_a_map_is_that_of_the_record(drawing: Callable[[str], Drawing]) -> None:
    data = drawing("fig-umap").data
    whole = data[data["row"] == "all classes"].groupby("title", sort=False)["entanglement_wp"].first()
    assert whole.tolist()[0] == 0.8  # of the original
    assert set(whole.tolist()[2:]) == {0.6}
    assert data[data["row"] != "all classes"]["entanglement_wp"].isna().all()


@pytest.mark.slow
def test_umap_keeps_clouds_apart_and_repeats() -> None:
    pytest.importorskip("umap")
    features, is_forget = two_clouds(gap=50.0, count=120)
    first, moved = embed([features, features], neighbours=10)
    again, _ = embed([features, features], neighbours=10)
    np.testing.assert_array_equal(first, again)
    assert moved.shape == (120, 2)
    assert feature_numbers(first, first, is_forget)["forget_purity"] > 0.9


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
    found = snapshots(Records(empty.records()), "landscape")
    assert [(one.model, one.record.config["pretrain"], one.record.config["rule"]) for one in found] == [
        ("original", "sgd", "sgd"), ("original", "asam-1.0", "sgd"), ("retrained", "sgd", "sgd"),
        ("unlearned", "sgd", "sgd"), ("unlearned", "sgd", "asam-1.0"),
    ]  # fmt: skip
    assert [one.title for one in found[:2]] == ["before\n(SGD)", "before\n(ASAM 1.0)"]


def test_a_retrained_model_has_a_map_of_its_own_and_the_unlearned_ones_that_of_the_original() -> None:
    clouds = [two_clouds(3.0)[0] for _ in range(3)]
    clouds[1] = np.roll(clouds[1], 1, axis=1)
    shown = [Snapshot("", model, ()) for model in ("original", "retrained", "unlearned")]
    before, retrained, after = _pictures(shown, clouds, neighbours=5)
    assert np.allclose(before, after)
    # The same features under other names give the same picture, which the original's map would not give.
    assert np.allclose(retrained, before)
    assert not np.allclose(embed(clouds[:2], neighbours=5)[1], before)


def test_arrows_move_the_class_means_of_the_unlearned_models_among_all_classes(
    drawing: Callable[[str], Drawing],
) -> None:
    drawn = drawing("fig-umap")
    found: Any = drawn.figure
    titles = [panel.get_title() for panel in found.axes[: len(found.axes) // 2]]
    arrows = [[text for text in panel.texts if getattr(text, "arrow_patch", None)] for panel in found.axes]
    above, below = arrows[: len(titles)], arrows[len(titles) :]
    assert not any(below), "of a single class there is no mean to move"
    data = drawn.data[drawn.data["row"] == "all classes"]
    for title, there in zip(titles, above, strict=True):
        rows = data[(data["title"] == title) & data["is_forget"]]
        means = rows.groupby("label")[["x", "y"]].mean().to_numpy() if title.startswith("NegGrad") else ()
        assert [tuple(arrow.xy) for arrow in there] == [pytest.approx(tuple(mean)) for mean in means], title
    assert sum(map(bool, above)) == 3
