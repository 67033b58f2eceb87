"""A step: an update of the weights, from raw batches to the optimizer, without waiting for the device."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor

from empirical.augmentation.augment import Augment
from empirical.models.network import Network, frozen_statistics
from empirical.released import Fidelity
from empirical.settings.run_config import Hyperparameters
from empirical.training.batches import Examples, Phase, Rows, Sets
from empirical.training.rules import Masked, Pieces, Rule, add_, successive_rules
from empirical.training.together import ALONE, Processes, cut


class Method(Protocol):
    """An unlearning method: which batches it reads and what its loss terms are.

    Two more may be there: `prepare(start: Start) -> Any`, called once with the original before the first step, whose
    result the loss finds as `logits.prepared`; and `steps = False` where that is all it does, with `strengths`, the
    name of a setting and the values that a search tries in place of learning rates.

    Attributes:
        parts: the loss parts it offers; `("all",)` or `("all", "retain", "forget")`.
    """

    @property
    def parts(self) -> tuple[str, ...]: ...

    def phases(self, sets: Sets, epoch: int, generator: torch.Generator) -> list[Phase]: ...

    def loss(self, part: str, batch: Mapping[str, Examples], logits: "Logits") -> Tensor: ...


@dataclass
class Logits:
    """Computes the logits of a batch, for the loss of a method.

    Attributes:
        network: the model being trained.
        teacher: a frozen copy of the original, or None.
        epoch: the epoch number, a 0-dimensional tensor.
        keep_statistics: whether forget batches leave BatchNorm's running statistics unchanged (D12).
        evaluated: number of examples whose logits were computed; each takes a gradient.
        prepared: what the method made before the first step.
    """

    network: Network
    teacher: Network | None
    epoch: Tensor
    keep_statistics: bool = False
    evaluated: int = 0
    prepared: Any = None

    def __call__(self, images: Tensor) -> Tensor:
        """Return the model's logits `(b, classes)` of prepared images."""
        self.evaluated += len(images)
        return self.network.logits(images)

    def forget(self, images: Tensor) -> Tensor:
        """Return the model's logits of a forget batch."""
        if not self.keep_statistics:
            return self(images)
        with frozen_statistics(self.network.model):
            return self(images)

    @torch.no_grad()
    def original(self, images: Tensor) -> Tensor:
        """Return the teacher's logits."""
        if self.teacher is None:
            raise ValueError("teacher = None: this method needs the original model")
        return self.teacher.logits(images)


@dataclass
class Start:
    """What a method may look at and change before the first step.

    Attributes:
        network: the original, whose weights a method may edit in place.
        rule: how a loss becomes a gradient.
        sets, images: as in `Stage`.
        seed: root of what it draws.
        evaluated: gradients of single examples that it took.
    """

    network: Network
    rule: Rule
    sets: Sets
    images: Tensor = field(repr=False)
    seed: int = 0
    evaluated: int = 0

    def batches(self, rows: Rows) -> Iterator[Examples]:
        """Yield the prepared images of rows in their order, not augmented, with labels; all of them once."""
        for cut_out in range(0, len(rows), rows.batch_size):
            part = slice(cut_out, cut_out + rows.batch_size)
            images = self.images[rows.index[part].to(self.images.device)].to(self.network.device)
            yield Examples(self.network.normalize(images), rows.labels[part], rows.forget[part], torch.empty(0))

    def gradient(self, loss: Callable[[], Tensor], count: int) -> list[Tensor]:
        """Return what the rule makes of a loss of `count` examples."""
        self.evaluated += count * self.rule.passes
        return self.rule(self.network.model, lambda _: loss())


@dataclass(frozen=True)
class Stage:
    """Everything a training stage needs.

    Attributes:
        method, rule, sets, recipe: the method, the gradient rule, the rows it reads, and the hyperparameters.
        images: all training images, `(n, c, h, w)`.
        augment: augmentation of a batch.
        seed: seed of data order, augmentation and random labels.
        teacher: the frozen original model, for methods that compare with it.
        fidelity: discrepancy switches.
        later: rules that replace `rule`, by the epoch (from 0) at whose start they do.
        group: the processes that train the stage together.
        prepared, evaluated, seconds: what the method made before the first step, and the gradients and time that took.
        mask_seconds: time spent on a saliency mask, which does not count as training time.
    """

    method: Method
    rule: Rule
    sets: Sets
    recipe: Hyperparameters
    images: Tensor = field(repr=False)
    augment: Augment = Augment()
    seed: int = 0
    teacher: Network | None = None
    fidelity: Fidelity = Fidelity()
    later: Mapping[int, Rule] = field(default_factory=dict)
    group: Processes = ALONE
    prepared: Any = field(default=None, repr=False)
    evaluated: int = 0
    seconds: float = 0.0
    mask_seconds: float = 0.0


