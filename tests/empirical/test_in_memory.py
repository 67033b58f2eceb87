"""Unlearning from Python, in memory: the pipeline's own functions on anybody's model and data."""

import copy
import dataclasses
import inspect
import io
import json
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from torch import Tensor, nn
from torch.utils.data import (
    ConcatDataset,
    DataLoader,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

import empirical
from empirical.runs.evaluations import measure_metrics
from empirical.runs.experiment import Experiment, Models
from empirical.runs.resources import Resources
from empirical.settings.run_config import RunConfig
from repro.base.errors import ConfigError, DivergedError
from tests.empirical.conftest import Small
from tests.empirical.run_parts import trained_run

QUIET = "ignore::empirical.exchange.in_memory.UnlearningWarning"
pytestmark = pytest.mark.filterwarnings(QUIET)  # most models here learned nothing; the last tests are of the warnings


def small_net(last: nn.Module | None = None, *, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    layers = [nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 12), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(12, 3), *([last] if last else []))


def examples(count: int, seed: int = 0) -> TensorDataset:
    generator = torch.Generator().manual_seed(seed)
    return TensorDataset(torch.rand(count, 1, 8, 8, generator=generator), torch.arange(count) % 3)


@pytest.mark.parametrize("rule", ["sgd", "sam-0.1", "minmax"])
def test_a_users_model_becomes_what_the_pipelines_becomes(small: Small, shared: Resources, rule: str) -> None:
    config = shared.identified(small(rule=rule, metrics=("accuracy", "tow", "distances")))
    data, pipeline = trained_run(config, shared)
    images, split = data.images, data.split
    whole = TensorDataset(images.train_images, images.train_labels)
    retain, forget = (Subset(whole, rows.tolist()) for rows in (split.retain, split.forget))
    settings: dict[str, Any] = {"epochs": config.epochs, "lr": config.lr, "batch_size": config.batch_size}
    made = empirical.unlearn(pipeline.original.network.model, retain, forget, rule=rule, **settings)
    expected = pipeline.unlearned.network.model.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in made.model.state_dict().items())

    test = TensorDataset(images.test_images, images.test_labels)
    models: dict[str, Any] = {role: getattr(pipeline, role).network.model for role in ("original", "retrained")}
    seen = empirical.evaluate(made.model, retain, forget, test, metrics=config.metrics, **models)
    stored = measured_numbers(data, pipeline)
    assert {name: seen[name] for name in stored if "zrf" not in name} == {
        name: value for name, value in stored.items() if "zrf" not in name
    }


def measured_numbers(data: Experiment, models: Models) -> dict[str, float]:
    store, found = data.resources.store, {}
    for identity in measure_metrics(data, models).values():
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


def alike(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def pairs_of(batch: list[Any]) -> Any:
    """Collate images alone, upside down, with their labels: the user's own function."""
    return torch.stack([image.flip(1) for image, _ in batch]), torch.tensor([int(label) for _, label in batch])


def as_words(batch: list[Any]) -> Any:
    images, labels = pairs_of(batch)
    return {"pixel_values": images.flip(3), "labels": labels}


class Stream(torch.utils.data.IterableDataset[Any]):
    def __init__(self, data: TensorDataset) -> None:
        self.data = data

    def __iter__(self) -> Any:
        return iter(self.data)


class Words(torch.utils.data.Dataset[Any]):
    """Examples as Hugging Face's `datasets` gives them."""

    def __init__(self, data: TensorDataset) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, place: int) -> dict[str, Any]:
        image, label = self.data[place]
        return {"image": image, "label": int(label)}


