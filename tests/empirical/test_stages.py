"""What a stage starts from, reads and leaves: the wiring between a run's config and its trained models."""

import itertools
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from empirical.augmentation.corruptions import corrupted_images
from empirical.metrics.outputs import model_outputs
from empirical.models.network import Network
from empirical.runs.evaluations import make_evaluation
from empirical.runs.experiment import train_original, train_retrained
from empirical.runs.resources import Resources
from empirical.runs.run import run
from empirical.runs.subset_models import SubsetModels
from empirical.settings.keys import subset_key
from empirical.settings.run_config import MemorizationConfig, RunConfig, Runtime, config_for
from empirical.training.loop import Log, fit
from empirical.training.rules import Branches
from empirical.training.saliency import forget_gradient, saliency_mask
from empirical.training.step import Stage
from repro.records.store import Store
from tests.empirical.conftest import Small, small_resnet
from tests.empirical.run_parts import mask_of, prepared, trained_run


@pytest.fixture
def small() -> Small:
    return small_resnet


def weights(network: Any) -> Tensor:
    return torch.cat([weight.detach().flatten() for weight in network.parameters()])


def test_retraining_has_never_seen_the_forget_set(shared: Resources) -> None:
    """A model retrained without a whole class never names it; the original names it almost always."""
    config = RunConfig(difficulty="class", forget_class=3, pretrain_epochs=4, epochs=1)
    data, models = trained_run(config, shared)
    shares = {}
    for name in ("original", "retrained"):
        answers = model_outputs(getattr(models, name).network, data.images).train.logits.argmax(1)
        shares[name] = float(np.mean(answers[data.split.forget] == 3))
    assert shares["original"] > 0.7
    assert shares["retrained"] == 0.0


def test_retraining_starts_from_fresh_weights_and_other_seeds_from_others(small: Small, shared: Resources) -> None:
    cells = [small(pretrain_lr=1e-12, weight_decay=0.0, seed=seed) for seed in (0, 1)]
    models = [
        weights(train(data).network)
        for data in (prepared(cell, shared) for cell in cells) for train in (train_original, train_retrained)
    ]  # fmt: skip
    for place, model in enumerate(models):
        assert all(not torch.allclose(model, other, atol=1e-3) for other in models[:place])


def moved(config: RunConfig, resources: Resources) -> float:
    _, models = trained_run(config, resources)
    return float((weights(models.unlearned.network) - weights(models.original.network)).norm())


@pytest.mark.parametrize(("more", "less"), [
    ({"lr": 0.05}, {"lr": 0.005}),
    ({"epochs": 3}, {"epochs": 1}),
    ({"momentum": 0.9}, {"momentum": 0.0}),
    ({"schedule": "constant"}, {"schedule": "cosine"}),
    ({"warmup_epochs": 0}, {"warmup_epochs": 1, "epochs": 1}),
], ids=str)  # fmt: skip
def test_the_settings_of_unlearning_reach_its_steps(
    more: dict[str, Any], less: dict[str, Any], small: Small, shared: Resources
) -> None:
    base = {"method": "finetune", "weight_decay": 0.0, "epochs": 2, "lr": 0.01}
    assert moved(small(**(base | more)), shared) > 1.2 * moved(small(**(base | less)), shared)


