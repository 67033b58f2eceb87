"""The loop: takes a stage's steps epoch by epoch, under its schedules, watched, and with pauses to go on from."""

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
from empirical.training.graph import CudaGraphs, GraphRunner, Graphs, Stopwatch, count
from empirical.training.step import Stage, Step
from empirical.training.together import cut
from repro.base.settings import reject
from repro.records.identity import derive_seed

Runner = Callable[[Mapping[str, Order], int], Tensor]
Observe = Callable[[Network, float], Mapping[str, float]]
Tell = Callable[[Mapping[str, Any]], Any]


@dataclass
class Log:
    """What training left behind besides the weights.

    Attributes:
        epochs: one row an epoch: mean loss, learning rate, and what was observed in it.
        gradient_evaluations: gradients of single examples that were computed.
        diverged_at: `{epoch, step}` of the first loss that is not finite, or None.
        seconds: wall time of the loop, without looking, writing states and preparing.
        seconds_preparing: wall time of the first step of each kind, which generates code, and of recording it.
        resumed: how often it went on from a checkpoint.
        ran: steps by how they really ran: `captured` and replayed as a graph, or `eager`, from Python; in `compiled`
            how many of these took their full batches through generated code.
    """

    epochs: list[dict[str, Any]] = field(default_factory=list)
    gradient_evaluations: int = 0
    diverged_at: dict[str, int] | None = None
    seconds: float = 0.0
    seconds_preparing: float = 0.0
    resumed: int = 0
    ran: dict[str, int] = field(default_factory=dict)