WAYS: dict[str, Callable[[TensorDataset], Any]] = {
    "tensors": lambda data: data.tensors,
    "arrays": lambda data: [one.numpy() for one in data.tensors],
    "a list": lambda data: [(image, int(label)) for image, label in data],
    "dicts": Words,
    "loader of dicts": lambda data: DataLoader(Words(data), 5),
    "words": lambda data: DataLoader(data, 5, collate_fn=as_words),
    "stream": Stream,
    "loader of a stream": lambda data: DataLoader(Stream(data), 5),
    "a generator": lambda data: ((image, label) for image, label in data),
    "batches": lambda data: [(data.tensors[0][:7], data.tensors[1][:7]), (data.tensors[0][7:], data.tensors[1][7:])],
    "workers": lambda data: DataLoader(data, 5, num_workers=1),
    "batch sampler": lambda data: DataLoader(data, batch_sampler=[list(range(9)), list(range(9, len(data)))]),
    "some rows of a larger set": lambda data: DataLoader(
        ConcatDataset([data, examples(9, 3)]), 8, sampler=SubsetRandomSampler(range(len(data)))
    ),
    "no batches": lambda data: DataLoader(data, batch_size=None),
    "drop last": lambda data: DataLoader(data, 5, shuffle=True, drop_last=True),
}


@pytest.mark.parametrize("way", list(WAYS))
def test_examples_may_come_in_any_way_that_torch_knows(way: str) -> None:
    retain, forget, test, model = examples(24), examples(6, 1), examples(9, 2), small_net()
    images, labels = retain.tensors
    upright = TensorDataset(images.flip(2).flip(3), labels) if way == "words" else retain
    given = WAYS[way](retain)
    made = empirical.unlearn(model, given, forget, epochs=1, batch_size=8)
    plain = empirical.unlearn(model, upright, forget, epochs=1, batch_size=8)
    assert alike(made.model, plain.model)
    assert empirical.evaluate(made, WAYS[way](retain), forget, test) == empirical.evaluate(plain, upright, forget, test)


def test_a_sampler_of_the_users_own_decides_what_is_read() -> None:
    retain, forget, model = examples(24), examples(6, 1), small_net()
    twice = DataLoader(retain, 8, sampler=WeightedRandomSampler([1.0] * 4 + [0.0] * 20, 16))
    torch.manual_seed(3)
    drawn = [int(row) for row in WeightedRandomSampler([1.0] * 4 + [0.0] * 20, 16)]
    assert set(drawn) <= set(range(4))
    torch.manual_seed(3)
    torch.empty((), dtype=torch.int64).random_()  # a loader draws the root of its workers' seeds first
    made = empirical.unlearn(model, twice, forget, epochs=1)
    assert made.log.gradient_evaluations == 16 + 2 * 6, "sixteen draws, and a forget batch beside each of two batches"
    few = DataLoader(retain, 8, sampler=SequentialSampler(range(12)))
    assert alike(
        empirical.unlearn(model, few, forget, epochs=1).model,
        empirical.unlearn(model, Subset(retain, range(12)), forget, epochs=1, batch_size=8).model,
    )


class Counted(TensorDataset):
    """Counts how often each example is read."""

    def __init__(self, count: int, seed: int = 0) -> None:
        super().__init__(*examples(count, seed).tensors)
        self.reads = [0] * count

    def __getitem__(self, place: Any) -> tuple[Tensor, ...]:
        self.reads[place] += 1
        return super().__getitem__(place)


def test_each_example_is_read_once() -> None:
    """And sixteen of each set once more, to see whether their transform is random."""
    retain, forget, test = (Counted(count, seed) for seed, count in enumerate((105, 40, 60)))
    made = empirical.unlearn(small_net(), retain, forget, method="salun", epochs=3)
    assert sum(retain.reads) == 105 + 16
    assert sum(forget.reads) == 40 + 16
    before = [list(one.reads) for one in (retain, forget)]
    metrics = ("mia", "attacks", "distances", "margins", "relearning")
    empirical.evaluate(made, retain, forget, test, original=small_net(), retrained=small_net(), metrics=metrics)
    assert [sum(one.reads) - sum(was) for one, was in zip((retain, forget), before, strict=True)] == [105, 40]
    assert test.reads == [1] * 60


