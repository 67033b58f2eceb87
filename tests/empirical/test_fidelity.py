"""Every discrepancy switch shows both behaviours (of rules: test_rules), and the presets set what they say."""

import importlib.util
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from empirical.augmentation.augment import augmentation
from empirical.augmentation.corruptions import corrupt
from empirical.data.forget import Split, choose_forget
from empirical.data.images import ImageSet
from empirical.metrics.attacks import attack_rows, forgotten_share, svc_attack
from empirical.metrics.closeness import accuracies
from empirical.metrics.evaluation import Evaluation
from empirical.metrics.landscape import directions
from empirical.metrics.outputs import ModelOutputs, model_outputs
from empirical.models.network import Network
from empirical.models.resnet import Classifier
from empirical.registry import METRICS
from empirical.released import NUMBERS, Fidelity, published_reference, resolve_switches
from empirical.runs.resources import Resources
from empirical.runs.run import run
from empirical.runs.stages import build_network
from empirical.runs.unlearning import build_method
from empirical.settings.run_config import RunConfig
from empirical.training.batches import Examples
from empirical.training.loop import learning_rate
from empirical.training.rules import Masked, RuleContext, Sam, build_rule
from empirical.training.step import Logits, Step
from repro.base.errors import ConfigError
from tests.empirical.cells import METHODS, build
from tests.empirical.conftest import Small, small_resnet
from tests.empirical.run_parts import evaluated, mask_of, prepared
from tests.empirical.tiny import IMAGES, original, weights

DOCS = Path(__file__).parents[2] / "docs" / "differences.md"
LABELS = np.repeat(np.arange(10), 40)


@pytest.fixture
def small() -> Small:
    return small_resnet


def single(name: str, value: Any) -> Fidelity:
    return replace(Fidelity(), **{name: value})


def switch_names() -> list[str]:
    return [field.name for field in fields(Fidelity)]


def result(small: Small, shared: Resources, switches: str = "", **changes: Any) -> dict[str, Any]:
    return run(small(switches=switches, **changes), shared.store, resources=shared).result


def documented() -> dict[str, tuple[str, ...]]:
    """Return the other cells of every switch's row in the table of docs/differences.md."""
    rows = [line.strip("| \n").split(" | ") for line in DOCS.read_text().splitlines() if line.startswith("| D")]
    return {name.strip("`"): (number, *rest) for number, name, *rest in rows if name != "none"}


def test_the_table_of_differences_is_what_the_switches_say() -> None:
    table, released = documented(), resolve_switches("official-release")
    assert list(table) == switch_names()
    for field in fields(Fidelity):
        number, correct, official, paper, code, where = table[field.name]
        said = field.metadata
        assert (number, paper, code, where) == (said["number"], said["paper"], said["code"], f"`{said['where']}`")
        assert importlib.util.find_spec(f"empirical.{said['where']}")
        for text, fidelity in ((correct, Fidelity()), (official, released)):
            value = getattr(fidelity, field.name)
            assert text.split()[0] == f"`{str(value).lower() if isinstance(value, bool) else value}`"


def test_the_switches_that_change_numbers_are_those_that_metrics_declare() -> None:
    numbers = {field.name for field in fields(Fidelity) if field.metadata["changes"] == NUMBERS}
    assert numbers == {name for one in METRICS.values() for name in one.switches}


def test_the_paper_preset_is_the_release_without_its_optimizer_and_augmentation() -> None:
    paper, released = resolve_switches("official-paper"), resolve_switches("official-release")
    assert replace(released, base_optimizer="as-set", randaugment=False) == paper != released


@pytest.mark.parametrize("name", [field.name for field in fields(Fidelity)])
def test_a_switch_moves_alone(name: str) -> None:
    """Each value can be set by its text on top of `correct`, and nothing else moves with it."""
    default, released = getattr(Fidelity(), name), getattr(resolve_switches("official-release"), name)
    other = {"forget_statistics": "keep", "minmax_sign": "cross-entropy"}.get(name, released)
    assert other != default
    assert resolve_switches("correct", f"{name}={str(other).lower()}") == single(name, other)


def test_single_switches_override_a_preset() -> None:
    fidelity = resolve_switches("official-paper", "tow=absolute, randaugment=true")
    assert (fidelity.tow, fidelity.randaugment, fidelity.mask_polarity) == ("absolute", True, "low")


def optimizers(config: RunConfig) -> list[str]:
    return [one.optimizer for one in (config.unlearning(), config.retraining(), config.pretraining())]


def relabels(config: RunConfig) -> list[bool]:
    made: list[Any] = [
        build_method(replace(config, method="random_label", dataset=name))
        for name in ("cifar10", "tiny-imagenet", "tinyimagenet100")
    ]
    return [one.relabel for one in made]


