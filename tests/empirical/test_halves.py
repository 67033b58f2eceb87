"""Two halves of the images: one that choices see, one that is reported."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from empirical.metrics.evaluation import measured
from empirical.runs.evaluations import numbers_of
from empirical.runs.resources import Resources
from empirical.runs.run import run
from empirical.settings.run_config import Runtime
from empirical.studies.measure import measure_runs, pool_runs
from repro.base.errors import ConfigError
from repro.records.store import Store
from tests.empirical.conftest import Small
from tests.empirical.run_parts import evaluated

LABELS = np.repeat(np.arange(5), 21)
FORGET = np.arange(3, 300, 4)


def test_the_halves_are_disjoint_and_together_everything() -> None:
    one, other = (measured(part, FORGET, LABELS) for part in ("validation", "report"))
    for left, right, whole in ((one.forget, other.forget, FORGET), (one.test, other.test, np.arange(105))):
        assert sorted([*left, *right]) == whole.tolist()
        assert abs(len(left) - len(right)) <= 1
    assert np.array_equal(measured("all", FORGET, LABELS).forget, FORGET)
    counts = [np.bincount(LABELS[half.test]) for half in (one, other)]
    assert np.abs(counts[0] - counts[1]).max() <= 1, "every class of the test images is shared out"


def test_the_halves_belong_to_the_forget_set() -> None:
    again, other = (measured("report", rows, LABELS) for rows in (FORGET, FORGET + 1))
    assert np.array_equal(again.forget, measured("report", FORGET.copy(), LABELS).forget)
    assert not np.array_equal(other.forget, again.forget + 1)
    assert np.array_equal(other.test, again.test)


@pytest.mark.parametrize("name", ["accuracy", "mia", "attacks", "margins", "klom_margins", "entanglement", "features"])
def test_a_number_of_a_cell_does_not_see_the_half_that_chose(name: str, small: Small, shared: Resources) -> None:
    """Other labels and other answers on the validation half change no number; on the reported half they do."""
    config = small(rows_measured="report", attack_size=10)
    whole = replace(evaluated(replace(config, rows_measured="all"), shared), config=config, shared=None)
    found = {}
    for part in ("report", "validation", "none"):
        spoiled = spoil(whole, part) if part != "none" else whole
        labels = whole.images.test_labels.numpy()
        found[part] = numbers_of(name, spoiled.only(measured("report", whole.split.forget, labels)))
    assert same(found["validation"], found["none"])
    assert not same(found["report"], found["none"])


def spoil(whole: Any, part: str) -> Any:
    """Return an evaluation with other labels, logits and features of one half."""
    rows = measured(part, whole.split.forget, whole.images.test_labels.numpy())
    labels = {"train": whole.images.train_labels.clone(), "test": whole.images.test_labels.clone()}
    outputs = {}
    for side, where in (("train", rows.forget), ("test", rows.test)):
        labels[side][torch.from_numpy(where)] = 1 - labels[side][torch.from_numpy(where)]
    for role, pair in whole.outputs.items():
        changed = []
        for one, where in zip(pair, (rows.forget, rows.test), strict=True):
            logits, features = one.logits.copy(), one.features.copy()
            logits[where] += np.random.default_rng(0).normal(size=logits[where].shape)
            features[where] *= np.linspace(1, 2, features.shape[1])
            changed.append(type(one)(logits, features))
        outputs[role] = type(pair)(*changed)
    images = replace(whole.images, train_labels=labels["train"], test_labels=labels["test"])
    return replace(whole, images=images, outputs=outputs)


def same(left: Any, right: Any) -> bool:
    return left[0] == right[0] and all(np.array_equal(left[1][key], right[1][key]) for key in left[1])


def test_halves_that_cannot_be_are_refused_before_anything_is_trained(small: Small, store: Store) -> None:
    config = small(difficulty="random", forget_fraction=0.001, rows_measured="report", metrics=("accuracy",))
    with pytest.raises(ConfigError, match="one image has no halves"):
        run(config, store)
    assert list(store.stages.all()) == []
    with pytest.raises(ConfigError, match="rows_measured = 'report'"):
        measured("report", FORGET[:1], LABELS)


def test_a_record_says_how_many_images_it_was_measured_on(small: Small, shared: Resources) -> None:
    result = run(small(rows_measured="validation"), shared.store, resources=shared).result
    assert (result["n_forget"], result["n_forget_measured"], result["n_test_measured"]) == (12, 6, 20)
    for name, count in (("forget", 6), ("test", 20)):
        share = result[f"{name}_accuracy"] * count
        assert share == pytest.approx(round(share), abs=1e-9)


def test_a_record_is_about_one_half_at_a_time(small: Small, store: Store) -> None:
    """Measured again on the other half, a run leaves no number of the first behind; the retain set stays whole."""
    cpu = Runtime(device="cpu")
    first = run(small(metrics=("accuracy", "margins")), store, cpu)
    second = run(small(metrics=("accuracy",), rows_measured="report"), store, cpu)
    assert second.run_id == first.run_id
    assert (first.result["rows_measured"], second.result["rows_measured"]) == ("all", "report")
    assert (len(first.arrays()["margin_unlearned"]), len(second.arrays()["margin_unlearned"])) == (12, 6)
    assert second.result["retain_accuracy"] == first.result["retain_accuracy"]
    (third,) = measure_runs([second], ["mia"], store, cpu)
    assert {store.load(third.run_id).result["rows_measured"]} == {"report"}


def test_runs_measured_on_different_halves_are_not_pooled(small: Small, store: Store) -> None:
    cpu = Runtime(device="cpu")
    parts = ["report"] * 4 + ["all"]
    records = [
        run(small(seed=seed, metrics=("klom_margins",), rows_measured=part), store, cpu)
        for seed, part in enumerate(parts)
    ]
    (found,) = pool_runs(records, ["klom_easydub"], store)
    assert found.result["runs"] == [record.run_id for record in records[:4]]
    assert found.config["settings"] == {"rows_measured": "report"}
    (other,) = pool_runs(
        [run(small(seed=s, metrics=("klom_margins",)), store, cpu) for s in range(4)], ["klom_easydub"], store
    )
    assert other.run_id != found.run_id