def test_a_random_transform_goes_on_in_every_epoch_through_the_loaders_workers() -> None:
    class Noisy(Counted):
        def __getitem__(self, place: Any) -> tuple[Tensor, ...]:
            image, label = super().__getitem__(place)
            return image + torch.rand(1), label

    forget, epochs, batches = examples(8, 1), 3, 24 // 8
    noisy = Noisy(24)
    empirical.unlearn(small_net(), DataLoader(noisy, 8), forget, epochs=epochs)
    fit = 24
    assert 24 + fit + epochs * 24 <= sum(noisy.reads) <= 24 + 16 + fit + epochs * 24 + 2 * batches
    made = empirical.unlearn(small_net(), DataLoader(noisy, 8, num_workers=1), forget, epochs=1)
    assert made.log.epochs[-1]["loss"] is not None


def test_dropout_follows_from_the_seed() -> None:
    def unlearned(before: int, **settings: Any) -> nn.Module:
        model = small_net(nn.Dropout(0.5))
        torch.manual_seed(before)  # whatever the program drew until now
        return empirical.unlearn(model, examples(24), examples(6, 1), batch_size=24, epochs=1, **settings).model

    assert alike(unlearned(1), unlearned(2))
    assert not alike(unlearned(1), unlearned(1, unlearn_seed=1))


def test_bf16_computes_in_bf16_and_not_in_evaluation() -> None:
    sets = examples(24), examples(6, 1)
    full, half = (empirical.unlearn(small_net(), *sets, precision=name, epochs=1).model for name in ("fp32", "bf16"))
    assert not alike(full, half)
    assert next(half.parameters()).dtype == torch.float32
    assert np.isfinite(empirical.evaluate(small_net().bfloat16(), *sets, examples(12, 2))["forget_accuracy"])


def test_numbers_are_of_the_half_that_is_asked_for() -> None:
    model, sets = small_net(), (examples(24), examples(7, 1), examples(13, 2))
    found = {part: empirical.evaluate(model, *sets, rows_measured=part) for part in ("all", "validation", "report")}
    sizes = {"all": (7, 13), "validation": (4, 7), "report": (3, 6)}
    right = {part: [found[part][f"{name}_accuracy"] * size for name, size in zip(("forget", "test"), sizes[part],
             strict=True)] for part in sizes}  # fmt: skip
    assert right["all"] == pytest.approx(np.add(right["validation"], right["report"]))
    assert right["report"] == pytest.approx(np.round(right["report"])) != pytest.approx([0, 0])


def test_a_batch_of_one_image_is_refused_where_nothing_can_normalize_it() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    cases: list[Any] = [((24, 1), {}), ((17, 6), {"batch_size": 16})]
    for sets, settings in cases:
        with pytest.raises(ConfigError, match=r"batch sizes = .*: must be such that no batch is a single image; .*"):
            empirical.unlearn(model, examples(sets[0]), examples(sets[1], 1), **settings)


def test_a_model_whose_parts_are_called_features_and_head_by_chance_is_wrapped() -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features, self.norm, self.head = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Linear(144, 3)

        def forward(self, images: Tensor) -> Tensor:
            return self.head(self.norm(self.features(images)).flatten(1))

    sets, model = (examples(24), examples(6, 1), examples(12, 2)), Named()
    plain = nn.Sequential(model.features, model.norm, nn.Flatten(), model.head)
    assert empirical.evaluate(model, *sets) == empirical.evaluate(plain, *sets)


def test_a_random_model_has_none_of_the_weights_that_were_learned() -> None:
    """ZRF is 1 of a model that answers as a fresh one does: of weights that no layer can draw anew, too."""

    class Raw(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.linspace(-3, 3, 192).view(3, 64))

        def forward(self, images: Tensor) -> Tensor:
            return images.flatten(1) @ self.weight.T

    sets = examples(24), examples(6, 1), examples(12, 2)
    found = empirical.evaluate(Raw(), *sets, original=Raw(), retrained=Raw(), metrics=["distances"])
    assert found["zrf"] < 0.99


def test_evaluation_leaves_every_part_of_a_model_in_its_mode() -> None:
    model = small_net().train()
    frozen = model[1].eval()  # type: ignore[index]
    empirical.evaluate(model, examples(24), examples(6, 1), examples(12, 2))
    assert model.training
    assert not frozen.training


