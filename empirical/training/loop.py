"""The loop: the only place where an optimizer steps. A `Step` is one whole update, with no wait for the device."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor

from empirical.augmentation.augment import Augment
from empirical.models.network import Network, frozen_statistics
from empirical.settings.run_config import Hyperparameters
from empirical.settings.switches import Fidelity
from empirical.training.batches import Arranger, Examples, Feed, Order, Segment, Sets
from empirical.training.checkpoint import Pauses, described, from_bytes, to_bytes
from empirical.training.graph import CudaGraphs, GraphRunner, Graphs
from empirical.training.rules import Masked, Pieces, Rule, add_, phases
from empirical.training.together import ALONE, Group, cut
from repro.base.settings import reject

Runner = Callable[[Mapping[str, Order], int], Tensor]
Observe = Callable[[Network, float], Mapping[str, float]]


class Method(Protocol):
    """An unlearning method: which batches it reads and what its loss terms are.

    Attributes:
        parts: the loss parts it can give apart; `("all",)` or `("all", "retain", "forget")`.
    """

    @property
    def parts(self) -> tuple[str, ...]: ...

    def segments(self, sets: Sets, epoch: int, generator: torch.Generator) -> list[Segment]: ...

    def loss(self, part: str, batch: Mapping[str, Examples], logits: "Logits") -> Tensor: ...


@dataclass
class Logits:
    """The logits of a batch, as a method asks for them inside a loss.

    Attributes:
        network: the model being trained.
        teacher: a frozen copy of the original, or None.
        epoch: 0-dimensional tensor holding the epoch number.
        keep_statistics: whether forget batches leave BatchNorm's running statistics alone (D12).
        evaluated: examples whose logits were asked for, each of which takes a gradient.
    """

    network: Network
    teacher: Network | None
    epoch: Tensor
    keep_statistics: bool = False
    evaluated: int = 0

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


@dataclass(frozen=True)
class Stage:
    """Everything one training stage needs.

    Attributes:
        method, rule, sets, recipe: what is trained on, how gradients are made, and with which settings.
        images: all training images, `(n, c, h, w)`.
        augment: what happens to a batch.
        seed: root of data order, augmentation and label draws.
        teacher: the frozen original, for methods that compare with it.
        fidelity: discrepancy switches.
        later: rules that take the place of `rule`, by the epoch, counted from 0, at whose start each does.
        group: the processes that train it together.
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
    group: Group = ALONE


@dataclass
class Log:
    """What training left behind besides the weights.

    Attributes:
        epochs: one row an epoch: mean loss, learning rate, and what was observed in it.
        gradient_evaluations: gradients of single examples that were computed.
        diverged_at: `{epoch, step}` of the first loss that is not finite, or None.
        seconds: wall time of the loop, without looking and writing states.
        resumed: how often it went on from a checkpoint.
    """

    epochs: list[dict[str, Any]] = field(default_factory=list)
    gradient_evaluations: int = 0
    diverged_at: dict[str, int] | None = None
    seconds: float = 0.0
    resumed: int = 0


