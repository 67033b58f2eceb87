"""What a training run does with its recipe: rates, momentum, decay, augmentation, fresh batches, divergence."""

import itertools
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor

from empirical.augmentation.augment import Augment
from empirical.methods.retain import Finetune
from empirical.training.batches import Examples, Phase, Sets
from empirical.training.loop import fit
from empirical.training.step import Logits
from tests.empirical.tiny import COUNT, IMAGES, LABELS, make_network, make_stage, state, weights

WHOLE = {"batch_size": COUNT, "momentum": 0.0, "weight_decay": 0.0, "lr": 0.1}


@dataclass
class Slope:
    """A loss with the same gradient everywhere: `slope * sum w`; it keeps the weights at the start of every step."""

    slope: float = 1.0
    places: list[float] = field(default_factory=list)
    parts = ("all",)

    def phases(self, sets: Sets, epoch: int, generator: torch.Generator) -> list[Phase]:
        return [Phase({"retain": sets.retain})]

    def loss(self, part: str, batch: Mapping[str, Examples], logits: Logits) -> Tensor:
        (head, *_) = (weight for weight in logits.network.parameters() if weight.ndim == 2)
        self.places.append(float(head.detach()[0, 0]))
        return self.slope * head.sum()


def distances(slope: float = 1.0, **recipe: Any) -> list[float]:
    """Return how far each step of a run moved one weight downhill."""
    method, network = Slope(slope), make_network()
    fit(network, make_stage(method, **{**WHOLE, **recipe}))
    (head, *_) = (weight for weight in network.parameters() if weight.ndim == 2)
    places = [*method.places, float(head.detach()[0, 0])]
    return [a - b for a, b in itertools.pairwise(places)]


def test_a_cosine_schedule_shortens_every_step_within_and_between_epochs() -> None:
    found = distances(schedule="cosine", epochs=3, batch_size=5)  # twenty rows: four steps an epoch
    assert found == pytest.approx([0.05 * (1 + math.cos(math.pi * k / 12)) for k in range(12)], abs=1e-12)


def test_a_multistep_schedule_shortens_the_steps_after_its_milestones() -> None:
    found = distances(schedule="multistep", epochs=140)
    assert [found[epoch] for epoch in (0, 90, 91, 135, 136)] == pytest.approx([0.1, 0.1, 0.02, 0.02, 0.004], abs=1e-9)


def test_warm_up_lengthens_the_steps_up_to_its_rate() -> None:
    found = distances(schedule="constant", epochs=4, warmup_epochs=2, warmup_lr=0.2)
    assert found[0] < 0.01 < found[1] < found[2]
    assert found[1:] == pytest.approx([0.1, 0.2, 0.2], abs=1e-3)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_weight_decay_shrinks_a_weight_without_a_gradient(optimizer: str) -> None:
    network = make_network()
    before = weights(network)
    fit(network, make_stage(Slope(0.0), **{**WHOLE, "weight_decay": 0.5, "epochs": 1, "optimizer": optimizer}))
    for found, old in zip(weights(network), before, strict=True):
        torch.testing.assert_close(found, (1 - 0.1 * 0.5) * old, rtol=0, atol=1e-12)


@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
def test_adaptive_optimizers_take_steps_of_the_rate_whatever_the_slope(optimizer: str) -> None:
    for slope in (0.01, 100.0):
        assert distances(slope, epochs=2, optimizer=optimizer) == pytest.approx([0.1, 0.1], rel=1e-4)


def test_training_is_in_training_mode_whatever_mode_the_network_was_in_and_leaves_no_gradients() -> None:
    network = make_network()
    network.model.eval()
    before = state(network)
    fit(network, make_stage(Finetune(), epochs=1))
    assert network.model.training
    assert not torch.equal(before["body.1.running_mean"], state(network)["body.1.running_mean"])
    assert all(weight.grad is None for weight in network.parameters())


@dataclass(frozen=True)
class Observer(Finetune):
    """Fine-tuning that keeps what it is shown: by epoch and stream, the images by the row they come from."""

    cached: bool = False
    shown: dict[tuple[int, str], list[tuple[Tensor, Tensor]]] = field(default_factory=dict)

    def phases(self, sets: Sets, epoch: int, generator: torch.Generator) -> list[Phase]:
        return [Phase({"retain": sets.retain, "forget": sets.forget}, self.cached)]

    def loss(self, part: str, batch: Mapping[str, Examples], logits: Logits) -> Tensor:
        for name, examples in batch.items():
            kept = self.shown.setdefault((int(logits.epoch), name), [])
            kept += zip(examples.images.clone(), examples.labels, strict=True)
        return super().loss(part, batch, logits)

    def images(self, epoch: int, name: str) -> Tensor:
        return torch.stack([image for image, _ in self.shown[epoch, name]])


def watch(augment: Augment, *, cached: bool = False, epochs: int = 2) -> Observer:
    method = Observer(cached=cached)
    fit(make_network(), make_stage(method, augment=augment, epochs=epochs))
    return method


def same(left: Tensor, right: Tensor) -> Tensor:
    """Return which images of `left` are also in `right`, as booleans `(n,)`."""
    return (left[:, None] == right[None]).flatten(2).all(2).any(1)


