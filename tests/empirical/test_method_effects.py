"""What each method is for: whose loss rises, whose falls, which weights move, whose answers are followed."""

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from empirical.methods.forget import GradientAscent, NegGrad, Scrub
from empirical.methods.relabel import RandomLabel, SalUn
from empirical.methods.retain import Finetune, L1Sparse, Retrain
from empirical.models.network import Network
from empirical.training.batches import Arranger, Examples
from empirical.training.loop import fit
from empirical.training.rules import RuleContext, build_rule, method_rule
from empirical.training.step import Step, frozen_copy
from tests.empirical.tiny import (
    COUNT,
    IMAGES,
    logits,
    loss_on,
    make_network,
    make_sets,
    make_stage,
    original,
    state,
    weights,
)

EVERYTHING = {"batch_size": COUNT, "momentum": 0.0, "weight_decay": 0.0, "lr": 0.01}
SETS = make_sets()


def take_steps(
    network: Network, method: Any, *, place: int = 0, epoch: int = 0, steps: int = 1, teacher: Network | None = None
) -> None:
    """Take plain gradient steps on all rows of one segment of an epoch."""
    stage = make_stage(method, **EVERYTHING)
    stage = replace(stage, teacher=teacher or stage.teacher)
    step = Step(network, stage)
    step.epoch.fill_(epoch)
    segments = method.segments(stage.sets, epoch, torch.Generator().manual_seed(epoch))
    orders = Arranger(0, 3).arrange(segments[place], "epoch", epoch)
    for _ in range(steps):
        step({name: order.batch(IMAGES, 0) for name, order in orders.items()})


def changes(method: Any, network: Network | None = None) -> tuple[float, float]:
    """Return how one step changes the retain and the forget loss of the original."""
    network = network or original()
    before = [loss_on(network, rows) for rows in (SETS.retain, SETS.forget)]
    take_steps(network, method)
    after = [loss_on(network, rows) for rows in (SETS.retain, SETS.forget)]
    return after[0] - before[0], after[1] - before[1]


@pytest.mark.parametrize("method", [Finetune(), Retrain(), L1Sparse(1e-5), NegGrad(0.5), NegGrad(1.0)])
def test_a_step_that_reads_the_retain_set_lowers_its_loss(method: Any) -> None:
    assert changes(method)[0] < -1e-5


@pytest.mark.parametrize("method", [GradientAscent(), NegGrad(0.5), NegGrad(0.0)])
def test_a_step_away_from_the_forget_set_raises_its_loss(method: Any) -> None:
    assert changes(method)[1] > 1e-5


def test_alpha_weighs_the_retain_set_against_the_forget_set() -> None:
    retain, forget = zip(*(changes(NegGrad(alpha)) for alpha in (1.0, 0.5, 0.0)), strict=True)
    assert retain[0] < retain[1] < 0 < retain[2]
    assert forget[0] < 0 < forget[1] < forget[2]
    assert retain[0] == pytest.approx(changes(Finetune())[0])
    assert forget[2] == pytest.approx(changes(GradientAscent())[1])


def test_the_released_forget_cycle_repeats_its_first_pass() -> None:
    segments = [NegGrad(cached=flag).segments(SETS, 0, torch.Generator()) for flag in (True, False)]
    assert [segment.cached for (segment,) in segments] == [True, False]


def test_gradient_ascent_never_reads_the_retain_set() -> None:
    segments = GradientAscent().segments(SETS, 0, torch.Generator())
    read = torch.cat([rows.index for segment in segments for rows in segment.streams.values()])
    assert read.tolist() == SETS.forget.index.tolist()


@pytest.mark.parametrize("method", [Finetune(), Retrain(), L1Sparse()])
def test_methods_of_the_retain_set_never_read_the_forget_set(method: Any) -> None:
    segments = method.segments(SETS, 0, torch.Generator())
    read = torch.cat([rows.index for segment in segments for rows in segment.streams.values()])
    assert read.tolist() == SETS.retain.index.tolist()


def size(network: Network) -> float:
    return sum(float(weight.abs().sum()) for weight in weights(network))


def test_l1_sparse_shrinks_the_weights_most_in_its_first_epoch_and_not_at_all_in_its_dense_ones() -> None:
    method, sizes = L1Sparse(0.05, dense_epochs=1, epochs=3), []
    for epoch in range(3):
        network = original()
        take_steps(network, method, epoch=epoch)
        sizes.append(size(network))
    network = original()
    take_steps(network, Finetune())
    assert sizes[0] < sizes[1] < sizes[2] == size(network)
    for dense in (3, 4):  # of three epochs: there is no other
        all_dense = original()
        take_steps(all_dense, L1Sparse(0.05, dense_epochs=dense, epochs=3))
        assert size(all_dense) == size(network)


def distance(network: Network, place: str, teacher: Network) -> float:
    """Return the mean KL of the teacher's answers to those of a network, on a set of rows."""
    images = IMAGES[getattr(SETS, place).index]
    theirs, ours = (F.log_softmax(logits(model, images), 1) for model in (teacher, network))
    return float(F.kl_div(ours, theirs, reduction="batchmean", log_target=True))


def test_scrub_leaves_the_original_on_the_forget_set_and_returns_to_it_on_the_retain_set() -> None:
    network, teacher = original(), frozen_copy(original())
    before = distance(network, "forget", teacher)
    take_steps(network, Scrub(), place=0, steps=40)
    away, far = distance(network, "forget", teacher), distance(network, "retain", teacher)
    assert away > 2 * before
    take_steps(network, Scrub(beta=1.0, gamma=0.0), place=1, steps=40)
    assert distance(network, "retain", teacher) < 0.9 * far