class Step:
    """One update: augmentation, passes, rule, optimizer. Calling it never waits for the device.

    Args:
        network: the model being trained.
        stage: the stage's method, rule and recipe.
    """

    def __init__(self, network: Network, stage: Stage) -> None:
        self.network = network
        self.stage = stage
        self.weights = network.parameters()
        self.rules = phases(stage.rule, stage.fidelity)
        self.optimizers = [make_optimizer(stage.recipe, self.weights) for _ in self.rules]
        self.epoch = torch.zeros((), device=network.device, dtype=network.dtype)
        keep = stage.fidelity.forget_statistics == "keep"
        self.logits = Logits(network, stage.teacher, self.epoch, keep)
        # Images on disk are cut where they are read: the whole of one is seen by nobody else.
        self.augment = stage.augment.after_reading() if hasattr(stage.images, "ahead") else stage.augment
        self.parts = stage.recipe.batch_parts
        self.own = stage.group.parts(self.parts)

    def set_rule(self, rule: Rule) -> None:
        """Go on under another rule with the same optimizer: its momentum stays."""
        self.rules = phases(rule, self.stage.fidelity)

    def set_rate(self, lr: float) -> None:
        """Set the learning rate, in place: a captured step reads it from where it was."""
        for group in (group for optimizer in self.optimizers for group in optimizer.param_groups):
            group["lr"].fill_(lr)

    def __call__(self, batch: Mapping[str, Examples], sizes: Mapping[str, int] | None = None) -> Tensor:
        """Take one step on raw batches and return the loss before it, on the device.

        Args:
            batch: by stream, the rows of this process.
            sizes: rows of every stream's whole batch, where other processes have some of them.
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
        """Return what a rule makes of a batch, and the losses of its first passes."""
        if self.parts == 1:
            return self._under(rule, lambda part: self.stage.method.loss(part, ready, self.logits))
        shares = self._shares(ready, whole)
        if self.stage.recipe.perturbation == "global":
            return self._of_pieces(rule, shares)
        total, losses = [torch.zeros_like(weight) for weight in self.weights], []
        with self._complete(total):
            for share in shares:  # SAM perturbs by the part's own gradient
                value = partial(share.loss, method=self.stage.method, logits=self.logits)
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

    def _of_pieces(self, rule: Rule, shares: Sequence["Share"]) -> tuple[list[Tensor], list[Tensor]]:
        """Return what a rule makes of all parts of all processes: it sees one batch."""
        losses: list[Tensor] = []

        def loss(part: str) -> Pieces:
            total = torch.zeros((), device=self.network.device, dtype=self.network.dtype)
            losses.append(total)

            def value(share: Share) -> Tensor:
                found = share.loss(part, self.stage.method, self.logits)
                total.add_(found.detach())
                return found

            return Pieces([partial(value, share) for share in shares], self._complete)

        return rule(self.network.model, loss), losses[:: rule.passes]

    @contextmanager
    def _complete(self, total: list[Tensor]) -> Iterator[None]:
        with self.stage.group.merged_statistics(self.network.model):
            yield
        self.stage.group.sum_(total)

    def _shares(self, ready: Mapping[str, Examples], whole: Mapping[str, int]) -> list["Share"]:
        """Return this process's parts of a batch: their examples, and which share of each stream's rows they are."""
        found = []
        places = {name: cut(whole[name], self.parts, self.own) for name in ready}
        first = {name: cuts[0].start for name, cuts in places.items()}
        for number in range(len(self.own)):
            own = {name: cuts[number] for name, cuts in places.items()}
            batch = {
                name: Examples(*(part[one.start - first[name] : one.stop - first[name]] for part in ready[name]))
                for name, one in own.items()
            }
            found.append(Share(batch, {name: (one.stop - one.start) / whole[name] for name, one in own.items()}))
        return found

    def _prepare(self, examples: Examples) -> Examples:
        augmented = self.augment(examples.images, examples.draws)
        return examples._replace(images=self.network.prepare(augmented))

    def _apply(self, rule: Rule, optimizer: torch.optim.Optimizer, grads: list[Tensor]) -> None:
        for weight, grad in zip(self.weights, grads, strict=True):
            # Fused optimizers need a gradient laid out like its weight, and a mask may have changed the layout.
            weight.grad = grad if grad.stride() == weight.stride() else torch.empty_like(weight).copy_(grad)
        if not isinstance(rule, Masked):
            optimizer.step()
            return
        saved = [weight.detach().clone() for weight in self.weights]
        optimizer.step()
        with torch.no_grad():
            for weight, old, movable in zip(self.weights, saved, rule.movable, strict=True):
                weight.copy_(torch.where(movable, weight, old))


@dataclass(frozen=True)
class Share:
    """A part of a batch.

    Attributes:
        batch: its examples by stream; shares: which share of each stream's whole batch they are, in [0, 1].
    """

    batch: Mapping[str, Examples]
    shares: Mapping[str, float]

    def loss(self, part: str, method: Method, logits: Logits) -> Tensor:
        """Return what this part adds to a loss that is a mean over the whole batch; 0 where it has no row."""
        if part == "all" and len(set(self.shares.values())) > 1:  # streams that do not divide alike
            pieces = [self.loss(one, method, logits) for one in method.parts if one != part]
            return torch.stack(pieces).sum()
        stream = part if part in self.shares else next(iter(self.shares))
        share = self.shares[stream]
        return share * method.loss(part, self.batch, logits) if share else torch.zeros(
            (), device=logits.epoch.device, dtype=logits.epoch.dtype, requires_grad=True
        )  # fmt: skip


@dataclass
class Watch:
    """Looks at a network between steps: after every epoch, and at 1/4, 1/2 and 3/4 of the first, when most happens.

    Attributes:
        step: the step whose network and counter it reads.
        observe: called with the network and the epochs done so far; what it returns is kept. None: nobody looks.
        rows: what was seen since the last epoch's end, with `progress` and `gradient_evaluations`.
        seconds: time spent looking, which is no training time.
    """

    step: Step
    observe: Observe | None = None
    rows: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0

    def __call__(self, epoch: int, done: int, total: int) -> None:
        """Look, if it is time to, after `done` of an epoch's `total` steps."""
        early = {round(total * part / 4) for part in (1, 2, 3)} if epoch == 0 else set()
        if self.observe is None or done not in early | {total}:
            return
        network = self.step.network
        if network.device.type == "cuda":
            torch.cuda.synchronize(network.device)  # steps still under way are training time
        started = time.perf_counter()
        row = {"progress": epoch + done / total, "gradient_evaluations": self.step.logits.evaluated}
        self.rows.append(row | dict(self.observe(network, row["progress"])))
        network.model.train()
        self.seconds += time.perf_counter() - started

    def take(self) -> dict[str, Any]:
        """Return what was seen in the epoch that ends, as a part of its row, and forget it."""
        rows, self.rows = self.rows, []
        return {"accuracies": rows} if rows else {}