RAW = (IMAGES - 0.5) / 2  # as the network is shown them


def test_without_augmentation_every_row_is_shown_once_an_epoch_with_its_own_label_in_a_new_order() -> None:
    method = watch(Augment())
    for epoch in range(2):
        images, labels = method.images(epoch, "retain"), torch.stack([y for _, y in method.shown[epoch, "retain"]])
        rows = (images[:, None] == RAW[None]).flatten(2).all(2).long().argmax(1)
        assert sorted(rows.tolist()) == list(range(20))
        assert torch.equal(labels, LABELS[rows])
    assert not torch.equal(method.images(0, "retain"), method.images(1, "retain"))


@pytest.mark.parametrize("augment", [Augment(padding=1), Augment(flip=True), Augment(padding=1, flip=True)])
def test_augmentation_reaches_the_method_and_is_new_in_every_epoch(augment: Augment) -> None:
    method = watch(augment)
    first, second = (method.images(epoch, "retain") for epoch in range(2))
    assert not bool(same(first, RAW).all())
    assert not bool(same(first, second).all())


def test_the_forget_set_starts_over_until_the_retain_set_is_used_up_freshly_augmented() -> None:
    method = watch(Augment(padding=1), epochs=1)
    images = method.images(0, "forget")
    assert len(images) == 20  # five steps of four, from six rows
    assert len(torch.unique(images.flatten(1), dim=0)) > 12
    again = watch(Augment(padding=1), cached=True, epochs=1).images(0, "forget")
    assert len(torch.unique(again.flatten(1), dim=0)) == 6


class Explodes(Slope):
    """A loss that is not finite in the second step of the second epoch."""

    def loss(self, part: str, batch: Mapping[str, Examples], logits: Logits) -> Tensor:
        broken = float("inf") if len(self.places) == 5 + 1 else 1.0
        return super().loss(part, batch, logits) * broken


def test_a_loss_that_is_not_finite_ends_the_stage_and_names_epoch_and_step() -> None:
    log = fit(make_network(), make_stage(Explodes(), epochs=4))
    assert log.diverged_at == {"epoch": 2, "step": 2}
    assert [row["loss"] is None for row in log.epochs] == [False, True]


def test_a_network_whose_weights_are_no_numbers_has_no_accuracy_on_its_way() -> None:
    """It would name the first class everywhere: of a forget set without that class it would seem to know nothing."""
    log = fit(make_network(), make_stage(Explodes(), epochs=4), observe=lambda network, progress: {"retain": 1.0})
    seen = [[row["progress"] for row in epoch.get("accuracies", [])] for epoch in log.epochs]
    assert seen == [[0.2, 0.4, 0.8, 1.0], []]


class Numbered(Slope):
    """A loss of 1 in the first step, 2 in the second, and so on."""

    def loss(self, part: str, batch: Mapping[str, Examples], logits: Logits) -> Tensor:
        return 0 * super().loss(part, batch, logits) + len(self.places)


def test_the_loss_of_an_epoch_is_the_mean_over_its_steps() -> None:
    log = fit(make_network(), make_stage(Numbered(), epochs=2, lr=0.1, schedule="cosine"))
    assert [(row["epoch"], row["loss"]) for row in log.epochs] == [(1, 3.0), (2, 8.0)]
    assert [row["lr"] for row in log.epochs] == pytest.approx([0.1, 0.05])


def looked(observe: Any, **recipe: Any) -> tuple[Any, Any]:
    network = make_network()
    log = fit(network, make_stage(Finetune(), epochs=3, augment=Augment(flip=True), **recipe), observe=observe)
    return network, log


def test_whoever_looks_between_steps_changes_no_weight_and_no_statistic() -> None:
    """The eyes put the network in evaluation mode and leave it there; the next step trains all the same."""

    def observe(network: Any, progress: float) -> dict[str, float]:
        network.model.eval()
        network.logits(network.normalize(IMAGES))
        return {"progress seen": progress}

    (blind, one), (seen, other) = looked(None), looked(observe)
    assert all(torch.equal(value, state(seen)[name]) for name, value in state(blind).items())
    assert seen.model.training
    plain = [{name: value for name, value in row.items() if name != "accuracies"} for row in other.epochs]
    assert plain == one.epochs
    assert not any("accuracies" in row for row in one.epochs)


def test_a_network_is_looked_at_after_every_epoch_and_three_times_within_the_first() -> None:
    _, log = looked(lambda network, progress: {"retain": progress})
    seen = [[row["progress"] for row in epoch["accuracies"]] for epoch in log.epochs]
    assert seen == [[0.2, 0.4, 0.8, 1.0], [2.0], [3.0]]  # twenty rows by four: five steps an epoch
    counts = [row["gradient_evaluations"] for epoch in log.epochs for row in epoch["accuracies"]]
    assert counts == [4, 8, 16, 20, 40, 60]
    assert log.gradient_evaluations == 60


def test_the_time_it_takes_to_look_is_no_training_time() -> None:
    started = time.perf_counter()
    _, log = looked(lambda network, progress: time.sleep(0.1) or {})
    assert time.perf_counter() - started - log.seconds > 6 * 0.1