def test_a_models_number_follows_the_model_whatever_its_role() -> None:
    """Three models take turns as the unlearned, the original and the retrained one; the images stay."""
    models, sets = [small_net(seed=seed) for seed in range(3)], (examples(36), examples(12, 1), examples(15, 2))
    metrics = ("mia", "attacks", "entanglement", "hessian", "margins", "klom_margins", "features", "relearning")
    settings: dict[str, Any] = {
        "metrics": [*metrics, "distances", "gap", "tow"],
        "metric_options": {"pretrain_lr": 0.5},
    }

    def seen(unlearned: int, original: int, retrained: int) -> dict[str, Any]:
        roles = {"original": models[original], "retrained": models[retrained]}
        return empirical.evaluate(models[unlearned], *sets, **roles, **settings)

    first, swapped, turned = seen(0, 1, 2), seen(1, 0, 2), seen(2, 0, 1)
    # What is held against the retrained model stays as long as that one does.
    assert follows(first, swapped, "original") == set()
    assert {name for name in follows(first, turned, "retrained") if "excess" not in name} == set()
    assert first["original_hessian_top"] != first["hessian_top"]
    assert first["retrained_relearning_forget"] != first["relearning_forget"]


def follows(first: dict[str, Any], other: dict[str, Any], role: str) -> set[str]:
    """Return what differs between a model's numbers in a role and as the unlearned model; some are compared."""
    own = {name: name.removeprefix(f"{role}_") for name in first if name.startswith(f"{role}_")}
    own |= {name: name.replace(f"_{role}", "_unlearned") for name in first if f"_{role}" in name}
    pairs = {name: as_other for name, as_other in own.items() if as_other in other}
    assert len(pairs) > 20
    return {name for name, as_other in pairs.items() if not np.allclose(first[name], other[as_other], rtol=1e-5)}