def make_optimizer(recipe: Hyperparameters, weights: list[Tensor]) -> torch.optim.Optimizer:
    """Return the base optimizer; its learning rate is a tensor, so that a captured step can follow it."""
    device = weights[0].device
    gpu = device.type == "cuda"
    lr = torch.tensor(recipe.lr, device=device, dtype=torch.float32 if gpu else torch.float64)  # CUDA reads float32
    shared: dict[str, Any] = {"lr": lr, "weight_decay": recipe.weight_decay, "fused": True}
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(weights, momentum=recipe.momentum, **shared)
    adaptive = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[recipe.optimizer]
    return adaptive(weights, capturable=gpu, **shared)


def learning_rate(recipe: Hyperparameters, epoch: int, progress: float) -> float:
    """Return the learning rate of a step.

    Args:
        recipe: schedule and rates; `multistep` is the released code's: x 0.2 at epochs 91 and 136 of retraining.
        epoch: epochs finished before this step.
        progress: share of the current epoch that is done, in [0, 1).
    """
    now = epoch + progress
    if now < recipe.warmup_epochs:
        return recipe.warmup_lr * (now + 1e-3) / recipe.warmup_epochs
    if recipe.schedule == "cosine":
        return recipe.lr * 0.5 * (1 + math.cos(math.pi * now / recipe.epochs))
    peak = recipe.warmup_lr if recipe.warmup_epochs else recipe.lr
    return peak * (0.2 ** sum(epoch >= milestone for milestone in (91, 136)) if recipe.schedule == "multistep" else 1)


def make_runner(step: Step, engine: str, graphs: Graphs | None = None) -> Runner:
    """Return what takes the steps of a segment: graphs where asked for and possible, otherwise Python."""
    stage, network = step.stage, step.network
    images: Any = stage.images

    def own(size: int) -> slice:
        cuts = cut(size, step.parts, step.own)
        return slice(cuts[0].start, cuts[-1].stop)

    read = hasattr(images, "ahead")
    feed = Feed(images, crops=stage.augment.resized, device=network.device, own=own) if read else None
    possible = engine == "graph" and stage.group.size == 1  # what processes exchange is no part of a graph
    if possible and (images.is_cuda or (read and network.device.type == "cuda")):
        network.compile()
        graphs = graphs or CudaGraphs(network.device)
    if possible and graphs is not None:
        fetch = feed or (lambda orders, number: {name: order.rows(number) for name, order in orders.items()})
        held = None if read else images
        return GraphRunner(step, network, held, fetch=fetch, counter=step.logits, graphs=graphs)

    def eager(orders: Mapping[str, Order], number: int) -> Tensor:
        sizes = {name: len(order.rows(number)[0]) for name, order in orders.items()}
        if feed is not None:
            return step({name: Examples(*parts) for name, parts in feed(orders, number).items()}, sizes)
        return step({name: order.batch(images, number, own(sizes[name])) for name, order in orders.items()}, sizes)

    return eager