class Step:
    """An update: augmentation, passes, rule, optimizer. A call does not wait for the device.

    Attributes:
        ran: number of steps by how they ran: `captured`, replayed as a CUDA graph, or `eager`, from Python; `compiled`
            counts those of both that used generated code.
        preparing: seconds spent on what happens once: generating code in a first call, and recording a graph.

    Args:
        network: the model being trained.
        stage: method, rule, rows and hyperparameters.
    """

    def __init__(self, network: Network, stage: Stage) -> None:
        self.network = network
        self.stage = stage
        self.weights = network.parameters()
        self.rules = successive_rules(stage.rule, stage.fidelity)
        self.optimizers = [make_optimizer(stage.recipe, self.weights) for _ in self.rules]
        self.epoch = torch.zeros((), device=network.device, dtype=network.dtype)
        keep = stage.fidelity.forget_statistics == "keep"
        self.logits = Logits(network, stage.teacher, self.epoch, keep, stage.evaluated, stage.prepared)
        # Images on disk are cropped by the process that reads them; nothing else sees a whole image.
        self.augment = partial(stage.augment, cropped=getattr(stage.images, "ahead", False))
        self.fixed = network.device.type != "cpu"  # use operations that a CUDA graph can record
        self.ran: dict[str, int] = {}
        self.preparing = 0.0
        self.parts = stage.recipe.batch_parts
        self.own = stage.group.own_parts(self.parts)

    def count(self, how: str, *, odd: bool) -> None:
        """Count a step by how it ran; one of an odd batch size is never compiled."""
        for way in (how, *(["compiled"] if self.network.compiled and not odd else [])):
            self.ran[way] = self.ran.get(way, 0) + 1

    def set_rule(self, rule: Rule) -> None:
        """Continue with another rule and the same optimizer; its momentum stays."""
        self.rules = successive_rules(rule, self.stage.fidelity)

    def set_rate(self, lr: float) -> None:
        """Set the learning rate in place, because a captured step reads it from the same memory."""
        for group in (group for optimizer in self.optimizers for group in optimizer.param_groups):
            group["lr"].fill_(lr)

    @contextmanager
    def uncompiled(self) -> Iterator[None]:
        """Inside the block, run the model and the teacher without compiled code."""
        teacher = self.stage.teacher
        with self.network.uncompiled(), teacher.uncompiled() if teacher else nullcontext():
            yield

    def __call__(self, batch: Mapping[str, Examples], sizes: Mapping[str, int] | None = None) -> Tensor:
        """Take one step on raw batches and return the loss before it, on the device.

        Args:
            batch: this process's rows of each stream.
            sizes: rows in each stream's whole batch, if other processes have some of them.
        """
        ready = {name: self._prepare(examples) for name, examples in batch.items()}
        whole = sizes or {name: len(examples.labels) for name, examples in batch.items()}
        seen: list[Tensor] = []
        for rule, optimizer in zip(self.rules, self.optimizers, strict=True):
            grads, losses = self._gradient(rule, ready, whole)
            self._apply(rule, optimizer, grads)
            seen += losses
        loss = torch.stack(seen).sum()
        self.stage.group.sum_([loss])
        return loss

    def _gradient(
        self, rule: Rule, ready: Mapping[str, Examples], whole: Mapping[str, int]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Return a rule's gradient of a batch, and the losses of its first passes."""
        if self.parts == 1:
            return self._under(rule, lambda part: self.stage.method.loss(part, ready, self.logits))
        values = self._losses_of_parts(ready, whole)
        if self.stage.recipe.perturbation == "global":
            return self._of_pieces(rule, values)
        total, losses = [torch.zeros_like(weight) for weight in self.weights], []
        with self._complete(total):
            for value in values:  # SAM perturbs by the part's own gradient
                grads, seen = self._under(rule, value)
                add_(total, grads)
                losses += seen
        return total, losses

    def _under(self, rule: Rule, value: Callable[[str], Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        losses: list[Tensor] = []

        def loss(part: str) -> Tensor:
            found = value(part)
            losses.append(found.detach())
            return found

        return rule(self.network.model, loss), losses[:: rule.passes]

    def _of_pieces(self, rule: Rule, values: Sequence[Callable[[str], Tensor]]) -> tuple[list[Tensor], list[Tensor]]:
        """Return a rule's gradient of all parts of all processes as a single batch, and the losses."""
        losses: list[Tensor] = []

        def loss(part: str) -> Pieces:
            total = torch.zeros((), device=self.network.device, dtype=self.network.dtype)
            losses.append(total)

            def piece(value: Callable[[str], Tensor]) -> Tensor:
                found = value(part)
                total.add_(found.detach())
                return found

            return Pieces([partial(piece, value) for value in values], self._complete)

        return rule(self.network.model, loss), losses[:: rule.passes]

    @contextmanager
    def _complete(self, total: list[Tensor]) -> Iterator[None]:
        with self.stage.group.merged_statistics(self.network.model):
            yield
        self.stage.group.sum_(total)

    def _losses_of_parts(
        self, ready: Mapping[str, Examples], whole: Mapping[str, int]
    ) -> list[Callable[[str], Tensor]]:
        """Return, for each of this process's parts of a batch, what it adds to a loss."""
        found = []
        places = {name: cut(whole[name], self.parts, self.own) for name in ready}
        first = {name: cuts[0].start for name, cuts in places.items()}
        for number in range(len(self.own)):
            own = {name: cuts[number] for name, cuts in places.items()}
            batch = {
                name: Examples(*(part[one.start - first[name] : one.stop - first[name]] for part in ready[name]))
                for name, one in own.items()
            }
            shares = {name: (one.stop - one.start) / whole[name] for name, one in own.items()}
            found.append(partial(self._share_of_loss, batch, shares))
        return found

    def _share_of_loss(self, batch: Mapping[str, Examples], shares: Mapping[str, float], part: str) -> Tensor:
        """Return what a part of a batch adds to a loss that is a mean over the whole batch; 0 for a part without rows.

        Args:
            batch: its examples by stream; shares: their share of each stream's whole batch, in [0, 1].
            part: the part of the loss.
        """
        method, epoch = self.stage.method, self.epoch
        if part == "all" and len(set(shares.values())) > 1:  # streams whose parts have different shares
            pieces = [self._share_of_loss(batch, shares, one) for one in method.parts if one != part]
            return torch.stack(pieces).sum()
        share = shares[part if part in shares else next(iter(shares))]
        if share:
            return share * method.loss(part, batch, self.logits)
        return torch.zeros((), device=epoch.device, dtype=epoch.dtype, requires_grad=True)

    def _prepare(self, examples: Examples) -> Examples:
        augmented = self.augment(examples.images, examples.draws, fixed=self.fixed)
        return examples._replace(images=self.network.normalize(augmented))

    def _apply(self, rule: Rule, optimizer: torch.optim.Optimizer, grads: list[Tensor]) -> None:
        for weight, grad in zip(self.weights, grads, strict=True):
            # Fused optimizers need a gradient with the memory layout of its weight; a mask may change the layout.
            weight.grad = grad if grad.stride() == weight.stride() else torch.empty_like(weight).copy_(grad)
        if not isinstance(rule, Masked):
            optimizer.step()
            return
        saved = [weight.detach().clone() for weight in self.weights]
        optimizer.step()
        with torch.no_grad():
            for weight, old, movable in zip(self.weights, saved, rule.movable, strict=True):
                weight.copy_(torch.where(movable, weight, old))


def make_optimizer(recipe: Hyperparameters, weights: list[Tensor]) -> torch.optim.Optimizer:
    """Return the base optimizer; its learning rate is a tensor, so that a captured step reads its current value."""
    device = weights[0].device
    gpu = device.type == "cuda"
    lr = torch.tensor(recipe.lr, device=device, dtype=torch.float32 if gpu else torch.float64)  # CUDA reads float32
    shared: dict[str, Any] = {"lr": lr, "weight_decay": recipe.weight_decay, "fused": True}
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(weights, momentum=recipe.momentum, **shared)
    adaptive = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[recipe.optimizer]
    return adaptive(weights, capturable=gpu, **shared)


def frozen_copy(network: Network) -> Network:
    """Turn a network into a teacher: evaluation mode, and weights that require no gradient."""
    for parameter in network.model.parameters():
        parameter.requires_grad_(False)
    network.model.eval()
    return network