def test_every_model_of_a_corrupted_run_and_its_mask_see_the_corrupted_images(
    small: Small, resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A retrained model of clean images would be a reference for another task, and a mask of them another mask."""
    config = small(dataset="digits", dataset_options="", n_train=60, n_test=20, model="resnet8-narrow", rule="minmax",
                   corruption="gaussian_noise-5")  # fmt: skip
    seen: list[Stage] = []

    def watched(network: Network, stage: Stage, *args: Any, **kwargs: Any) -> Log:
        seen.append(stage)
        return fit(network, stage, *args, **kwargs)

    monkeypatch.setattr("empirical.runs.stages.fit", watched)
    data, models = trained_run(config, resources)
    noisy = corrupted_images(data.config, data.images)
    assert float((noisy.float() - data.images.train_images.float()).abs().mean()) > 5
    assert [torch.equal(stage.images, noisy) for stage in seen] == [True] * 3
    assert torch.equal(make_evaluation(data, models).trained_on, noisy), "and so do the metrics"
    rows, labels = torch.from_numpy(data.split.forget), data.images.train_labels
    mask = saliency_mask(forget_gradient(models.original.network.copy(), noisy, labels, rows), config.mask_fraction)
    assert isinstance(rule := seen[-1].rule, Branches)
    assert all(torch.equal(*pair) for pair in zip(mask, rule.forget.scope.mask or (), strict=True))


def test_images_that_a_process_has_corrupted_are_those_of_one_corruption_and_one_way_to_blur(
    shared: Resources,
) -> None:
    runs = [("none", ""), ("snow-1", ""), ("glass_blur-1", ""), ("glass_blur-1", "glass_blur=copy")]
    held = [shared.train_images(RunConfig(n_train=20, corruption=kind, switches=one)) for kind, one in runs]
    assert not any(torch.equal(one, other) for one, other in itertools.combinations(held, 2))


@pytest.mark.parametrize("cell", [{"method": "salun"}, {"rule": "masked-sam-0.1"}], ids=str)
def test_a_masked_run_moves_salient_weights_only(cell: dict[str, str], small: Small, shared: Resources) -> None:
    """Weights outside the mask keep the original's bits, weight decay and momentum included."""
    data, models = trained_run(small(**cell, epochs=2, weight_decay=0.01), shared)
    salient = torch.cat([mask.flatten() for mask in mask_of(data)])
    before, after = weights(models.original.network), weights(models.unlearned.network)
    assert torch.equal(before[~salient], after[~salient])
    assert (before[salient] != after[salient]).float().mean() > 0.9


def test_a_subset_model_fits_its_subset_and_knows_nothing_of_the_rest(shared: Resources) -> None:
    """Without a signal the labels are coin flips: what a model was trained on it knows, the rest it guesses."""
    config = MemorizationConfig(
        "signal-noise", "side=16, n=60, n_test=10, signal_strength=0", model="patch-cnn", subsets=4, epochs=20, lr=0.3,
        batch_size=8,
    )  # fmt: skip
    record = SubsetModels(config, shared).record()
    assert record.result["inside_accuracy"] > 0.9
    assert record.result["outside_accuracy"] < 0.75
    assert record.result["mean"] == pytest.approx(np.nanmean(record.arrays()["scores"]))
    assert record.result["mean"] > 0.3


def test_subset_models_of_another_seed_or_number_are_other_models_of_the_same_images(shared: Resources) -> None:
    config = MemorizationConfig("signal-noise", "side=8, n=20, n_test=10", subsets=4, epochs=1, batch_size=8)
    weights = []
    for one, number in ((config, 0), (replace(config, seed=1), 0), (config, 1)):
        SubsetModels(one, shared).correct(number, np.arange(20) < 14)
        kept = shared.store.stages.find(subset_key(one.training(), one.fraction, number).id)
        assert kept is not None
        weights.append(load_file(kept / "weights.safetensors")["head.weight"])
    assert not torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_a_run_that_diverges_is_a_row_with_its_epoch_and_without_numbers(small: Small, store: Store) -> None:
    record = run(small(lr=1e30, epochs=2), store)
    assert record.status == "diverged"
    assert record.result["diverged_at"]["epoch"] in (1, 2)
    assert "tow" not in record.result
    assert run(small(lr=1e30, epochs=2), store).provenance == record.provenance


def test_runs_with_other_test_images_in_one_process_are_judged_on_their_own(small: Small, shared: Resources) -> None:
    """An accuracy on 7 images is a multiple of 1/7, for the original too, whose outputs runs share."""
    for count in (7, 11):
        result = run(small(n_test=count, metrics=("accuracy",)), shared.store, resources=shared).result
        for name in ("test_accuracy", "original_test_accuracy", "retrained_test_accuracy"):
            assert result[name] * count == pytest.approx(round(result[name] * count), abs=1e-9)


def test_a_record_says_what_its_own_stage_and_retraining_took(small: Small, store: Store) -> None:
    result = run(small(metrics=("accuracy",)), store, Runtime(device="cpu")).result
    kept = {stage: json.loads((store.root / "models" / result["parents"][stage] / "provenance.json").read_text())
            for stage in ("unlearn", "retrain")}  # fmt: skip
    for stage, one in kept.items():
        assert result[f"seconds_{stage}"] == one["seconds"] > 0
    assert result["seconds_unlearn"] != result["seconds_retrain"]
    assert result["peak_memory_bytes"] == kept["unlearn"]["peak_memory_bytes"]


def test_a_trajectory_ends_where_the_record_says_and_stays_with_the_stage(small: Small, store: Store) -> None:
    config = small(trajectory=True, rows_measured="report", epochs=2, metrics=("accuracy",))
    record = run(config, store)
    seen = [row for epoch in record.epochs() for row in epoch["accuracies"]]
    assert [row["progress"] for row in seen[-2:]] == [1.0, 2.0]
    assert seen[-1]["gradient_evaluations"] == record.result["gradient_evaluations"]
    for name in ("retain", "forget", "test"):
        assert seen[-1][name] == pytest.approx(record.result[f"{name}_accuracy"], abs=1e-6)
    store.add_evaluations(record.run_id, {})
    (store.root / "runs" / record.run_id / "result.json").unlink()
    again = run(config, store)
    assert again.epochs() == record.epochs()


def test_a_trajectory_outlives_a_later_metric_of_weights_that_were_not_kept(small: Small, store: Store) -> None:
    first = run(
        small(trajectory=True, epochs=2, metrics=("accuracy",)), store, Runtime(device="cpu", keep_models=False)
    )
    again = run(small(epochs=2, metrics=("tow",)), store, Runtime(device="cpu", keep_models=False))
    assert again.run_id == first.run_id
    assert again.config["trajectory"]
    assert "tow" in again.result
    assert again.epochs() == first.epochs()
    assert any(row.get("accuracies") for row in again.epochs())


def test_a_trajectory_changes_no_identity_and_no_weight(small: Small, store: Store, tmp_path: Path) -> None:
    without, with_ = run(small(), store), run(small(trajectory=True), Store(tmp_path / "other"))
    assert with_.run_id == without.run_id
    assert with_.result["parents"] == without.result["parents"]
    assert with_.result["tow"] == without.result["tow"]
    assert not any("accuracies" in row for row in without.epochs())


def test_accuracies_on_other_images_than_those_measured_stay_out_of_a_record(small: Small, store: Store) -> None:
    run(small(trajectory=True, rows_measured="validation"), store)
    shutil.rmtree(store.root / "runs")
    record = run(small(trajectory=True, rows_measured="report"), store)
    assert not any("accuracies" in row for row in record.epochs())


def test_a_graded_cell_says_how_far_its_scores_can_be_trusted(small: Small, shared: Resources) -> None:
    config = small(difficulty="high", subsets=8)
    result = run(config, shared.store, resources=shared).result
    estimate = SubsetModels(config_for(shared.identified(config)), shared).record().result
    assert result["memorization_reliability"] == estimate["reliability"] <= 1
    assert 0 < result["memorization_ties"] == estimate["ties"] <= 1
    assert "memorization_ties" not in run(small(), shared.store, resources=shared).result


def test_subset_models_are_those_a_config_names(small: Small) -> None:
    default = config_for(small(difficulty="high", precision="bf16"))
    named = config_for(small(difficulty="high", precision="bf16", subset_model="resnet8-wide", subset_epochs=6))
    assert (default.model, default.epochs, default.precision) == ("resnet8-narrow", 2, "fp32")
    assert (named.model, named.epochs, named.precision) == ("resnet8-wide", 6, "bf16")
    assert named.training().precision == "bf16"
    fp32 = small(difficulty="high", precision="bf16", subset_model="resnet8-wide", subset_precision="fp32")
    assert config_for(fp32).training().precision == "fp32"
    # They train as long as the original, but 20 epochs at most unless a config says otherwise.
    epochs = [config_for(small(pretrain_epochs=50, subset_epochs=asked)).epochs for asked in (0, 30)]
    assert epochs == [20, 30]
    assert config_for(small(pretrain_epochs=19)).epochs == 19
    # An estimate belongs to the data and to the forget seed.
    one, other = (config_for(small(difficulty="high", data="d", **c)) for c in ({}, {"forget_seed": 3}))
    assert (one.data, one.seed, other.seed) == ("d", 0, 3)
    assert config_for(small(difficulty="high", seed=5)) == config_for(small(difficulty="high", seed=6))


def test_a_run_whose_stage_was_kept_before_it_was_killed_knows_what_its_mask_cost(
    small: Small, resources: Resources
) -> None:
    config = small(method="salun")
    first = run(config, resources.store, resources=resources).result["seconds_mask"]
    shutil.rmtree(resources.store.root / "runs")
    again = run(config, resources.store, resources=Resources(resources.store, resources.runtime)).result
    assert first == again["seconds_mask"] > 0