@dataclass
class Observer:
    """Looks at a network between steps: after every epoch, and at 1/4, 1/2 and 3/4 of the first, when most happens.

    A network that has diverged is not looked at.

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
        if not finite(self.step):  # it would name the first class everywhere, and seem to have forgotten
            return
        row = {"progress": epoch + done / total, "gradient_evaluations": self.step.logits.evaluated}
        self.rows.append(row | dict(self.observe(network, row["progress"])))
        network.model.train()
        self.seconds += time.perf_counter() - started

    def take(self) -> dict[str, Any]:
        """Return what was seen in the epoch that ends, as a part of its row, and forget it."""
        rows, self.rows = self.rows, []
        return {"accuracies": rows} if rows else {}


def finite(step: Step) -> bool:
    """Return whether every weight that a step trains is a number."""
    return all(bool(weight.isfinite().all()) for weight in step.weights)


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


def make_runner(
    step: Step, engine: str, graphs: Graphs | None = None, preparing: Stopwatch | None = None,
    ran: dict[str, int] | None = None,
) -> Runner:  # fmt: skip
    """Return what takes the steps of a segment: graphs where asked for and possible, otherwise Python."""
    preparing, ran = preparing or Stopwatch(), {} if ran is None else ran
    stage, network = step.stage, step.network
    images: Any = stage.images

    def own(size: int) -> slice:
        cuts = cut(size, step.parts, step.own)
        return slice(cuts[0].start, cuts[-1].stop)

    read, on_gpu = hasattr(images, "ahead"), network.device.type == "cuda"
    feed = Feed(images, crops=stage.augment.resized, device=network.device, own=own) if read else None
    if engine in ("graph", "compiled") and on_gpu and (images.is_cuda or read):
        if not stage.recipe.sync_batchnorm:  # whose forward pass waits for the other processes
            network.compile()
        if stage.teacher is not None:
            stage.teacher.compile()
        search_kernels()
        if engine == "graph" and stage.group.size == 1:
            graphs = graphs or CudaGraphs(network.device)
    if engine == "graph" and stage.group.size == 1 and graphs is not None:  # what processes exchange is in no graph
        fetch = feed or (lambda orders, number: {name: order.rows(number) for name, order in orders.items()})
        held = None if read else images
        return GraphRunner(step, held, fetch=fetch, graphs=graphs, preparing=preparing, ran=ran)

    def eager(orders: Mapping[str, Order], number: int) -> Tensor:
        sizes = {name: len(order.rows(number)[0]) for name, order in orders.items()}
        odd = any(sizes[name] < order.batch_size for name, order in orders.items())
        if feed is not None:
            batch = {name: Examples(*parts) for name, parts in feed(orders, number).items()}
        else:
            batch = {name: order.batch(images, number, own(sizes[name])) for name, order in orders.items()}
        count(ran, "eager", *(["compiled"] if network.compiled and not odd else []))
        with step.uncompiled() if odd else nullcontext():
            return step(batch, sizes)

    return eager


def search_kernels() -> None:
    """Let cuDNN time its kernels for each new shape, unless somebody asks for the same bits every time."""
    cudnn = torch.backends.cudnn
    cudnn.benchmark = not (cudnn.deterministic or torch.are_deterministic_algorithms_enabled())


def fit(
    network: Network, stage: Stage, engine: str = "eager", *,
    graphs: Graphs | None = None, observe: Observe | None = None, pauses: Pauses | None = None,
    tell: Tell | None = None,
) -> Log:  # fmt: skip
    """Train in place and return the log.

    Stops at the end of the first epoch with a loss that is not finite, or a mean loss at or below `recipe.stop_loss`.

    Args:
        network: the model to train.
        stage: what to train on and how.
        engine: `graph` replays whole steps as CUDA graphs on a GPU; `compiled` runs them from Python over generated
            code, as several processes do; anything else, and a CPU, runs them from Python as they are written.
        graphs: what the engine `graph` records with instead of CUDA graphs; the tests' stand-in works on a CPU.
        observe: looks at the network between steps, see `Observer`; it leaves weights and `seconds` as they are.
        pauses: where the state between two steps is written now and then; a state found there is gone on from.
        tell: called with the log's row of every epoch as it ends.

    Raises:
        Stopped: with its state written, when `pauses` hears a signal or its time is up.
        ConfigError: when a batch of one image reaches a BatchNorm that has nothing else to normalize over.
    """
    prepare_together(network, stage)
    step = Step(network, stage)
    session = Session(step, Observer(step, observe), pauses, tell)
    parts = pauses.ending.at_checkpoints() if pauses else nullcontext()
    # What a model draws while it trains, as dropout does, follows from the stage too.
    with drawing_from(derive_seed(stage.seed, "model", stage.group.rank)), one_image_refused(stage), parts:
        session.resume()
        network.model.train()
        runner = make_runner(step, engine, graphs, session.preparing, session.log.ran)
        while not session.done:
            if session.epoch in stage.later:
                step.set_rule(stage.later[session.epoch])
                # A captured step is one of the rule before.
                runner = make_runner(step, engine, graphs, session.preparing, session.log.ran)
            _epoch(session, runner)
    session.finish()
    normalize_alone(network, stage)
    for weight in step.weights:
        weight.grad = None  # the gradients of a captured step live in the graph's own memory
    return session.log


def refuse_empty_parts(stage: Stage) -> None:
    """Refuse batches with fewer rows than parts: a process without a row takes no forward pass.

    SyncBatchNorm of the others would wait for it for ever. Segments are those of the first epoch; later epochs of a
    method read the same sets.

    Raises:
        ConfigError: naming the smallest batch.
    """
    for segment in stage.method.segments(stage.sets, 0, torch.Generator()):
        for place, rows in enumerate(segment.streams.values()):
            full = min(rows.batch_size, len(rows))
            smallest = len(rows) % full or full if place == 0 else full  # the others start over: always full
            if smallest < stage.recipe.batch_parts:
                remedy = f"its last batch has {smallest} images; change batch_size, or leave sync_batchnorm out"
                raise reject("batch_parts", stage.recipe.batch_parts, "at most the images of every batch", remedy)


def normalize_alone(network: Network, stage: Stage) -> None:
    """Give a network that processes have trained together BatchNorm of its own: whoever uses it next may be alone."""
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
    """Say what to do about a batch that BatchNorm cannot normalize.

    Raises:
        ConfigError: in place of torch's own error.
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
class Session:
    """How far a stage has come: all that a resumed one needs besides what its config and its model say.

    Attributes:
        step, observer, pauses: what takes the steps, looks at the network, and writes states.
        tell: what is told of every epoch.
        log: the finished epochs; epoch: how many these are; losses: those of the epoch under way, one a step.
        preparing: the time of what happens once, in this process.
    """

    step: Step
    observer: Observer
    pauses: Pauses | None = None
    tell: Tell | None = None
    log: Log = field(default_factory=Log)
    epoch: int = 0
    losses: list[Tensor] = field(default_factory=list)
    preparing: Stopwatch = field(default_factory=Stopwatch)
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
        self.observer(self.epoch, len(self.losses), total)
        if self.pauses is not None and len(self.losses) < total:
            self.pauses(self.state, group=self.step.stage.group)

    def end_epoch(self) -> None:
        """Write the log's row of the epoch whose steps are all taken."""
        recipe, losses = self.step.stage.recipe, torch.stack(self.losses) if self.losses else torch.zeros(0)
        counted = torch.tensor(self.step.logits.evaluated)
        self.step.stage.group.sum_([counted])
        self.log.gradient_evaluations = int(counted)
        broken = (~torch.isfinite(losses)).nonzero()
        mean = None if len(broken) or not len(losses) else float(losses.mean())  # a method may take no step
        row = {"epoch": self.epoch + 1, "loss": mean, "lr": learning_rate(recipe, self.epoch, 0)}
        self.log.epochs.append(row | self.observer.take())
        if self.tell is not None:
            self.tell(self.log.epochs[-1])
        if len(broken):
            self.log.diverged_at = {"epoch": self.epoch + 1, "step": int(broken[0]) + 1}
        self.epoch, self.losses = self.epoch + 1, []
        if self.pauses is not None and not self.done:
            self.pauses(self.state, epochs=self.epoch, group=self.step.stage.group)

    def finish(self) -> None:
        """Close the log; weights that the very last step made infinite are a divergence too."""
        self.log.seconds = self.seconds()
        self.log.seconds_preparing += self.preparing.seconds
        if self.log.diverged_at is None and not finite(self.step):
            self.log.diverged_at = {"epoch": self.epoch, "step": 0}
        if self.pauses is not None and self.step.stage.group.first:
            self.pauses.finish(self.state, self.log.seconds)

    def seconds(self) -> float:
        """Return the time spent training, that of the processes before included."""
        aside = self.observer.seconds + self.preparing.seconds + (self.pauses.written if self.pauses else 0.0)
        return time.perf_counter() - self._started - aside + self.step.stage.seconds

    def state(self) -> bytes:
        """Return everything as bytes, see `empirical.training.checkpoint`."""
        said = {"epoch": self.epoch, "log": asdict(self.log), "seen": self.observer.rows, "seconds": self.seconds()}
        said |= {"observed": self.observer.observe is not None, "evaluated": self.step.logits.evaluated}
        return to_bytes(self.step.network.model, self.step.optimizers, self.losses, said)

    def resume(self) -> None:
        """Go on from the newest state there is; one that was not looked at on its way is of no use to who looks."""
        pauses = self.pauses
        data = self.step.stage.group.tell(pauses.kept.latest) if pauses else None
        said = described(data).get("said") if data else None
        if data is None or said is None or said["observed"] != (self.observer.observe is not None):
            return
        network = self.step.network
        self.losses, _ = from_bytes(data, network.model, self.step.optimizers, network.device)
        self.log = Log(**{**said["log"], "resumed": said["log"]["resumed"] + 1})
        self.epoch, self.observer.rows, self.step.logits.evaluated = said["epoch"], said["seen"], said["evaluated"]
        under_way = [start for start in self.step.stage.later if start <= self.epoch]
        if under_way:
            self.step.set_rule(self.step.stage.later[max(under_way)])
        self._started -= said["seconds"]


def _epoch(session: Session, runner: Runner) -> None:
    """Take the steps of one epoch that are not taken yet."""
    step, stage, epoch = session.step, session.step.stage, session.epoch
    arranger = Arranger(stage.seed, stage.augment.columns, step.network.device)
    step.epoch.fill_(epoch)
    segments = stage.method.segments(stage.sets, epoch, arranger.generator("labels", epoch))
    total = sum(segment.steps for segment in segments)
    before = 0  # steps of earlier segments
    for place, segment in enumerate(segments):
        orders = arranger.arrange(segment, "epoch", epoch, place)
        for number in range(len(session.losses) - before, segment.steps):
            step.set_rate(learning_rate(stage.recipe, epoch, len(session.losses) / total))
            session.took(runner(orders, number), total)
        before += segment.steps
    session.end_epoch()


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
        refuse_empty_parts(stage)
        network.replace_model(torch.nn.SyncBatchNorm.convert_sync_batchnorm(network.model))
    if group.size > 1:
        own = group.tell(lambda: {name: tensor.cpu() for name, tensor in network.model.state_dict().items()})
        network.model.load_state_dict(own)
