"""One step of every method against an update written out by hand, in float64, and what an epoch of it reads."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from empirical.methods.dampen import Ssd
from empirical.methods.forget import GradientAscent, NegGrad, Scrub
from empirical.methods.noise import Unsir
from empirical.methods.relabel import RandomLabel, SalUn
from empirical.methods.retain import Finetune, L1Sparse, Retrain
from empirical.methods.teach import BadTeacher
from empirical.models.network import Network
from empirical.registry import method, names
from empirical.runs.unlearning import build_method
from empirical.settings.run_config import Hyperparameters, RunConfig
from empirical.training.batches import Arranger, Examples, Order, Rows, Sets
from empirical.training.loop import fit
from empirical.training.rules import Masked, Plain, Sam
from empirical.training.step import Stage, Start, Step
from tests.empirical.tiny import IMAGES, LABELS, make_network, make_sets, make_stage, original, rows, state

RECIPE = Hyperparameters(3, 0.1, 4, 2, "sgd", 0.9, 0.01, "constant", 0, 0.0)
COUNT = 10
SETS = make_sets()


class Case:
    """A tiny problem: ten 4x4 images, three classes, the last four to forget; and one step of a method on it."""

    def __init__(self, method: Any, rule: Any = Plain(), epoch: int = 0, phase: int = 0) -> None:  # noqa: B008
        self.images, self.labels = IMAGES[:COUNT], LABELS[:COUNT]
        retain, forget = rows(torch.arange(6), 4, forget=False), rows(torch.arange(6, COUNT), 2, forget=True)
        self.network, self.teacher = make_network(0), make_network(5)
        self.teacher.model.eval()
        self.before = [w.detach().clone() for w in self.network.parameters()]
        sets = Sets(retain, forget, 3, 3)
        self.stage = Stage(method, rule, sets, RECIPE, self.images, teacher=self.teacher)
        if hasattr(method, "prepare"):
            start = Start(make_network(0), rule, sets, self.images)
            start.network.model.eval()
            self.stage = replace(self.stage, prepared=method.prepare(start))
        self.step = Step(self.network, self.stage)
        self.step.epoch.fill_(epoch)
        chosen = method.phases(sets, epoch, torch.Generator().manual_seed(2))[phase]
        orders: dict[str, Order] = Arranger(7, 3).arrange(chosen, "epoch", epoch)
        self.batch = {name: order.batch(self.images, 0) for name, order in orders.items()}
        self.epoch = epoch

    def run(self) -> list[Tensor]:
        """Take the step and return the new weights."""
        self.step(self.batch)
        return [w.detach() for w in self.network.parameters()]

    def by_hand(self, loss: Callable[["Case", Network], Tensor]) -> list[Tensor]:
        """Return `w - lr (grad L + decay w)`, the first SGD step with momentum."""
        fresh = make_network(0)
        grads = torch.autograd.grad(loss(self, fresh), fresh.parameters())
        return [w - 0.1 * (g + 0.01 * w) for w, g in zip(self.before, grads, strict=True)]

    def scores(self, model: Network, name: str) -> Tensor:
        return model.model((self.batch[name].images - 0.5) / 2.0)


def cross_entropy(scores: Tensor, labels: Tensor) -> Tensor:
    return -F.log_softmax(scores, 1)[torch.arange(len(labels)), labels].mean()


def on_retain(case: Case, model: Network) -> Tensor:
    return cross_entropy(case.scores(model, "retain"), case.batch["retain"].labels)


def on_forget(case: Case, model: Network) -> Tensor:
    return cross_entropy(case.scores(model, "forget"), case.batch["forget"].labels)


def negated(case: Case, model: Network) -> Tensor:
    return 0.8 * on_retain(case, model) - 0.2 * on_forget(case, model)


def sparse(case: Case, model: Network) -> Tensor:
    penalty = sum(w.abs().sum() for w in model.parameters())
    return on_retain(case, model) + 0.01 * (1 - case.epoch / 2) * penalty


def mixed(case: Case, model: Network) -> Tensor:
    return cross_entropy(case.scores(model, "mixed"), case.batch["mixed"].labels)


def distance(case: Case, model: Network, name: str) -> Tensor:
    with torch.no_grad():
        theirs = torch.softmax(case.scores(case.teacher, name) / 4, 1)
    ours = torch.softmax(case.scores(model, name) / 4, 1)
    return 16 * (theirs * (theirs.log() - ours.log())).sum(1).mean()


def scrub_ascent(case: Case, model: Network) -> Tensor:
    return -distance(case, model, "forget")


def scrub_descent(case: Case, model: Network) -> Tensor:
    return 0.99 * on_retain(case, model) + 0.5 * distance(case, model, "retain")


def two_teachers(case: Case, model: Network) -> Tensor:
    rows = case.batch["mixed"].forget
    with torch.no_grad():
        stranger, original = (case.scores(one, "mixed") for one in (case.stage.prepared, case.teacher))
    theirs = torch.softmax(torch.stack([(stranger if f else original)[i] for i, f in enumerate(rows)]) / 2, 1)
    return (theirs * (theirs.log() - F.log_softmax(case.scores(model, "mixed") / 2, 1))).sum(1).mean()


def impaired(case: Case, model: Network) -> Tensor:
    noise, labels = case.stage.prepared
    images = torch.cat([(case.batch["impair"].images - 0.5) / 2, noise])
    return cross_entropy(model.model(images), torch.cat([case.batch["impair"].labels, labels]))


def repaired(case: Case, model: Network) -> Tensor:
    return 0.25 * cross_entropy(case.scores(model, "repair"), case.batch["repair"].labels)


CASES = {
    "bad_teacher": (Case(BadTeacher(temperature=2.0)), two_teachers),
    "unsir, impair": (Case(Unsir()), impaired),
    "unsir, repair": (Case(Unsir(repair_weight=0.25), epoch=1), repaired),
    "retrain": (Case(Retrain()), on_retain),
    "finetune": (Case(Finetune()), on_retain),
    "l1_sparse": (Case(L1Sparse(0.01, 1, 3), epoch=1), sparse),
    "l1_sparse, dense epoch": (Case(L1Sparse(0.01, 1, 3), epoch=2), on_retain),
    "gradient_ascent": (Case(GradientAscent()), lambda case, model: -on_forget(case, model)),
    "neggrad": (Case(NegGrad(0.8)), negated),
    "random_label": (Case(RandomLabel()), mixed),
    "salun": (Case(SalUn()), mixed),
    "scrub, ascent": (Case(Scrub()), scrub_ascent),
    "scrub, descent": (Case(Scrub(), phase=1), scrub_descent),
}


@pytest.mark.parametrize("name", CASES)
def test_one_step_equals_the_update_written_out(name: str) -> None:
    case, loss = CASES[name]
    for found, expected in zip(case.run(), case.by_hand(loss), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("method", [NegGrad(0.8), RandomLabel(), BadTeacher()])
def test_the_parts_of_a_loss_add_up(method: Any) -> None:
    case = Case(method)
    ready = {name: examples._replace(images=(examples.images - 0.5) / 2) for name, examples in case.batch.items()}
    whole, retain, forget = (method.loss(part, ready, case.step.logits) for part in ("all", "retain", "forget"))
    torch.testing.assert_close(whole, retain + forget, rtol=0, atol=1e-12)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_a_frozen_weight_never_moves_whatever_the_optimizer(optimizer: str) -> None:
    case = Case(NegGrad(0.8))
    mask = [torch.rand(w.shape, generator=torch.Generator().manual_seed(3)) < 0.5 for w in case.before]
    stage = replace(case.stage, rule=Masked(Sam(0.1), mask), recipe=replace(RECIPE, optimizer=optimizer))
    step = Step(case.network, stage)
    for _ in range(5):
        step(case.batch)
    for weight, before, movable in zip(case.network.parameters(), case.before, mask, strict=True):
        assert torch.equal(weight[~movable], before[~movable])
        assert not torch.equal(weight[movable], before[movable])


def test_random_labels_are_uniform_over_all_classes_and_new_in_every_epoch() -> None:
    forget = Rows(torch.arange(3000), torch.zeros(3000, dtype=torch.long), torch.ones(3000, dtype=torch.bool), 10)
    sets = Sets(replace(forget, forget=~forget.forget), forget, 3)
    draws = [RandomLabel().phases(sets, epoch, torch.Generator().manual_seed(epoch))[0] for epoch in (0, 1)]
    labels = [phase.streams["mixed"].labels[:3000] for phase in draws]
    assert not torch.equal(labels[0], labels[1])
    assert all(abs(int((labels[0] == c).sum()) - 1000) < 100 for c in range(3))


def test_a_method_that_needs_the_original_says_so() -> None:
    case = Case(Scrub())
    step = Step(case.network, replace(case.stage, teacher=None))
    with pytest.raises(ValueError, match="needs the original"):
        step(case.batch)


@pytest.mark.parametrize("rho", [0.0, 0.1])
def test_ssd_dampens_what_matters_to_the_forget_set_alone(rho: float) -> None:
    """Importance is the mean over batches of g^2, of the plain gradient or of SAM's, and the formula is the paper's."""
    case = Case(Finetune())
    start = Start(make_network(0), Sam(rho) if rho else Plain(), case.stage.sets, case.images)
    start.network.model.eval()
    Ssd(selection=1.2, dampening=0.5).prepare(start)

    def importance(batches: list[list[int]]) -> list[Tensor]:
        squares = []
        for batch in batches:
            model = make_network(0)
            model.model.eval()

            def gradient(model: Network = model, batch: list[int] = batch) -> tuple[Tensor, ...]:
                loss = cross_entropy(model.model((case.images[batch] - 0.5) / 2), case.labels[batch])
                return torch.autograd.grad(loss, list(model.model.parameters()))

            found = gradient()
            if rho:
                norm = math.sqrt(sum(float((g**2).sum()) for g in found))
                with torch.no_grad():
                    for weight, grad in zip(model.model.parameters(), found, strict=True):
                        weight += rho * grad / norm
                found = gradient()
            squares.append([g**2 for g in found])
        return [sum(parts) / len(batches) for parts in zip(*squares, strict=True)]  # type: ignore[misc]

    ours = importance([[6, 7], [8, 9]])
    everywhere = importance([[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]])
    moved = 0
    for weight, before, f, d in zip(start.network.parameters(), case.before, ours, everywhere, strict=True):
        expected = torch.where(f > 1.2 * d, before * (0.5 * d / f).clamp(max=1), before)
        torch.testing.assert_close(weight.detach(), expected, rtol=0, atol=1e-12)
        moved += int((expected != before).sum())
    assert 0 < moved < sum(one.numel() for one in case.before)
    assert start.evaluated == (4 + 10) * (2 if rho else 1)


def test_a_method_of_no_steps_costs_what_it_prepares_and_trains_nothing() -> None:
    case = Case(Finetune())
    log = fit(case.network, replace(case.stage, method=Ssd(), evaluated=7, seconds=3.0))
    assert log.gradient_evaluations == 7
    assert 3.0 <= log.seconds < 4.0
    assert [row["loss"] for row in log.epochs] == [None] * 3
    assert log.diverged_at is None
    assert all(torch.equal(a, b) for a, b in zip(case.network.parameters(), case.before, strict=True))


def test_noise_is_what_the_original_calls_anything_but_its_labels() -> None:
    case = Case(Finetune())

    def noise(steps: int, seed: int = 0, penalty: float = 10.0) -> tuple[Start, Tensor, Tensor]:
        start = Start(make_network(0), Plain(), case.stage.sets, case.images, seed)
        start.network.model.eval()
        return start, *Unsir(noise_steps=steps, noise_penalty=penalty).prepare(start)

    (start, first, labels), (_, last, same) = noise(0, penalty=0.0), noise(40, penalty=0.0)
    assert last.shape == (2, 1, 4, 4), "one image for each of a forget batch"
    assert torch.equal(labels, same)
    assert set(labels.tolist()) <= set(case.stage.sets.forget.labels.tolist())
    loss = [float(cross_entropy(start.network.model(images), labels).detach()) for images in (first, last)]
    assert loss[1] > loss[0] + 0.5
    assert not torch.equal(last, noise(40, seed=1, penalty=0.0)[1])
    assert float(noise(40)[1].square().sum()) < float(last.square().sum())
    assert all(torch.equal(a, b) for a, b in zip(start.network.parameters(), case.before, strict=True))


def test_a_bad_teacher_never_learned_and_reads_a_share_of_what_is_kept() -> None:
    case = Case(BadTeacher(retain_share=0.5))
    stranger = case.stage.prepared
    assert not any(weight.requires_grad for weight in stranger.model.parameters())
    convolution = next(stranger.model.parameters())
    assert not torch.equal(convolution, case.before[0])
    mixed = BadTeacher(retain_share=0.5).phases(case.stage.sets, 0, torch.Generator())[0].streams["mixed"]
    assert sorted(mixed.index[mixed.forget].tolist()) == [6, 7, 8, 9]
    assert int((~mixed.forget).sum()) == 3


@pytest.mark.parametrize("name", names("methods"))
def test_an_epoch_reads_the_sets_that_the_method_declares(name: str) -> None:
    """What a plan says of a method's cost follows from its declaration; one that takes no step reads nothing."""
    made, read = build_method(RunConfig(method=name)), set()
    for phase in made.phases(SETS, 0, torch.Generator()):
        read |= {flag for stream in phase.streams.values() for flag in stream.forget.tolist()}
    declared = {one == "forget" for one in method(name).reads}
    assert read == (declared if getattr(made, "steps", True) else set())