def fit(
    network: Network, stage: Stage, engine: str = "eager", *,
    graphs: Graphs | None = None, observe: Observe | None = None, pauses: Pauses | None = None,
) -> Log:  # fmt: skip
    """Train in place and return the log.

    Stops at the end of the first epoch with a loss that is not finite, or a mean loss at or below `recipe.stop_loss`.

    Args:
        network: the model to train.
        stage: what to train on and how.
        engine: `graph` replays whole steps as CUDA graphs on a GPU; anything else, and a CPU, runs them from Python.
        graphs: what the engine `graph` records with instead of CUDA graphs; the tests' stand-in works on a CPU.
        observe: looks at the network between steps, see `Watch`; it leaves weights and `seconds` as they are.
        pauses: where the state between two steps is written now and then; a state found there is gone on from.

    Raises:
        Stopped: with its state written, when `pauses` hears a signal or its time is up.
    """
    prepare_together(network, stage)
    step = Step(network, stage)
    course = Course(step, Watch(step, observe), pauses)
    course.resume()
    network.model.train()
    runner = make_runner(step, engine, graphs)
    with pauses.ending.at_checkpoints() if pauses else nullcontext():
        while not course.done:
            if course.epoch in stage.later:
                step.set_rule(stage.later[course.epoch])
                runner = make_runner(step, engine, graphs)  # a captured step is one of the rule before
            _epoch(course, runner)
    course.finish()
    for weight in step.weights:
        weight.grad = None  # the gradients of a captured step live in the graph's own memory
    return course.log