def warmed_up(config: RunConfig) -> float:
    return learning_rate(replace(config, lr=0.01, pretrain_lr=0.1, warmup_epochs=2).unlearning(), 4, 0)


def masked_rule(config: RunConfig) -> type:
    return type(build_rule("masked-sam-0.1", RuleContext(list, config.fidelity)))


@pytest.mark.parametrize(("switch", "read", "correct", "other"), [
    pytest.param("base_optimizer=adamw", optimizers, ["sgd"] * 3, ["adamw", "adamw", "sgd"], id="D1"),
    pytest.param("forget_cycle=cached", lambda one: vars(build_method(one))["cached"], False, True, id="D11"),
    pytest.param("retrain_schedule=multistep", lambda one: one.retraining().schedule, RunConfig.pretrain_schedule,
                 "multistep", id="D14"),
    pytest.param("warmup_target=pretrain", warmed_up, pytest.approx(0.01), pytest.approx(0.1), id="D15"),
    pytest.param("relabel_all=false", relabels, [True] * 3, [True, False, False], id="D19"),
    pytest.param("joint_mask=ignored", masked_rule, Masked, Sam, id="D21"),
])  # fmt: skip
def test_a_switch_of_training_reaches_what_it_is_about(
    switch: str, read: Callable[[RunConfig], Any], correct: Any, other: Any
) -> None:
    assert read(RunConfig()) == correct
    assert read(RunConfig(switches=switch)) == other


@pytest.mark.parametrize(("switch", "reported", "correct", "other"), [
    pytest.param("tow=signed", "tow_reported", "tow", "tow_signed", id="D6"),
    pytest.param("m_entropy=released", "mia_m_entropy", "mia_m_entropy_per_row", "mia_m_entropy_released", id="D9"),
])  # fmt: skip
def test_a_switch_of_a_metric_chooses_what_is_reported(
    switch: str, reported: str, correct: str, other: str, small: Small, shared: Resources
) -> None:
    changes: dict[str, Any] = {"lr": 0.2, "epochs": 3, "metrics": ("accuracy", "tow", "mia")}
    ours, released = (result(small, shared, switches, **changes) for switches in ("", switch))
    assert ours[reported] == ours[correct] == released[correct]
    assert released[reported] == released[other] != ours[reported]


def test_d2_randaugment() -> None:
    assert augmentation(RunConfig(), torch.float32).randaugment is None
    assert augmentation(RunConfig(switches="randaugment=true"), torch.uint8).randaugment == (2, 15)
    with pytest.raises(ConfigError, match=r"randaugment = True: must be false except on uint8 images; float32"):
        augmentation(RunConfig(switches="randaugment=true"), torch.float32)


def test_d3_mask_polarity(small: Small, shared: Resources) -> None:
    high, low = (mask_of(prepared(small(switches=s, rule="minmax"), shared)) for s in ("", "mask_polarity=low"))
    share = sum(int(m.sum()) for m in high) / sum(m.numel() for m in high)
    assert share == pytest.approx(0.3, abs=1e-3)
    assert not any((a & b).any() for a, b in zip(high, low, strict=True))


def test_d5_double_follows_the_schedule_with_the_optimizers_of_both_branches() -> None:
    """At a learning rate of 0 nothing moves, not even by weight decay; at a higher one each branch moves its own."""
    stage = build(METHODS["neggrad"], "minmax-sgd", fidelity=single("minmax_update", "double"))
    step, sets = Step(original(), stage), {"retain": stage.sets.retain, "forget": stage.sets.forget}
    batch = {
        name: Examples(IMAGES[rows.index], rows.labels, rows.forget, torch.zeros(len(rows), 3))
        for name, rows in sets.items()
    }
    before = weights(step.network)
    step.set_rate(0.0)
    step(batch)
    assert all(torch.equal(*pair) for pair in zip(before, weights(step.network), strict=True))
    step.set_rate(0.1)
    step(batch)
    moved = [old != new for old, new in zip(before, weights(step.network), strict=True)]
    masks = [rule.scope.mask for rule in step.rules]  # type: ignore[union-attr]
    assert all(any((part & own).any() for part, own in zip(moved, mask, strict=True)) for mask in masks)