@pytest.mark.parametrize("dense", [3, 4])
def test_l1_sparse_in_dense_epochs_alone_is_fine_tuning(dense: int) -> None:
    sparse, tuned = Case(L1Sparse(0.05, dense_epochs=dense, epochs=3)), Case(Finetune())
    assert all(torch.equal(*pair) for pair in zip(sparse.run(), tuned.run(), strict=True))


def test_the_teacher_stays_in_evaluation_mode_and_never_changes() -> None:
    stage, network = make_stage(Scrub(), epochs=3), original()
    assert stage.teacher is not None
    before = state(stage.teacher)
    fit(network, stage)
    assert not stage.teacher.model.training
    assert all(torch.equal(before[name], tensor) for name, tensor in state(stage.teacher).items())
    assert not all(torch.equal(before[name], tensor) for name, tensor in state(network).items())


def mixed_rows(method: RandomLabel, seed: int) -> Rows:
    return method.phases(SETS, 0, torch.Generator().manual_seed(seed))[0].streams["mixed"]


def test_random_labels_come_from_the_generator_they_are_given_and_from_nothing_else() -> None:
    """Retained rows keep their labels, and so do forgotten ones without relabelling."""
    drawn = []
    for program, seed in ((1, 5), (2, 5), (2, 6)):
        torch.manual_seed(program)
        mixed = mixed_rows(RandomLabel(), seed)
        drawn.append(mixed.labels[mixed.forget])
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[1], drawn[2])
    assert sorted(mixed.index.tolist()) == list(range(len(LABELS)))
    assert torch.equal(mixed.labels[~mixed.forget], SETS.retain.labels)
    assert mixed.batch_size == SETS.retain.batch_size
    true = mixed_rows(RandomLabel(relabel=False), 5)
    assert torch.equal(true.labels, LABELS[true.index])


def test_the_forget_part_of_a_mixed_batch_reads_the_forget_rows_alone() -> None:
    mixed = mixed_rows(RandomLabel(), 0)
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

    fit(original(), make_stage(Watched(), batch_size=len(LABELS), epochs=4))
    counts = {tuple(torch.bincount(labels, minlength=3).tolist()) for labels in seen}
    assert len(seen) == 4
    assert len(counts) > 1
