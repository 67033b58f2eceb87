"""Unlearning from Python, in memory: the pipeline's own functions on anybody's model and data."""

import json
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset, TensorDataset

import empirical
from empirical.runs.evaluations import measure
from empirical.runs.experiment import Experiment
from empirical.runs.workspace import Workspace
from empirical.settings.run_config import RunConfig
from repro.base.errors import ConfigError

Small = Callable[..., RunConfig]


def small_net(last: nn.Module | None = None) -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 12), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(12, 3), *([last] if last else []))


def examples(count: int, seed: int = 0) -> TensorDataset:
    generator = torch.Generator().manual_seed(seed)
    return TensorDataset(torch.rand(count, 1, 8, 8, generator=generator), torch.arange(count) % 3)


@pytest.mark.parametrize("rule", ["sgd", "sam-0.1", "minmax"])
def test_a_users_model_becomes_what_the_pipelines_becomes(small: Small, shared: Workspace, rule: str) -> None:
    config = shared.identified(small(rule=rule, metrics=("accuracy", "tow", "distances")))
    experiment = Experiment(config, shared)
    images, split = experiment.images, experiment.split
    whole = TensorDataset(images.train_images, images.train_labels)
    retain, forget = (Subset(whole, rows.tolist()) for rows in (split.retain, split.forget))
    settings: dict[str, Any] = {"epochs": config.epochs, "lr": config.lr, "batch_size": config.batch_size}
    made = empirical.unlearn(experiment.original.network.model, retain, forget, rule=rule, **settings)
    expected = experiment.unlearned.network.model.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in made.model.state_dict().items())

    test = TensorDataset(images.test_images, images.test_labels)
    models = {"original": experiment.original.network.model, "retrained": experiment.retrained.network.model}
    seen = empirical.evaluate(made.model, retain, forget, test, metrics=config.metrics, **models)
    stored = measured_numbers(experiment)
    assert {name: seen[name] for name in stored if "zrf" not in name} == {
        name: value for name, value in stored.items() if "zrf" not in name
    }


def measured_numbers(experiment: Experiment) -> dict[str, float]:
    store, found = experiment.workspace.store, {}
    for identity in measure(experiment).values():
        result = next(store.root.glob(f"evaluations/{identity}/result.json"))
        found |= json.loads(result.read_text())["result"]
    return {name: value for name, value in found.items() if isinstance(value, float)}


def test_the_given_model_and_its_mode_stay_as_they_are() -> None:
    model = small_net().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    made = empirical.unlearn(model, examples(24), examples(6, 1), lr=0.1)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert type(made.model) is type(model)
    assert not torch.equal(made.model.state_dict()["0.weight"], before["0.weight"])
    assert made.log.epochs[-1]["epoch"] == 5
    assert made.log.gradient_evaluations > 0


def test_a_loader_gives_its_data_and_batch_size_and_not_its_order() -> None:
    retain, forget, model = examples(24), examples(6, 1), small_net()
    loaded = empirical.unlearn(model, DataLoader(retain, batch_size=8, shuffle=True), forget)
    listed = empirical.unlearn(model, retain, forget, batch_size=8)
    other = empirical.unlearn(model, retain, forget, batch_size=12)
    pairs = zip(loaded.model.parameters(), listed.model.parameters(), other.model.parameters(), strict=True)
    assert all(torch.equal(a, b) and not torch.equal(a, c) for a, b, c in pairs)


def test_features_are_what_enters_the_last_linear_layer() -> None:
    from empirical.models.plain import Wrapped

    images = torch.rand(5, 1, 8, 8)
    wrapped = Wrapped(small_net(), images).eval()
    assert wrapped.features(images).shape == (5, 12)
    assert torch.equal(wrapped.head(wrapped.features(images)), wrapped(images))
    softened = Wrapped(small_net(nn.LogSoftmax(1)), images).eval()
    assert torch.equal(softened.head(softened.features(images)), softened(images))


