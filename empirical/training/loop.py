"""The training loop: takes a stage's steps epoch by epoch, with schedules, observers and checkpoints."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from empirical.models.network import Network, drawing_from
from empirical.settings.run_config import Hyperparameters
from empirical.training.batches import Arranger, Examples, Feed, Order
from empirical.training.checkpoint import Pauses, described, from_bytes, to_bytes
from empirical.training.graph import CudaGraphs, GraphRunner, Graphs
from empirical.training.step import Stage, Step
from empirical.training.together import cut
from repro.base.settings import reject
from repro.records.identity import derive_seed

Runner = Callable[[Mapping[str, Order], int], Tensor]
Observe = Callable[[Network, float], Mapping[str, float]]
Tell = Callable[[Mapping[str, Any]], Any]


@dataclass
class Log:
    """The results of training besides the weights.

    Attributes:
        epochs: a row for each epoch: mean loss, learning rate, and what was observed.
        gradient_evaluations: number of gradients of single examples.
        diverged_at: `{epoch, step}` of the first loss that is not finite, or None.
        seconds: wall time of the loop, without observing, writing checkpoints and preparing.
        seconds_preparing: wall time of the first step of each kind, which generates code, and of graph capture.
        resumed: how often training continued from a checkpoint.
        ran: number of steps by how they ran, see `Step`.
    """

    epochs: list[dict[str, Any]] = field(default_factory=list)
    gradient_evaluations: int = 0
    diverged_at: dict[str, int] | None = None
    seconds: float = 0.0
    seconds_preparing: float = 0.0
    resumed: int = 0
    ran: dict[str, int] = field(default_factory=dict)


def weights_are_finite(step: Step) -> bool:
    """Return whether all weights that a step trains are finite."""
    return all(bool(weight.isfinite().all()) for weight in step.weights)


def learning_rate(recipe: Hyperparameters, epoch: int, progress: float) -> float:
    """Return the learning rate of a step.

    Args:
        recipe: schedule and rates; `multistep`, from the released code, multiplies by 0.2 at epochs 91 and 136.
        epoch: epochs finished before this step.
        progress: fraction of the current epoch that is done, in [0, 1).
    """
    now = epoch + progress
    if now < recipe.warmup_epochs:
        return recipe.warmup_lr * (now + 1e-3) / recipe.warmup_epochs
    if recipe.schedule == "cosine":
        return recipe.lr * 0.5 * (1 + math.cos(math.pi * now / recipe.epochs))
    peak = recipe.warmup_lr if recipe.warmup_epochs else recipe.lr
    return peak * (0.2 ** sum(epoch >= milestone for milestone in (91, 136)) if recipe.schedule == "multistep" else 1)


def make_runner(step: Step, engine: str, graphs: Graphs | None = None) -> Runner:
    """Return a function that takes the steps of a phase: by CUDA graphs if possible and wanted, else from Python."""
    stage, network = step.stage, step.network
    images: Any = stage.images

    def own(size: int) -> slice:
        cuts = cut(size, step.parts, step.own)
        return slice(cuts[0].start, cuts[-1].stop)

    read, on_gpu = getattr(images, "ahead", False), network.device.type == "cuda"
    feed = Feed(images, crops=stage.augment.resized, device=network.device, own=own) if read else None
    if engine in ("graph", "compiled") and on_gpu and (images.is_cuda or read):
        if not stage.recipe.sync_batchnorm:  # its forward pass waits for the other processes
            network.compile()
        if stage.teacher is not None:
            stage.teacher.compile()
        search_kernels()
        if engine == "graph" and stage.group.size == 1:
            graphs = graphs or CudaGraphs(network.device)
    if engine == "graph" and stage.group.size == 1 and graphs is not None:  # graphs hold no exchange of processes
        fetch = feed or (lambda orders, number: {name: order.inputs(number) for name, order in orders.items()})
        held = None if read else images
        return GraphRunner(step, held, fetch=fetch, graphs=graphs)

    def eager(orders: Mapping[str, Order], number: int) -> Tensor:
        sizes = {name: len(order.inputs(number)[0]) for name, order in orders.items()}
        odd = any(sizes[name] < order.batch_size for name, order in orders.items())
        if feed is not None:
            batch = {name: Examples(*parts) for name, parts in feed(orders, number).items()}
        else:
            batch = {name: order.batch(images, number, own(sizes[name])) for name, order in orders.items()}
        step.count("eager", odd=odd)
        with step.uncompiled() if odd else nullcontext():
            return step(batch, sizes)

    return eager


def search_kernels() -> None:
    """Let cuDNN time its kernels for each new shape, unless deterministic results are required."""
    cudnn = torch.backends.cudnn
    cudnn.benchmark = not (cudnn.deterministic or torch.are_deterministic_algorithms_enabled())


def fit(
    network: Network, stage: Stage, engine: str = "eager", *,
    graphs: Graphs | None = None, observe: Observe | None = None, pauses: Pauses | None = None,
    tell: Tell | None = None,
) -> Log:  # fmt: skip
    """Train a network in place and return the log.

    Training stops after the first epoch with a loss that is not finite, or a mean loss at or below `recipe.stop_loss`.

    Args:
        network: the model to train.
        stage: what to train on and how.
        engine: `graph` replays whole steps as CUDA graphs on a GPU; `compiled` runs steps from Python with generated
            code, as several processes do; any other value, and a CPU, runs steps from Python without generated code.
        graphs: replaces CUDA graphs in the engine `graph`; tests pass an object that works on a CPU.
        observe: observes the network between steps (see `TrainingLoop`); it must not change the weights.
        pauses: writes checkpoints between steps; training continues from a checkpoint that it finds.
        tell: called with the log's row of every epoch as it ends.

    Raises:
        Stopped: after writing a checkpoint, if `pauses` receives a signal or its time is up.
        ConfigError: if a batch is a single image and BatchNorm has nothing else to normalize over.
    """
    prepare_together(network, stage)
    step = Step(network, stage)
    training = TrainingLoop(step, observe, pauses, tell, Log(ran=step.ran))
    parts = pauses.ending.at_checkpoints() if pauses else nullcontext()
    # Random numbers of the model itself, such as dropout, also follow from the stage.
    with drawing_from(derive_seed(stage.seed, "model", stage.group.rank)), one_image_refused(stage), parts:
        training.resume()
        network.model.train()
        runner = make_runner(step, engine, graphs)
        while not training.done:
            if training.epoch in stage.later:
                step.set_rule(stage.later[training.epoch])
                # A captured step belongs to the previous rule.
                runner = make_runner(step, engine, graphs)
            _epoch(training, runner)
    training.finish()
    normalize_alone(network, stage)
    for weight in step.weights:
        weight.grad = None  # the gradients of a captured step lie in the graph's memory
    return training.log


def refuse_empty_parts(stage: Stage) -> None:
    """Refuse batches with fewer rows than parts, for SyncBatchNorm.

    A process without rows takes no forward pass, and SyncBatchNorm in the others would wait forever. The check covers
    the first epoch; later epochs of a method read the same sets.

    Raises:
        ConfigError: naming the smallest batch.
    """
    for phase in stage.method.phases(stage.sets, 0, torch.Generator()):
        for place, rows in enumerate(phase.streams.values()):
            full = min(rows.batch_size, len(rows))
            smallest = len(rows) % full or full if place == 0 else full  # the others repeat, so their batches are full
            if smallest < stage.recipe.batch_parts:
                remedy = f"the last batch has {smallest} images; change batch_size, or omit sync_batchnorm"
                raise reject("batch_parts", stage.recipe.batch_parts, "at most the size of every batch", remedy)


def normalize_alone(network: Network, stage: Stage) -> None:
    """Replace SyncBatchNorm by BatchNorm after joint training, so that a single process can use the network."""
    layers = network.model.modules() if stage.group.size > 1 else ()
    for parent in list(layers):
        for name, layer in parent.named_children():
            if isinstance(layer, torch.nn.SyncBatchNorm):
                own = torch.nn.BatchNorm2d(layer.num_features, layer.eps, layer.momentum, layer.affine).train(
                    layer.training
                )
                for part in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
                    setattr(own, part, getattr(layer, part))
                setattr(parent, name, own)


@contextmanager
def one_image_refused(stage: Stage) -> Iterator[None]:
    """Raise a readable error for a batch that BatchNorm cannot normalize.

    Raises:
        ConfigError: in place of torch's error, with a remedy.
    """
    try:
        yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        sizes = stage.recipe.batch_size, stage.recipe.forget_batch_size
        remedy = "BatchNorm has nothing to normalize over; change batch_size or forget_batch_size, or forget more"
        raise reject("batch sizes", sizes, "such that no batch is a single image", remedy) from error


@dataclass
class TrainingLoop:
    """The progress of a stage: all that is needed to resume it, besides its config and its model.

    Attributes:
        step: takes the steps.
        observe: called with the network and the epochs done so far, returns numbers to record; None: no observation. It
            is called after every epoch, and at 1/4, 1/2 and 3/4 of the first, when most happens.
        pauses: writes checkpoints; tell: called with the log's row of every epoch.
        log: the finished epochs; epoch: their number; losses: the losses of the current epoch, one per step.
        seen: what was observed in the current epoch, with `progress` and `gradient_evaluations`.
        observing: time spent observing, in seconds, which does not count as training time.
    """

    step: Step
    observe: Observe | None = None
    pauses: Pauses | None = None
    tell: Tell | None = None
    log: Log = field(default_factory=Log)
    epoch: int = 0
    losses: list[Tensor] = field(default_factory=list)
    seen: list[dict[str, Any]] = field(default_factory=list)
    observing: float = 0.0
    _started: float = field(default_factory=time.perf_counter)

    @property
    def done(self) -> bool:
        """Whether training is over: all epochs are done, a loss is not finite, or the mean loss is low enough."""
        recipe, last = self.step.stage.recipe, self.log.epochs[-1]["loss"] if self.log.epochs else None
        low_enough = last is not None and last <= recipe.stop_loss > 0  # ascent has losses below 0
        return self.epoch >= recipe.epochs or self.log.diverged_at is not None or low_enough

    def took(self, loss: Tensor, total: int) -> None:
        """Count a step of an epoch of `total` steps, observe, and write a checkpoint if one is due."""
        self.losses.append(loss)
        taken = len(self.losses)
        early = {round(total * part / 4) for part in (1, 2, 3)} if self.epoch == 0 else set()
        if self.observe is not None and taken in early | {total}:
            self.look(self.observe, self.epoch + taken / total)
        if self.pauses is not None and taken < total:
            self.pauses(self.state, group=self.step.stage.group)

    def look(self, observe: Observe, progress: float) -> None:
        """Observe the network, unless it has diverged: then it predicts one class and only seems to have forgotten.

        Args:
            observe: what looks at it; progress: epochs done so far.
        """
        network = self.step.network
        if network.device.type == "cuda":
            torch.cuda.synchronize(network.device)  # the time of pending steps is training time
        started = time.perf_counter()
        if weights_are_finite(self.step):
            row = {"progress": progress, "gradient_evaluations": self.step.logits.evaluated}
            self.seen.append(row | dict(observe(network, progress)))
            network.model.train()
            self.observing += time.perf_counter() - started

    def end_epoch(self) -> None:
        """Add the row of a finished epoch to the log."""
        recipe, losses = self.step.stage.recipe, torch.stack(self.losses) if self.losses else torch.zeros(0)
        counted = torch.tensor(self.step.logits.evaluated)
        self.step.stage.group.sum_([counted])
        self.log.gradient_evaluations = int(counted)
        broken = (~torch.isfinite(losses)).nonzero()
        mean = None if len(broken) or not len(losses) else float(losses.mean())  # a method may take no step
        row = {"epoch": self.epoch + 1, "loss": mean, "lr": learning_rate(recipe, self.epoch, 0)}
        self.log.epochs.append(row | ({"accuracies": self.seen} if self.seen else {}))
        if self.tell is not None:
            self.tell(self.log.epochs[-1])
        if len(broken):
            self.log.diverged_at = {"epoch": self.epoch + 1, "step": int(broken[0]) + 1}
        self.epoch, self.losses, self.seen = self.epoch + 1, [], []
        if self.pauses is not None and not self.done:
            self.pauses(self.state, epochs=self.epoch, group=self.step.stage.group)

    def finish(self) -> None:
        """Close the log; infinite weights after the last step are a divergence too."""
        self.log.seconds = self.seconds()
        self.log.seconds_preparing += self.step.preparing
        if self.log.diverged_at is None and not weights_are_finite(self.step):
            self.log.diverged_at = {"epoch": self.epoch, "step": 0}
        if self.pauses is not None and self.step.stage.group.first:
            self.pauses.finish(self.state, self.log.seconds)

    def seconds(self) -> float:
        """Return the training time in seconds, including the time before a resume."""
        aside = self.observing + self.step.preparing + (self.pauses.written if self.pauses else 0.0)
        return time.perf_counter() - self._started - aside + self.step.stage.seconds

    def state(self) -> bytes:
        """Return the state as bytes, see `empirical.training.checkpoint`."""
        said = {"epoch": self.epoch, "log": asdict(self.log), "seen": self.seen, "seconds": self.seconds()}
        said |= {"observed": self.observe is not None, "evaluated": self.step.logits.evaluated}
        return to_bytes(self.step.network.model, self.step.optimizers, self.losses, said)

    def resume(self) -> None:
        """Continue from the newest checkpoint, unless only one of the two trainings has an observer."""
        pauses = self.pauses
        data = self.step.stage.group.broadcast(pauses.checkpoints.latest) if pauses else None
        said = described(data).get("said") if data else None
        if data is None or said is None or said["observed"] != (self.observe is not None):
            return
        network = self.step.network
        self.losses, _ = from_bytes(data, network.model, self.step.optimizers, network.device)
        self.log = Log(**{**said["log"], "resumed": said["log"]["resumed"] + 1})
        self.step.ran = self.log.ran
        self.epoch, self.seen, self.step.logits.evaluated = said["epoch"], said["seen"], said["evaluated"]
        under_way = [start for start in self.step.stage.later if start <= self.epoch]
        if under_way:
            self.step.set_rule(self.step.stage.later[max(under_way)])
        self._started -= said["seconds"]


def _epoch(training: TrainingLoop, runner: Runner) -> None:
    """Take the remaining steps of an epoch."""
    step, stage, epoch = training.step, training.step.stage, training.epoch
    arranger = Arranger(stage.seed, stage.augment.columns, step.network.device)
    step.epoch.fill_(epoch)
    phases = stage.method.phases(stage.sets, epoch, arranger.generator("labels", epoch))
    total = sum(phase.steps for phase in phases)
    before = 0  # steps of earlier phases
    for place, phase in enumerate(phases):
        orders = arranger.arrange(phase, "epoch", epoch, place)
        for number in range(len(training.losses) - before, phase.steps):
            step.set_rate(learning_rate(stage.recipe, epoch, len(training.losses) / total))
            training.took(runner(orders, number), total)
        before += phase.steps
    training.end_epoch()


def prepare_together(network: Network, stage: Stage) -> None:
    """Give the processes of a stage the same initial weights, and SyncBatchNorm if the stage asks for it.

    Raises:
        ConfigError: if SyncBatchNorm cannot run.
    """
    group, recipe = stage.group, stage.recipe
    if recipe.sync_batchnorm:
        if network.device.type != "cuda":
            raise reject("sync_batchnorm", True, "false on a CPU", "torch synchronizes BatchNorm on GPUs only")
        if group.size != recipe.batch_parts:
            raise reject("batch_parts", recipe.batch_parts, f"{group.size}, one per process, with sync_batchnorm")
        refuse_empty_parts(stage)
        network.replace_model(torch.nn.SyncBatchNorm.convert_sync_batchnorm(network.model))
    if group.size > 1:
        own = group.broadcast(lambda: {name: tensor.cpu() for name, tensor in network.model.state_dict().items()})
        network.model.load_state_dict(own)
