"""Unlearning from Python, in memory: the pipeline's own functions on anybody's model and data."""

import copy
import json
import warnings
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

import empirical
from empirical.runs.evaluations import measure
from empirical.runs.experiment import Experiment
from empirical.runs.workspace import Workspace
from empirical.settings.run_config import RunConfig
from repro.base.errors import ConfigError, DivergedError

Small = Callable[..., RunConfig]
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


def alike(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_a_loader_that_draws_from_some_rows_gives_these_alone() -> None:
    """One data set, two samplers: the usual way to tell retained from forgotten examples."""
    whole, model = examples(30), small_net()
    rows = [list(range(20)), list(range(20, 30))]
    loaders = [DataLoader(whole, 8, sampler=SubsetRandomSampler(part)) for part in rows]
    subsets = [Subset(whole, part) for part in rows]
    parts = empirical.unlearn(model, *loaders), empirical.unlearn(model, *subsets, batch_size=8)
    assert alike(parts[0].model, parts[1].model)
    assert empirical.evaluate(model, *loaders, whole) == empirical.evaluate(model, *subsets, whole)


def together(batch: list[Any]) -> Any:
    return batch


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"sampler": WeightedRandomSampler([1.0] * 24, 24)}, "sampler of retain = 'WeightedRandomSampler'"),
        ({"sampler": RandomSampler(range(24), replacement=True)}, "sampler of retain = 'RandomSampler'"),
        ({"sampler": RandomSampler(range(24), num_samples=6)}, "one that reads every example once"),
        ({"sampler": SequentialSampler(range(12))}, "give the dataset, or a Subset of it"),
        ({"collate_fn": together}, "collate_fn of retain = 'function'"),
        ({"batch_sampler": [[0, 1], [2, 3]]}, "batch_sampler of retain = 'list'"),
        ({"batch_sampler": BatchSampler(RandomSampler(range(6)), 2, False)}, "batch_sampler of retain"),
    ],
)
def test_a_loader_that_does_more_than_batch_its_data_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        empirical.unlearn(small_net(), DataLoader(examples(24), **options), examples(6, 1))
    plain = DataLoader(examples(24), batch_size=None), DataLoader(examples(24), batch_sampler=None)
    assert all(empirical.unlearn(small_net(), one, examples(6, 1), epochs=1).log.epochs for one in plain)


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
    for sets, settings in (((24, 1), {}), ((17, 6), {"batch_size": 16})):
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
    settings: dict[str, Any] = {"metrics": [*metrics, "distances", "gap", "tow"], "pretrain_lr": 0.5}

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


def test_a_landscape_has_the_loss_of_its_model_on_its_images_at_the_centre() -> None:
    models = {role: small_net(seed=seed) for seed, role in enumerate(("unlearned", "original", "retrained"))}
    sets = {"retain": examples(24), "forget": examples(9, 1), "test": examples(12, 2)}
    settings: dict[str, Any] = {"metrics": ["landscape"], "landscape_points": 3}
    others = {role: models[role] for role in ("original", "retrained")}
    found = empirical.evaluate(models["unlearned"], *sets.values(), **others, **settings)
    for role, model in models.items():
        for name in ("forget", "test"):
            images, labels = sets[name].tensors
            loss = nn.functional.cross_entropy(model.eval()(images), labels).item()
            assert found[f"landscape_{role}_{name}"][1, 1] == pytest.approx(loss, rel=1e-5)


def test_relearning_is_sgd_at_a_tenth_of_the_pretraining_rate_in_training_mode() -> None:
    retain, forget, test = examples(36), examples(90, 1), examples(12, 2)
    models = [small_net(seed=seed) for seed in range(2)]
    found = empirical.evaluate(
        models[0], retain, forget, test, retrained=models[1], metrics=["relearning"], pretrain_lr=0.8
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
        ({"corruption": "snow-3"}, "left out"),
        ({"trajectory": True}, "left out"),
        ({"precision": "fp64"}, r"give `model\.double\(\)`"),
        ({"method": "retrain"}, "one that starts from the model"),
        ({"preset": "official-release"}, "false except on uint8 images; float32 images would be rounded"),
        ({"method": "finetune", "rule": "minmax"}, "no separate retain and forget loss"),
        ({"epoch": 3}, "did you mean 'epochs'"),
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


def test_a_model_that_gives_no_numbers_has_no_metrics() -> None:
    broken: Any = small_net()
    with torch.no_grad():
        broken[-1].weight.fill_(torch.nan)
    sets = examples(24), examples(6, 1), examples(6, 2)
    with pytest.raises(ConfigError, match="unlearned: its outputs are not finite"):
        empirical.evaluate(broken, *sets, metrics=("accuracy",))
    with pytest.raises(ConfigError, match="retrained: its outputs are not finite"):
        empirical.evaluate(small_net(), *sets, retrained=broken)


def test_what_pools_the_runs_of_many_seeds_is_refused_of_one_model() -> None:
    with pytest.raises(ConfigError, match="metrics = 'ulira': must be left out; it pools"):
        empirical.evaluate(small_net(), examples(24), examples(6, 1), examples(6, 2), metrics=("ulira",))


def test_a_model_of_which_nothing_may_move_is_refused() -> None:
    with pytest.raises(ConfigError, match="none of its weights can be trained"):
        empirical.unlearn(small_net().requires_grad_(False), examples(24), examples(6, 1))


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