def test_without_a_retrained_model_what_needs_one_is_absent_and_named() -> None:
    model, (retain, forget, test) = small_net(), (examples(24), examples(6, 1), examples(12, 2))
    found = empirical.evaluate(model, retain, forget, test, metrics=["gap", "distances", "attacks"])
    assert set(found["absent_metrics"]) == {"gap", "distances"}
    assert "retrained model" in found["absent_metrics"]["gap"]
    assert "attack_loss_auc" in found
    assert "forget_accuracy" in found
    assert not [name for name in found if "original" in name or "retrained" in name]


def test_accuracies_are_those_of_the_model_on_each_set() -> None:
    model, sets = small_net().eval(), {"retain": examples(24), "forget": examples(6, 1), "test": examples(12, 2)}
    found = empirical.evaluate(model, *sets.values())
    for name, data in sets.items():
        images, labels = data.tensors
        assert found[f"{name}_accuracy"] == int((model(images).argmax(1) == labels).sum()) / len(labels)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"method": "negrad"}, "did you mean 'neggrad'"),
        ({"lr": -1.0}, "lr = -1.0"),
        ({"dataset": "digits"}, "left out"),
        ({"method": "finetune", "rule": "minmax"}, "no separate retain and forget loss"),
        ({"epoch": 3}, "did you mean 'epochs'"),
    ],
)
def test_a_bad_setting_is_refused_before_training(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        empirical.unlearn(small_net(), examples(24), examples(6, 1), **change)


class Ragged(torch.utils.data.Dataset[tuple[Tensor, int]]):
    def __len__(self) -> int:
        return 4

    def __getitem__(self, place: int) -> tuple[Tensor, int]:
        return torch.rand(1, 8 + place, 8), 0


@pytest.mark.parametrize(
    ("retain", "said"),
    [
        (Ragged(), r"retain\[1\] = \(1, 9, 8\)"),
        (Subset(examples(4), []), "retain = 'empty'"),
        (iter([1]), "a Dataset with a length"),
        (TensorDataset(torch.rand(4, 5), torch.zeros(4)), "images \\(c, h, w\\)"),
        (TensorDataset(torch.rand(4, 1, 8, 8)), r"retain\[0\] = 'tuple of 1': must be a pair \(image, label\)"),
        (torch.rand(4, 1, 8, 8), r"retain\[0\] = 'Tensor': must be a pair"),
        ([1, 2], r"retain\[0\] = 'int': must be a pair"),
        (TensorDataset(torch.rand(4, 1, 8, 8), torch.full((4,), 0.5)), r"label of retain\[0\] = 0.5: must be a whole"),
    ],
)
def test_data_that_are_no_images_are_refused(retain: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        empirical.unlearn(small_net(), retain, examples(6, 1))


def test_a_model_must_be_a_module_with_weights() -> None:
    for model in ("resnet18", nn.ReLU()):
        with pytest.raises(ConfigError, match=r"an nn\.Module with weights"):
            empirical.unlearn(cast("nn.Module", model), examples(4), examples(6, 1))


def test_a_label_outside_the_models_classes_is_refused() -> None:
    wrong = TensorDataset(torch.rand(4, 1, 8, 8), torch.tensor([0, 1, 2, 3]))
    with pytest.raises(ConfigError, match=r"must be in \[0, 2\]"):
        empirical.unlearn(small_net(), wrong, examples(6, 1))


def test_a_dataset_that_augments_keeps_doing_so() -> None:
    from empirical.data.memory import listed

    class Noisy(TensorDataset):
        def __getitem__(self, index: Any) -> tuple[Tensor, ...]:
            image, label = super().__getitem__(index)
            return image + torch.rand(1), label

    images, labels = listed(("retain", Noisy(*examples(6).tensors)), ("forget", examples(3, 1)))
    rows = torch.tensor([1, 7])
    first, second = images[rows], images[rows]
    assert not torch.equal(first[0], second[0])
    assert torch.equal(first[1], examples(3, 1).tensors[0][1])
    assert np.array_equal(labels.numpy(), [0, 1, 2, 0, 1, 2, 0, 1, 2])
