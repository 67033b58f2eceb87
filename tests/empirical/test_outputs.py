"""What models answer to large sets: logits on the disk, features of some rows, and the same numbers as in memory."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from empirical.metrics import outputs as module
from empirical.metrics.evaluation import Evaluation
from empirical.metrics.outputs import featured_rows, model_outputs
from empirical.models.network import Network
from empirical.registry import METRICS, load
from empirical.runs.evaluations import values_of
from empirical.runs.resources import Resources
from tests.empirical.conftest import Small
from tests.empirical.run_parts import evaluated

MEASURED = [name for name, one in METRICS.items() if not one.pooled and name not in ("coefficients", "relearning")]


def numbers(evaluation: Evaluation) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in MEASURED:
        evaluation.result.update(found)
        found |= values_of(name, evaluation)
    return found


@pytest.fixture
def made(small: Small, shared: Resources) -> Callable[[], Evaluation]:
    def make() -> Evaluation:
        whole = evaluated(small(landscape_points=3), shared)
        return replace(whole, shared=None, result={})

    return make


def test_numbers_of_logits_on_the_disk_are_those_of_logits_in_memory(
    made: Callable[[], Evaluation], shared: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = numbers(made())
    monkeypatch.setattr(module, "IN_MEMORY", 0)
    monkeypatch.setattr(module, "BATCH", 5)
    shared._cache.clear()
    whole = made()
    assert isinstance(whole.outputs["unlearned"].train.logits, np.memmap)
    spilled = numbers(whole)
    assert held.keys() == spilled.keys()
    for name, value in held.items():
        if isinstance(value, float | np.ndarray):
            np.testing.assert_allclose(spilled[name], value, rtol=1e-5, atol=1e-6, err_msg=name)
    shared._cache.clear()


def test_logits_keep_the_precision_of_their_network_and_are_read_in_float64() -> None:
    for dtype in (torch.float32, torch.float64):
        model = nn.Module()
        model.features, model.head = nn.Flatten(), nn.Linear(4, 3).to(dtype)  # type: ignore[assignment]
        network = Network(model, (0.0,), (1.0,))
        images: Any = pictures(20)
        found = model_outputs(network, images).train
        assert torch.from_numpy(found.logits).dtype == dtype
        assert found.pick(np.arange(3)).logits.dtype == np.float64


def pictures(count: int) -> Any:
    class Set:
        train_images = test_images = torch.rand(count, 1, 2, 2)
        train_labels = test_labels = torch.zeros(count, dtype=torch.long)

    return Set()


def test_features_of_many_images_are_kept_of_forget_and_retained_ones_alike(
    made: Callable[[], Evaluation], shared: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = made()
    every = {role: sides.train for role, sides in before.outputs.items()}
    monkeypatch.setattr(module, "MOST_FEATURES", 10)
    monkeypatch.setattr(module, "BATCH", 5)
    shared._cache.clear()
    after = made()
    shared._cache.clear()
    for role, sides in after.outputs.items():
        assert len(sides.train.features) == len(sides.test.features) == 10
        np.testing.assert_allclose(sides.train.features, every[role].features[sides.train.rows], rtol=1e-4, atol=1e-6)
        assert sides.train.rows is not None
        assert np.isin(sides.train.rows, after.split.forget).sum() == 5
    seen = {name: outputs for name, outputs, _ in after.sets("unlearned")}
    for name in ("retain", "forget"):
        kept = getattr(after.split, name)[seen[name].rows]
        rows = getattr(after.split, name)
        np.testing.assert_allclose(seen[name].features, every["unlearned"].features[kept], rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(seen[name].logits, every["unlearned"].logits[rows], rtol=1e-4, atol=1e-5)
        labels = after.images.train_labels.numpy()
        assert np.array_equal(seen[name].labels(labels[getattr(after.split, name)]), labels[kept])
    found = load("metrics", "features")(after)
    assert len(found["features_unlearned"]) == len(found["labels"]) == 10
    assert np.isfinite(load("metrics", "entanglement")(after)["entanglement_wp"])


def test_few_images_keep_all_features_and_many_the_same_rows_every_time() -> None:
    assert featured_rows(10_000) is None
    rows = featured_rows(10_001)
    assert rows is not None
    assert len(np.unique(rows)) == 10_000
    again: Any = featured_rows(10_001)
    assert np.array_equal(rows, again)


def test_logits_on_the_disk_leave_no_file_behind_and_one_that_is_no_number_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "IN_MEMORY", 0)
    model = nn.Module()
    model.features, model.head = nn.Flatten(), nn.Linear(4, 3)  # type: ignore[assignment]
    images = pictures(20)
    found = model_outputs(Network(model, (0.0,), (1.0,)), images, folder=tmp_path)
    assert not list(tmp_path.iterdir()), "the file has no name"
    with torch.no_grad():
        expected = model.head(images.train_images.flatten(1)).numpy()
    np.testing.assert_allclose(found.train.logits, expected, rtol=1e-6)
    assert found.finite()
    found.test.logits[19, 1] = np.nan
    assert not found.finite()


def test_measured_halves_of_images_on_disk_stay_there(made: Callable[[], Evaluation]) -> None:
    from empirical.data.stream import StreamedImages
    from empirical.metrics.evaluation import measured

    whole = made()
    count = len(whole.images.test_labels)
    streamed: Any = StreamedImages(Path(), tuple(f"{row}.png" for row in range(count)), 8)
    seen = measured("report", whole.split.forget, whole.images.test_labels.numpy())
    half = replace(whole, images=replace(whole.images, test_images=streamed)).only(seen)
    assert half.images.test_images.names == tuple(f"{row}.png" for row in seen.test)  # type: ignore[attr-defined]