def test_on_the_retain_set_beta_follows_the_original_and_gamma_the_labels() -> None:
    networks, teacher = [make_network(5) for _ in range(2)], frozen_copy(make_network(9))  # knows no label
    for network, method in zip(networks, (Scrub(beta=1.0, gamma=0.0), Scrub(beta=0.0, gamma=1.0)), strict=True):
        take_steps(network, method, place=1, steps=40, teacher=teacher)
    follows, learns = networks
    assert distance(follows, "retain", teacher) < 0.5 * distance(learns, "retain", teacher)
    assert loss_on(learns, SETS.retain) < 0.9 * loss_on(follows, SETS.retain)


def test_scrub_visits_the_forget_set_first_and_in_its_first_epochs_only() -> None:
    visits = [[next(iter(s.streams)) for s in Scrub().segments(SETS, e, torch.Generator())] for e in range(3)]
    assert visits == [["forget", "retain"], ["forget", "retain"], ["retain"]]


def test_the_teacher_stays_in_evaluation_mode_and_never_changes() -> None:
    stage = make_stage(Scrub(), epochs=3)
    assert stage.teacher is not None
    before = state(stage.teacher)
    network = original()
    fit(network, stage)
    assert not stage.teacher.model.training
    assert all(torch.equal(before[name], tensor) for name, tensor in state(stage.teacher).items())
    assert distance(network, "retain", stage.teacher) > 0


def forget_labels(method: RandomLabel, seed: int) -> Tensor:
    mixed = method.segments(SETS, 0, torch.Generator().manual_seed(seed))[0].streams["mixed"]
    return mixed.labels[mixed.forget]


def test_random_labels_come_from_the_generator_they_are_given_and_from_nothing_else() -> None:
    torch.manual_seed(1)
    first = forget_labels(RandomLabel(), 5)
    torch.manual_seed(2)
    assert torch.equal(first, forget_labels(RandomLabel(), 5))
    assert any(not torch.equal(first, forget_labels(RandomLabel(), seed)) for seed in (6, 7))
    assert torch.equal(forget_labels(RandomLabel(relabel=False), 5), SETS.forget.labels)


@pytest.mark.parametrize("method", [RandomLabel(), SalUn()])
def test_relabelled_rows_are_mixed_with_retain_rows_that_keep_their_labels(method: RandomLabel) -> None:
    mixed = method.segments(SETS, 0, torch.Generator().manual_seed(5))[0].streams["mixed"]
    assert sorted(mixed.index.tolist()) == list(range(COUNT))
    assert mixed.index[~mixed.forget].tolist() == SETS.retain.index.tolist()
    assert torch.equal(mixed.labels[~mixed.forget], SETS.retain.labels)
    assert mixed.batch_size == SETS.retain.batch_size


def test_the_forget_part_of_a_mixed_batch_reads_the_forget_rows_alone() -> None:
    mixed = RandomLabel().segments(SETS, 0, torch.Generator())[0].streams["mixed"]
    step, images = Step(original(), make_stage(RandomLabel())), (IMAGES[mixed.index] - 0.5) / 2
    other = torch.where(mixed.forget, mixed.labels, (mixed.labels + 1) % 3)  # other labels on retain rows
    for part, depends in (("forget", False), ("retain", True)):
        losses = [
            RandomLabel().loss(part, {"mixed": Examples(images, labels, mixed.forget, images)}, step.logits)
            for labels in (mixed.labels, other)
        ]
        assert torch.equal(losses[0], losses[1]) != depends


def test_every_epoch_of_a_run_draws_new_labels() -> None:
    seen: list[Tensor] = []

    class Watched(RandomLabel):
        def loss(self, part: str, batch: Any, logits: Any) -> Tensor:
            seen.append(batch["mixed"].labels[batch["mixed"].forget.argsort(descending=True, stable=True)][:6])
            return super().loss(part, batch, logits)

    fit(original(), make_stage(Watched(), batch_size=COUNT, epochs=4))
    counts = {tuple(torch.bincount(labels, minlength=3).tolist()) for labels in seen}
    assert len(seen) == 4
    assert len(counts) > 1


def test_a_random_label_step_makes_the_drawn_labels_likelier() -> None:
    network = original()
    drawn = replace(SETS.forget, labels=forget_labels(RandomLabel(), 0))
    before = loss_on(network, drawn)
    take_steps(network, RandomLabel(), steps=5)
    assert loss_on(network, drawn) < before


@pytest.mark.parametrize("rule", ["sgd", "sam-0.1", "minmax-sam-0.1", "retain-sam-0.1"])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_salun_moves_salient_weights_and_leaves_the_others_bit_equal(rule: str, optimizer: str) -> None:
    network = original()
    before = weights(network)
    generator = torch.Generator().manual_seed(0)
    mask = [torch.rand(weight.shape, generator=generator) < 0.5 for weight in before]
    context = RuleContext(lambda: mask)
    wrapped = method_rule(SalUn(), build_rule(rule, context), context)
    fit(network, make_stage(SalUn(), wrapped, optimizer=optimizer, momentum=0.9, weight_decay=0.1))
    for found, old, salient in zip(weights(network), before, mask, strict=True):
        assert torch.equal(found[~salient], old[~salient])
        assert bool((found[salient] != old[salient]).all())