def test_d7_tow_reference(small: Small, shared: Resources) -> None:
    assert result(small, shared, "tow_reference=published")["tow_reported"] == 0.0
    levels = ("high", "mid", "low")
    high = {"retain": 0.99964, "forget": 0.033, "test": 0.7496}
    assert published_reference("cifar100", "resnet50", "high") == pytest.approx(high)
    assert [numbers_published("cifar100", "vit-s", level)[2] for level in levels] == [0.6273, 0.6156, 0.6111]
    assert published_reference("cifar100", "resnet50", "random") is None
    assert numbers_published("tiny-imagenet", "resnet50", "random") == pytest.approx([0.99985, 0.59383, 0.6169])
    assert published_reference("tiny-imagenet", "resnet50", "class") is None
    assert numbers_published("cifar10", "resnet18", "random") == pytest.approx([0.99943, 0.92567, 0.9249])
    forgotten = [numbers_published("imagenet", "resnet50", level)[1] for level in levels]
    assert forgotten == pytest.approx([0.13828, 0.5227, 0.99858])


def numbers_published(dataset: str, model: str, difficulty: str) -> list[float]:
    return list((published_reference(dataset, model, difficulty) or {}).values())


def test_d8_forget_split() -> None:
    shared, released = (choose_forget(RunConfig(seed=2, switches=s), LABELS) for s in ("", "forget_split=reseeded"))
    assert np.isin(shared.forget, shared.train).all()
    assert len(released.train) == 360
    assert len(released.validation) == 40
    assert not np.isin(np.concatenate([released.forget, released.retain]), released.train).all()


def test_d10_mia_members(small: Small, shared: Resources) -> None:
    members = []
    for switches in ("", "mia_members=first"):
        evaluation = evaluated(small(switches=switches), shared)
        members.append(attack_rows(evaluation, 10, np.random.default_rng(0))[0].tolist())
    assert members[0] != list(range(10)) == members[1]


def test_d12_forget_statistics(small: Small, shared: Resources) -> None:
    images = shared.images(small())
    moved = []
    for keep in (False, True):
        network = build_network(small(), images, seed=0, device=torch.device("cpu"))
        before = network.model.state_dict()["body.1.running_mean"].clone()
        Logits(network, None, torch.zeros(()), keep).forget(network.normalize(images.train_images[:8]))
        moved.append(not torch.equal(before, network.model.state_dict()["body.1.running_mean"]))
    assert moved == [True, False]


def test_d16_double_normalize(small: Small, shared: Resources) -> None:
    images = shared.images(small())
    repeats = [
        build_network(replace(small(switches=s), dataset=d), images, seed=0, device=torch.device("cpu")).repeats
        for s in ("", "double_normalize=true") for d in ("tinyimagenet100", "tiny-imagenet", "imagenet", "cifar10")
    ]  # fmt: skip
    assert repeats == [1, 1, 1, 1, 2, 2, 2, 1]


def test_d17_validation_images(shared: Resources) -> None:
    changes = {"pretrain_epochs": 2, "epochs": 1, "n_train": 400, "metrics": ("accuracy",)}
    base = RunConfig(switches="forget_split=reseeded", **changes)  # type: ignore[arg-type]
    for augment, different in ((base.augment, 2), ("none", 1)):
        found = set()
        for switches in ("forget_split=reseeded", "forget_split=reseeded, validation_images=train"):
            numbers = run(replace(base, augment=augment, switches=switches), shared.store, resources=shared).result
            found.add(numbers["original_validation_accuracy"])
        assert len(found) == different, augment
    assert "original_validation_accuracy" not in run(replace(base, switches=""), shared.store, resources=shared).result


def pixel_network(weight: float, bias: float = 0.0) -> Network:
    """Return a network that names class 1 where `weight * x + bias > 0`; x is 1 for a white pixel, -1 for a black."""
    model = Classifier(nn.Flatten(), 1, 2)
    model.head.weight.data, model.head.bias.data = torch.tensor([[0.0], [weight]]), torch.tensor([0.0, bias])
    return Network(model, (0.5,), (0.5,))


def pixels(switches: str, **networks: Network) -> Evaluation:
    """Return an evaluation of one-pixel images: white ones are class 1 and black ones class 0.

    Those trained on are turned around in 1 of 4 retained rows, in both forget rows, and in 3 of 4 held-out ones.
    """
    config = RunConfig(corruption="gaussian_noise-3", augment="flip", switches=switches)
    labels = torch.arange(10) % 2
    clean = (255 * labels).to(torch.uint8).view(-1, 1, 1, 1)
    seen = clean.clone()
    seen[[0, 4, 5, 7, 8, 9]] = 255 - clean[[0, 4, 5, 7, 8, 9]]
    images = ImageSet("pixels", clean, labels, clean, labels, 2, (0.5,), (0.5,))
    split = Split(np.arange(6), np.arange(4), np.arange(4, 6), np.arange(6, 10))
    outputs = {role: model_outputs(network, images) for role, network in networks.items()}
    reach = {role: lambda network=network: network for role, network in networks.items()}
    return Evaluation(config, images, split, outputs, reach, seen)