def test_relearning_is_sgd_at_a_tenth_of_the_pretraining_rate_in_training_mode() -> None:
    retain, forget, test = examples(36), examples(90, 1), examples(12, 2)
    models = [small_net(seed=seed) for seed in range(2)]
    found = empirical.evaluate(
        models[0], retain, forget, test, retrained=models[1], metrics="relearning", metric_options={"pretrain_lr": 0.8}
    )
    for name, model in zip(("relearning_forget", "retrained_relearning_forget"), models, strict=True):
        optimizer = torch.optim.SGD(model.parameters(), 0.08, momentum=0.9, weight_decay=5e-4)
        for step in range(33):
            if step in found["relearning_steps"]:
                right = model.eval()(forget.tensors[0]).argmax(1) == forget.tensors[1]
                assert found[name][found["relearning_steps"].index(step)] == pytest.approx(right.float().mean().item())
            optimizer.zero_grad()
            nn.functional.cross_entropy(model.train()(retain.tensors[0]), retain.tensors[1]).backward()
            optimizer.step()
        assert len(set(found[name])) > 3
    pairs = zip(found["relearning_forget"], found["retrained_relearning_forget"], strict=True)
    assert found["relearning_excess"] == pytest.approx(np.mean([a - b for a, b in pairs]))


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


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"method": "negrad"}, "did you mean 'neggrad'"),
        ({"lr": -1.0}, "lr = -1.0"),
        ({"dataset": "digits"}, "left out"),
        ({"corruption": "snow-3"}, "left out"),
        ({"trajectory": True}, "left out"),
        ({"precision": "fp64"}, r"give `model\.double\(\)`"),
        ({"method": "retrain"}, "one that starts from the model"),
        ({"preset": "official-release"}, "false except on uint8 images; float32 images would be rounded"),
        ({"method": "finetune", "rule": "minmax"}, "no separate retain and forget loss"),
        ({"epoch": 3}, "did you mean 'epochs'"),
        ({"learning_rate": 0.1}, "did you mean 'lr'"),
        ({"sync_batchnorm": True}, "left out"),
        ({"method": "sharp_minmax"}, "method='neggrad', rule='minmax-sam-0.1'"),
        ({"method": "scrub", "method_options": {"betta": 1.0}}, "did you mean 'beta'"),
        ({"device": "cuda:9"}, "device = 'cuda:9': must be one that torch can use here"),
        ({"pretrain_epochs": 3}, "left out"),
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
        (iter([1]), r"retain\[0\] = 'int': must be a pair"),
        (7, "a Dataset, a DataLoader, two tensors"),
        ([(Image.new("L", (8, 8)), 1)], r"retain\[0\] = 'PIL image': must be a tensor .*ToTensor"),
        (DataLoader(cast("Any", [(Image.new("L", (8, 8)), 1)])), "retain = 'PIL image': must be a tensor .*ToTensor"),
        (TensorDataset(torch.rand(4, 1, 8, 8), torch.eye(4)), r"label of retain\[0\] = \(4,\): .* `label.argmax"),
        ([{"picture": torch.rand(1, 8, 8), "label": 0}], r"'dict of picture, label': must be a pair .*`pixel_values`"),
        (TensorDataset(torch.rand(4, 5), torch.zeros(4)), "an image \\(c, h, w\\)"),
        (TensorDataset(torch.rand(4, 1, 8, 8)), r"retain\[0\] = 'tuple of 1': must be a pair \(image, label\)"),
        (
            TensorDataset(torch.rand(4, 1, 8, 8), torch.arange(4)),
            r"label of retain\[3\] = 3: must be in \[0, 2\]",
        ),
        (torch.rand(4, 1, 8, 8), "retain = 'Tensor': must be a Dataset, a DataLoader, two tensors"),
        ([1, 2], r"retain\[0\] = 'int': must be a pair"),
        (TensorDataset(torch.rand(4, 1, 8, 8), torch.full((4,), 0.5)), r"label of retain\[0\] = 0.5: must be a whole"),
    ],
)
def test_data_that_are_no_images_are_refused(retain: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        empirical.unlearn(small_net(), retain, examples(6, 1))


@pytest.mark.parametrize(("model", "said"), [
    ("resnet18", r"an nn\.Module with weights"), (nn.ReLU(), r"an nn\.Module with weights"),
    (small_net().requires_grad_(False), "none of its weights can be trained"),
])  # fmt: skip
def test_a_model_that_cannot_be_trained_is_refused(model: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        empirical.unlearn(model, examples(24), examples(6, 1))


def test_a_model_that_gives_no_numbers_has_no_metrics_and_one_alone_none_that_pools_runs() -> None:
    broken: Any = small_net()
    with torch.no_grad():
        broken[-1].weight.fill_(torch.nan)
    sets = examples(24), examples(6, 1), examples(6, 2)
    with pytest.raises(ConfigError, match="unlearned: its outputs are not finite"):
        empirical.evaluate(broken, *sets, metrics=("accuracy",))
    with pytest.raises(ConfigError, match="retrained: its outputs are not finite"):
        empirical.evaluate(small_net(), *sets, retrained=broken)
    with pytest.raises(ConfigError, match="metrics = 'ulira': must be left out; it pools"):
        empirical.evaluate(small_net(), *sets, metrics=("ulira",))


# What may mislead is said.


def halves(count: int, seed: int = 0) -> TensorDataset:
    """Return images whose class is the brightest of three bands, which a linear model learns."""
    generator = torch.Generator().manual_seed(seed)
    images, labels = torch.rand(count, 1, 9, 9, generator=generator) / 2, torch.arange(count) % 3
    for band in range(3):
        images[labels == band, :, 3 * band : 3 * band + 3] += 0.5
    return TensorDataset(images, labels)


def linear(*parts: TensorDataset, steps: int = 200) -> nn.Module:
    """Return a linear model, trained on some examples."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(81, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    images, labels = (torch.cat(tensors) for tensors in zip(*(part.tensors for part in parts), strict=True))
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
    return model


def said(work: Callable[[], Any]) -> list[str]:
    """Return the warnings of our category that some work gives."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        work()
    assert all(one.filename == __file__ for one in found), "they point at the line of the user's that called"
    return [str(one.message) for one in found if one.category is empirical.UnlearningWarning]


def test_retain_that_contains_forget_examples_is_named() -> None:
    whole, test = halves(60), halves(30, 5)
    retain, forget, wrong = Subset(whole, range(45)), Subset(whole, range(45, 60)), Subset(whole, range(49))
    model = linear(whole)
    assert said(lambda: empirical.unlearn(model, retain, forget, epochs=1)) == []
    assert said(lambda: empirical.evaluate(model, retain, forget, test)) == []
    for work in (
        lambda: empirical.unlearn(model, wrong, forget, epochs=1),
        lambda: empirical.evaluate(model, wrong, forget, test),
    ):
        (line,) = said(work)
        assert "retain contains 4 of the 15 forget examples" in line
    images, labels = whole.tensors[0][45:], (whole.tensors[1][45:] + 1) % 3
    relabelled = TensorDataset(images, labels)
    assert said(lambda: empirical.unlearn(model, retain, relabelled, epochs=1)) == [], "another label, another example"


def test_overlap_is_seen_in_every_number_format() -> None:
    whole = halves(12)
    for dtype in (torch.float64, torch.bfloat16, torch.uint8):
        data = TensorDataset((whole.tensors[0] * 200).to(dtype), whole.tensors[1])
        (line,) = said(lambda data=data: empirical.evaluate(linear(whole), data, Subset(data, [3]), data))
        assert "retain contains 1 of the 1 forget examples" in line


def test_a_model_that_hardly_fits_what_it_should_keep_is_named_with_its_accuracy() -> None:
    retain, forget = halves(60), halves(15, 1)
    fresh = linear(retain, steps=0)
    images, labels = retain.tensors
    accuracy = (fresh(images).argmax(1) == labels).double().mean().item()
    (line,) = said(lambda: empirical.unlearn(fresh, retain, forget, epochs=1))
    assert f"accuracy on retain is {accuracy:.2f}, below 0.7" in line
    assert said(lambda: empirical.unlearn(linear(retain, forget), retain, forget, epochs=1)) == []


def test_the_fit_is_judged_by_a_part_of_many_examples_with_dropout_off() -> None:
    retain, forget = halves(3000), halves(15, 1)
    model = nn.Sequential(linear(retain, forget), nn.Dropout(0.9)).train()
    assert said(lambda: empirical.unlearn(model, retain, forget, epochs=1, batch_size=512)) == []
    retain.tensors[1][1500:] = (retain.tensors[1][1500:] + 1) % 3
    (line,) = said(lambda: empirical.unlearn(model, retain, forget, epochs=1, batch_size=512))
    assert "accuracy on retain is 0.50" in line


def test_a_result_that_is_no_better_than_doing_nothing_is_named() -> None:
    retain, forget, test = halves(60), halves(30, 1), halves(30, 2)
    forget.tensors[1][:] = (forget.tensors[1] + 1) % 3  # thirty mistakes, which only the original learned
    original, retrained = linear(retain, forget, forget), linear(retain)
    sets = retain, forget, test
    (line,) = said(lambda: empirical.evaluate(copy.deepcopy(original), *sets, original=original, retrained=retrained))
    assert line.startswith("Unlearning was no better than doing nothing")
    assert "it forgot nothing" in line
    assert said(lambda: empirical.evaluate(retrained, *sets, original=original, retrained=retrained)) == []
    assert said(lambda: empirical.evaluate(original, *sets, original=original, retrained=retrained)) == []
    assert said(lambda: empirical.evaluate(copy.deepcopy(original), *sets, original=original)) == []
    assert said(lambda: empirical.evaluate(copy.deepcopy(original), *sets, retrained=retrained)) == []


def test_unlearning_that_diverged_gives_no_model() -> None:
    retain, forget = halves(60), halves(15, 1)
    model = linear(retain, forget)
    with pytest.raises(DivergedError, match=r"unlearning diverged at epoch \d+, step \d+: lr = 1e\+30 .* smaller"):
        empirical.unlearn(model, retain, forget, lr=1e30)


# What the API itself offers.


def test_arguments_have_the_defaults_of_a_run() -> None:
    """Two differ on purpose: images are taken as they are, and a loader knows its batch size."""
    defaults = {field.name: field.default for field in dataclasses.fields(RunConfig)}
    for function, own in (
        (empirical.unlearn, {"augment", "batch_size", "method_options"}),
        (empirical.evaluate, {"original"}),
    ):
        for name, parameter in inspect.signature(function).parameters.items():
            if name in defaults and name not in own and parameter.default is not inspect.Parameter.empty:
                assert parameter.default == defaults[name], name


@pytest.mark.parametrize("kind", ["dict", "object"])
def test_a_model_may_answer_with_more_than_logits(kind: str) -> None:
    class Wordy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = small_net()

        def forward(self, images: Tensor) -> Any:
            found = {"logits": self.net(images), "hidden": images}
            return found if kind == "dict" else SimpleNamespace(**found)

    sets, model = (examples(24), examples(6, 1), examples(12, 2)), Wordy()
    made, plain = (empirical.unlearn(one, *sets[:2], epochs=1) for one in (model, model.net))
    assert type(made.model) is Wordy
    assert alike(made.model.net, plain.model)
    numbers = [empirical.evaluate(one, *sets, metrics=("accuracy", "margins")) for one in (made, plain)]
    assert all(np.array_equal(numbers[0][name], numbers[1][name]) for name in numbers[1])


def test_every_epoch_is_told_with_the_accuracies_at_its_end() -> None:
    told: list[dict[str, Any]] = []
    retain, forget = halves(60), halves(15, 1)
    made = empirical.unlearn(linear(retain), retain, forget, epochs=3, lr=0.1, progress=True, on_epoch=told.append)
    assert [row["epoch"] for row in told] == [1, 2, 3]
    images, labels = forget.tensors
    assert told[-1]["forget_accuracy"] == (made.model(images).argmax(1) == labels).double().mean().item()
    assert told[-1]["loss"] == made.log.epochs[-1]["loss"]
    quiet = empirical.unlearn(linear(retain), retain, forget, epochs=3, lr=0.1)
    assert alike(made.model, quiet.model), "looking changes nothing"


def test_a_device_may_be_named_and_the_given_models_stay_where_they_are() -> None:
    sets, model = (examples(24), examples(6, 1), examples(12, 2)), small_net()
    made = empirical.unlearn(model, *sets[:2], epochs=1, device="cpu")
    assert empirical.evaluate(made, *sets, original=model, device="cpu") == empirical.evaluate(
        made.model, *sets, original=model
    )
    assert next(model.parameters()).device.type == "cpu"


def test_a_table_says_of_each_number_which_way_is_better() -> None:
    sets = examples(24), examples(6, 1), examples(12, 2)
    models: dict[str, Any] = {"original": small_net(seed=1), "retrained": small_net(seed=2)}
    numbers = empirical.evaluate(small_net(), *sets, **models, metrics=["tow", "gap"])
    table: Any = numbers.table()
    assert table.loc["tow", "better"] == "higher"
    assert table.loc["tow", "target"] == 1
    assert table.loc["average_gap", "better"] == "lower"
    assert table.loc["forget_accuracy", "better"] == "as retrained"
    assert table.loc["forget_accuracy", "target"] == numbers["retrained_forget_accuracy"]
    assert table.loc["tow", "original"] == numbers["original_tow"]
    assert (table["meaning"] != "").all()
    alone: Any = empirical.evaluate(small_net(), *sets, metrics="mia").table()
    assert np.isnan(alone.loc["mia_confidence", "target"]), "nobody knows it without a retrained model"


def test_without_the_packages_of_networks_one_line_says_what_to_install(tmp_path: Path) -> None:
    code = """
import sys
sys.modules["torch"] = None
import empirical
try:
    empirical.unlearn
except ModuleNotFoundError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'sharpness-aware-unlearning[networks]'" in done.stdout
    assert len(done.stdout.splitlines()) == 1


# Comparing.


@pytest.fixture(scope="module")
def mistaken() -> dict[str, Any]:
    """Return sets and models of which the original learned wrong labels by heart, and the retrained one did not."""
    retain, forget, test = halves(60), halves(30, 1), halves(60, 2)
    forget.tensors[1][:] = (forget.tensors[1] + 1) % 3
    sets = {"retain": retain, "forget": forget, "test": test}
    return {**sets, "model": linear(retain, forget, forget), "retrained": linear(retain)}


def test_a_comparison_names_what_came_nearest_to_the_retrained_model(mistaken: dict[str, Any]) -> None:
    found = empirical.compare(**mistaken, methods=("finetune", "neggrad"), rules="sgd", rates=(0.01, 0.1))
    table: Any = found.table().set_index("method")
    assert list(table.index) == ["do nothing", "retrained", "finetune", "neggrad"]
    assert table.loc["retrained", "tow"] == 1
    assert found.best is not None
    made = found.models[found.best["method"], found.best["rule"]]
    sets = [mistaken[name] for name in ("retain", "forget", "test")]
    numbers = empirical.evaluate(
        made, *sets, original=mistaken["model"], retrained=mistaken["retrained"], rows_measured="report"
    )
    assert table.loc[found.best["method"], "tow"] == numbers["tow"] > table.loc["do nothing", "tow"]
    assert table.loc["do nothing", "tow"] == numbers["original_tow"]
    again = empirical.unlearn(mistaken["model"], mistaken["retain"], mistaken["forget"], **found.best)
    assert alike(again.model, made.model)
    assert table.loc[found.best["method"], "gradients"] == made.log.gradient_evaluations


def test_the_rate_is_chosen_on_the_half_that_is_not_reported(mistaken: dict[str, Any]) -> None:
    sets = [mistaken[name] for name in ("retain", "forget", "test")]
    rates = (0.01, 0.05)
    found = empirical.compare(**mistaken, methods="finetune", rules="sgd", rates=rates, epochs=2)
    (row,) = (row for row in found.rows if row["method"] == "finetune")

    def score(lr: float) -> float:
        made = empirical.unlearn(mistaken["model"], *sets[:2], method="finetune", epochs=2, lr=lr)
        return empirical.evaluate(made, *sets, retrained=mistaken["retrained"], rows_measured="validation")["tow"]

    assert all(score(row["lr"]) >= score(rate) for rate in rates)


def test_without_a_retrained_model_the_target_is_said(mistaken: dict[str, Any]) -> None:
    found = empirical.compare(**{**mistaken, "retrained": None}, methods="finetune", rules="sgd", epochs=1)
    assert "no retrained model" in found.target
    assert "retrained" not in set(found.table()["method"])


def test_what_a_reader_should_know_of_a_comparison_stands_below_it(mistaken: dict[str, Any]) -> None:
    lines = said(
        lambda: empirical.compare(
            **mistaken, methods=("finetune", "neggrad"), rules=("minmax-sgd", "sgd"), rates=(1e30, 1e-9), epochs=1
        )
    )
    assert [line for line in lines if "finetune by minmax-sgd is left out" in line]
    assert [line for line in lines if "is an end of it" in line]
    found = empirical.compare(**mistaken, methods="ssd", rules="sgd", rates=(1e30,))
    assert found.table()["options"].str.startswith("selection=").sum() == 1, "a method of no steps has no rate"
    fixed = empirical.compare(**mistaken, methods="ssd", rules="sgd", method_options={"ssd": {"selection": 7.0}})
    assert set(fixed.table()["options"]) == {"", "selection=7"}
    console = Console(width=80, record=True, file=io.StringIO())
    found.show(console)
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= 80
    assert all(line.split()[0] in text for line in found.warnings)
    with pytest.raises(ConfigError, match="no pair goes together"):
        empirical.compare(**mistaken, methods=("finetune", "ssd"), rules="minmax-sgd")
    with pytest.raises(ConfigError, match="rates"):
        empirical.compare(**mistaken, rates=(0.0,))