@dataclass
class Course:
    """How far a stage has come: all that a resumed one needs besides what its config and its model say.

    Attributes:
        step, watch, pauses: what takes the steps, looks at the network, and writes states.
        log: the finished epochs; epoch: how many these are; losses: those of the epoch under way, one a step.
    """

    step: Step
    watch: Watch
    pauses: Pauses | None = None
    log: Log = field(default_factory=Log)
    epoch: int = 0
    losses: list[Tensor] = field(default_factory=list)
    _started: float = field(default_factory=time.perf_counter)

    @property
    def done(self) -> bool:
        """Whether no epoch is left: all are over, a loss is not finite, or the mean loss is low enough."""
        recipe, last = self.step.stage.recipe, self.log.epochs[-1]["loss"] if self.log.epochs else None
        low_enough = last is not None and last <= recipe.stop_loss > 0  # ascent has losses below 0
        return self.epoch >= recipe.epochs or self.log.diverged_at is not None or low_enough

    def took(self, loss: Tensor, total: int) -> None:
        """Count a step of an epoch of `total`."""
        self.losses.append(loss)
        self.watch(self.epoch, len(self.losses), total)
        if self.pauses is not None and len(self.losses) < total:
            self.pauses(self.state, group=self.step.stage.group)

    def end_epoch(self) -> None:
        """Write the log's row of the epoch whose steps are all taken."""
        recipe, losses = self.step.stage.recipe, torch.stack(self.losses)
        counted = torch.tensor(self.step.logits.evaluated)
        self.step.stage.group.sum_([counted])
        self.log.gradient_evaluations = int(counted)
        broken = (~torch.isfinite(losses)).nonzero()
        mean = None if len(broken) else float(losses.mean())
        row = {"epoch": self.epoch + 1, "loss": mean, "lr": learning_rate(recipe, self.epoch, 0)}
        self.log.epochs.append(row | self.watch.take())
        if len(broken):
            self.log.diverged_at = {"epoch": self.epoch + 1, "step": int(broken[0]) + 1}
        self.epoch, self.losses = self.epoch + 1, []
        if self.pauses is not None and not self.done:
            self.pauses(self.state, epochs=self.epoch, group=self.step.stage.group)

    def finish(self) -> None:
        """Close the log; weights that the very last step made infinite are a divergence too."""
        self.log.seconds = self.seconds()
        if self.log.diverged_at is None and not all(bool(weight.isfinite().all()) for weight in self.step.weights):
            self.log.diverged_at = {"epoch": self.epoch, "step": 0}
        if self.pauses is not None and self.step.stage.group.first:
            self.pauses.finish(self.state, self.log.seconds)

    def seconds(self) -> float:
        """Return the time spent training, that of the processes before included."""
        aside = self.watch.seconds + (self.pauses.written if self.pauses else 0.0)
        return time.perf_counter() - self._started - aside

    def state(self) -> bytes:
        """Return everything as bytes, see `empirical.training.checkpoint`."""
        said = {"epoch": self.epoch, "log": asdict(self.log), "seen": self.watch.rows, "seconds": self.seconds()}
        said |= {"observed": self.watch.observe is not None, "evaluated": self.step.logits.evaluated}
        return to_bytes(self.step.network.model, self.step.optimizers, self.losses, said)

    def resume(self) -> None:
        """Go on from the newest state there is; one that was not looked at on its way is of no use to who looks."""
        pauses = self.pauses
        data = self.step.stage.group.tell(pauses.kept.latest) if pauses else None
        said = described(data).get("said") if data else None
        if data is None or said is None or said["observed"] != (self.watch.observe is not None):
            return
        network = self.step.network
        self.losses, _ = from_bytes(data, network.model, self.step.optimizers, network.device)
        self.log = Log(**{**said["log"], "resumed": said["log"]["resumed"] + 1})
        self.epoch, self.watch.rows, self.step.logits.evaluated = said["epoch"], said["seen"], said["evaluated"]
        under_way = [start for start in self.step.stage.later if start <= self.epoch]
        if under_way:
            self.step.set_rule(self.step.stage.later[max(under_way)])
        self._started -= said["seconds"]


def _epoch(course: Course, runner: Runner) -> None:
    """Take the steps of one epoch that are not taken yet."""
    step, stage, epoch = course.step, course.step.stage, course.epoch
    arranger = Arranger(stage.seed, stage.augment.columns, step.network.device)
    step.epoch.fill_(epoch)
    segments = stage.method.segments(stage.sets, epoch, arranger.generator("labels", epoch))
    total = sum(segment.steps for segment in segments)
    before = 0  # steps of earlier segments
    for place, segment in enumerate(segments):
        orders = arranger.arrange(segment, "epoch", epoch, place)
        for number in range(len(course.losses) - before, segment.steps):
            step.set_rate(learning_rate(stage.recipe, epoch, len(course.losses) / total))
            course.took(runner(orders, number), total)
        before += segment.steps
    course.end_epoch()


def prepare_together(network: Network, stage: Stage) -> None:
    """Let the processes of a stage start from the same weights, and normalize together where it asks for that.

    Raises:
        ConfigError: when they cannot.
    """
    group, recipe = stage.group, stage.recipe
    if recipe.sync_batchnorm:
        if network.device.type != "cuda":
            raise reject("sync_batchnorm", True, "false on a CPU", "torch synchronizes BatchNorm on GPUs only")
        if group.size != recipe.batch_parts:
            raise reject("batch_parts", recipe.batch_parts, f"{group.size}, one a process, with sync_batchnorm")
        network.replace_model(torch.nn.SyncBatchNorm.convert_sync_batchnorm(network.model))
    if group.size > 1:
        own = group.tell(lambda: {name: tensor.cpu() for name, tensor in network.model.state_dict().items()})
        network.model.load_state_dict(own)


def frozen_copy(network: Network) -> Network:
    """Return the network in evaluation mode with weights that take no gradient, as a teacher."""
    for parameter in network.model.parameters():
        parameter.requires_grad_(False)
    network.model.eval()
    return network