def test_d17_validation_images_of_a_corrupted_run_are_corrupted_as_well() -> None:
    for switches, share in (("validation_images=test", 1.0), ("validation_images=train", 1 / 4)):
        found = accuracies(pixels(switches, original=pixel_network(1.0)))
        assert found["original_validation_accuracy"] == share


def test_d18_every_model_is_scored_on_the_corrupted_images_by_its_own_answers() -> None:
    """The original tells black from white, the retrained model says the opposite, the unlearned one always class 1."""
    models = {"original": pixel_network(1.0), "retrained": pixel_network(-1.0), "unlearned": pixel_network(0.0, 1.0)}
    found = accuracies(pixels("", **models))
    shares = {"original_": (3 / 4, 0), "retrained_": (1 / 4, 1), "": (1 / 2, 1 / 2)}
    for prefix, (retain, forget) in shares.items():
        assert found[f"{prefix}corrupted_retain_accuracy"] == retain
        assert found[f"{prefix}corrupted_forget_accuracy"] == forget
    clean = accuracies(pixels("corrupted_evaluation=false", **models))
    assert not [name for name in clean if "corrupted" in name]


def test_d22_entanglement_scale(small: Small, shared: Resources) -> None:
    metrics = ("accuracy", "entanglement")
    fixed, released = (result(small, shared, s, metrics=metrics) for s in ("", "entanglement_scale=released"))
    assert released["entanglement_wp"] < fixed["entanglement_wp"]
    assert released["entanglement_var_raw"] == fixed["entanglement_var_raw"]


def test_d26_constant_score() -> None:
    """The machine calls ties members, so that a score that says nothing reads as nothing forgotten."""
    same = np.ones((20, 1))
    assert forgotten_share(same, same, same, constant="chance") == 0.5
    assert forgotten_share(same, same, same, constant="machine") == 0.0
    told = (np.linspace(2, 3, 20)[:, None], np.linspace(0, 1, 20)[:, None])
    assert all(forgotten_share(*told, told[1], constant=c) == 1.0 for c in ("chance", "machine"))


def test_d26_reaches_the_attack(small: Small, shared: Resources) -> None:
    found = []
    for switches in ("", "constant_score=machine"):
        evaluation = evaluated(small(switches=switches), shared)
        train, test = evaluation.outputs["unlearned"]
        right = [
            np.eye(2)[labels.numpy()] for labels in (evaluation.images.train_labels, evaluation.images.test_labels)
        ]
        outputs = ModelOutputs(train._replace(logits=right[0]), test._replace(logits=right[1]))
        same = replace(evaluation, outputs={**evaluation.outputs, "unlearned": outputs})
        found.append(svc_attack(same)["mia_correctness"])
    assert found == [0.5, 0.0]


def test_d23_landscape_norm() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    network = Network(model, (0.0,), (1.0,))
    by_filter, by_layer = (
        directions(network, torch.Generator().manual_seed(0), norm=norm)[0] for norm in ("filter", "layer")
    )
    weight = model[0].weight
    filters = [d[0].flatten(1).norm(dim=1) / weight.flatten(1).norm(dim=1) for d in (by_filter, by_layer)]  # type: ignore[union-attr,operator]
    assert torch.allclose(filters[0], torch.ones(2))
    assert not torch.allclose(filters[1], torch.ones(2))
    torch.testing.assert_close(by_layer[0].norm(), weight.detach().norm())  # type: ignore[operator]
    assert not by_filter[3].any()
    assert by_layer[3].any()


def test_d24_glass_blur() -> None:
    image = np.zeros((1, 1, 8, 8), np.uint8)
    image[0, 0] = np.arange(64).reshape(8, 8) * 4
    swapped, copied = (
        corrupt(image, "glass_blur-1", generator=np.random.default_rng(0), swap=swap) for swap in (True, False)
    )
    assert sorted(swapped.ravel()) == sorted(image.ravel())
    assert sorted(copied.ravel()) != sorted(image.ravel())


def test_d25_scrub_max_epochs() -> None:
    exact, more = (build_method(RunConfig(method="scrub", switches=s)) for s in ("", "scrub_max_epochs=plus-one"))
    counts = [sum(len(m.phases(sets(), epoch, torch.Generator())) == 2 for epoch in range(5)) for m in (exact, more)]
    assert counts == [2, 3]


def sets() -> Any:
    from empirical.training.batches import Rows, Sets

    rows = Rows(torch.arange(4), torch.zeros(4, dtype=torch.long), torch.zeros(4, dtype=torch.bool), 2)
    return Sets(rows, rows, 2, 5)
