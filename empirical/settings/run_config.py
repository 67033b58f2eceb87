"""One network run as a frozen dataclass: everything its numbers depend on, and nothing else. Imports no torch."""

import re
from copy import copy
from dataclasses import dataclass
from typing import Any, TypeVar

from empirical.registry import known, rule
from empirical.released import Fidelity, resolve
from empirical.settings.rule_labels import parse_legs, parse_options, parse_rule
from repro.base.errors import ConfigError
from repro.base.parts import settings_of_metrics
from repro.base.settings import check, refuse_cost, reject, setting

T = TypeVar("T")
KIND = "unlearn"
SEARCH = "choice"
FLOOR = "floor"
ESTIMATE = "memorization"
# Small models without augmentation fit their subset well before the original's epochs are over.
LONGEST_HOURS = 1e5
LONGEST = 20
OPTIMIZERS = ("sgd", "adam", "adamw")
SCHEDULES = ("cosine", "constant", "multistep")
AUGMENTS = ("none", "shift", "flip", "crop-flip", "resized-crop")
PRECISIONS = ("fp32", "bf16", "fp64")
ROWS = ("all", "validation", "report")
PERTURBATIONS = ("global", "local")


@dataclass(frozen=True)
class Hyperparameters:
    """How one training stage runs.

    Attributes:
        epochs: passes over the leading set.
        lr: peak learning rate.
        batch_size: rows a step; forget_batch_size: rows of a step's forget batch (0: the same).
        optimizer: `sgd`, `adam` or `adamw`; momentum (SGD only) and weight_decay as in torch.optim.
        schedule: `cosine`, `constant` or `multistep`; warmup_epochs ramp to warmup_lr linearly first.
        stop_loss: the stage ends after the first epoch with a mean loss at or below it; 0 trains every epoch.
        batch_parts: parts of a batch that are normalized and differentiated one by one, their gradients summed.
        perturbation: SAM's, from the gradient of the whole batch (`global`) or of each part (`local`).
        sync_batchnorm: whether the parts, one a process, are normalized together.
    """

    epochs: int
    lr: float
    batch_size: int
    forget_batch_size: int
    optimizer: str
    momentum: float
    weight_decay: float
    schedule: str
    warmup_epochs: int
    warmup_lr: float
    stop_loss: float = 0.0
    batch_parts: int = 1
    perturbation: str = "global"
    sync_batchnorm: bool = False


@dataclass(frozen=True)
class Runtime:
    """Where and how a run is computed; never part of its identity.

    Attributes:
        device: `auto`, `cpu`, `cuda`, or one of several GPUs: `cuda:0`, `cuda:1`, ...
        data_root: folder of local image files; empty means the environment variable `REPRO_DATA`.
        allow_download: whether torchvision may fetch a missing data set.
        engine: `eager` or `graph` (a captured CUDA graph; falls back to eager where it cannot run).
        require_gpu: refuse to fall back from a GPU to the CPU, or from graphs to eager steps.
        threads: threads of each process on a CPU, 0 for one a core; more than one may change the last digits.
        readers: processes that decode images on disk beside a run; 0 is one a core on a GPU, none on a CPU.
        keep_models: whether unlearned weights are stored too, so that a metric asked for later needs no training.
        checkpoint_seconds, checkpoint_epochs: how often the state of a stage is written, so that a stage that is cut
            short goes on from there, bit for bit.
        retry_failed: compute cells again whose last attempt ended in an error that nobody expected.
        study: the recipe a run belongs to, for its provenance; kind: the kind of its record.
    """

    device: str = setting("auto", "device to compute on: auto, cpu, cuda, or cuda:0, cuda:1, ...")
    data_root: str = setting("", "folder of local image files (default: the REPRO_DATA variable)")
    allow_download: bool = setting(False, "let torchvision download a missing data set")
    engine: str = setting("eager", "how steps run on a GPU", choices=("eager", "graph"))
    require_gpu: bool = setting(False, "refuse the CPU where there is no GPU, and eager steps where graphs cannot run")
    threads: int = setting(
        1, "CPU threads a process, 0 is one a core; above 1 the last digits may differ", low=0, high=4096
    )
    readers: int = setting(
        0, "processes that decode images on disk; 0: one a core on a GPU, none on a CPU", low=0, high=1024
    )
    keep_models: bool = setting(True, "also store the weights of unlearned models")
    checkpoint_seconds: float = setting(300.0, "time between two checkpoints of a stage", unit="seconds", low=0)
    checkpoint_epochs: int = setting(0, "write a checkpoint after so many epochs too, 0 is never", low=0)
    retry_failed: bool = setting(False, "compute cells again whose last attempt failed")
    study: str = setting("", "name of the study the run belongs to")
    kind: str = setting(KIND, "kind of the record")

    def __post_init__(self) -> None:
        check(self)
        if not re.fullmatch(r"auto|cpu|cuda(:\d{1,3})?", self.device):
            raise reject("device", self.device, "one of auto, cpu, cuda, cuda:0, cuda:1, ...")
        if self.require_gpu and self.device == "cpu":
            raise reject("require_gpu", True, "False where device = 'cpu'")


def with_settings_of_metrics(cls: type[T]) -> type[T]:
    """Give a config a field for every setting that a metric declares as its own, none of them part of an identity.

    A metric whose setting has the name of one that is there takes that one.
    """
    new = {name: one for name, one in settings_of_metrics().items() if name not in cls.__annotations__}
    for name, one in new.items():
        cls.__annotations__[name] = one.kind
        setattr(cls, name, setting(one.default, **one.limits, identifies=False))
    return cls


@dataclass(frozen=True)
@with_settings_of_metrics
class RunConfig:
    """One cell of a study and one seed. The defaults suit `digits`; recipes carry those of larger data sets.

    A metric's own settings are fields too: recipes, options and records name them, metrics declare them.
    """

    dataset: str = setting("digits", "data set")
    dataset_options: str = setting("", "settings of the data set, such as signal_strength=0.5")
    n_train: int = setting(0, "stratified subset of the training images; 0 is all", low=0, unit="images")
    n_test: int = setting(0, "stratified subset of the test images; 0 is all", low=0, unit="images")
    model: str = setting("resnet8-narrow", "architecture")
    method: str = setting("neggrad", "unlearning method")
    method_options: str = setting("", "further settings of the method, such as beta=0.5, temperature=4")
    alpha: float = setting(0.9, "weight of the retain loss against the forget loss", symbol="alpha", low=0, high=1)
    rule: str = setting("sgd", "gradient rule of unlearning: sgd, sam-0.1, asam-1.0, minmax, retain-sam, masked-...")
    pretrain: str = setting("sgd", "gradient rule of pretraining, or a schedule such as 'sam-0.1:10, sgd'")
    retrain: str = setting(
        "pretrain", "gradient rule of the retrained reference; `pretrain` takes that one, `none` trains no reference"
    )
    original: str = setting("", "id or name of an imported model to unlearn from; empty pretrains one")
    difficulty: str = setting("random", "how the forget set is chosen, such as random, low, mid, high, class, index")
    forget_fraction: float = setting(
        0.05, "share of the training images to forget", low=0, high=1, open_low=True, open_high=True
    )
    forget_class: int = setting(0, "class to forget when difficulty is class or class-part", low=0)
    forget_index: str = setting("", "id of an imported index file when difficulty is index")
    scores: str = setting("", "id of imported memorization scores; empty estimates them here")
    subsets: int = setting(24, "subset models of the memorization estimate", low=4)
    subset_model: str = setting("", "architecture of the subset models; empty is the run's own ResNet-8, or resnet8")
    subset_epochs: int = setting(0, "epochs of a subset model; 0 is those of pretraining, at most 20", low=0)
    subset_precision: str = setting(
        "", "arithmetic of the subset models; empty is the run's own where subset_model names them, else fp32",
        choices=("", *PRECISIONS),
    )  # fmt: skip
    forget_seed: int = setting(0, "seed of the forget draw: random rows, subset models, ties in scores", low=0)
    seed: int = setting(0, "training seed: data order and weights", low=0)
    unlearn_seed: int = setting(0, "seed of unlearning, nested in the training seed", low=0)
    pretrain_epochs: int = setting(15, "epochs of pretraining and retraining", low=1)
    pretrain_lr: float = setting(0.1, "learning rate of pretraining", low=0, open_low=True)
    pretrain_batch_size: int = setting(64, "batch size of pretraining", low=1)
    epochs: int = setting(5, "epochs of unlearning", low=1)
    lr: float = setting(0.02, "learning rate of unlearning", low=0, open_low=True)
    batch_size: int = setting(64, "batch size of unlearning", low=1)
    forget_batch_size: int = setting(0, "forget batch size; 0 is the same as batch_size", low=0)
    batch_parts: int = setting(
        1, "parts of a batch whose gradients are summed (accumulation); the processes of torchrun share them", low=1
    )
    perturbation: str = setting(
        "global", "SAM's perturbation: from the gradient of the whole batch, or of each part", choices=PERTURBATIONS
    )
    sync_batchnorm: bool = setting(False, "normalize the parts of a batch together, one a process; GPUs only")
    optimizer: str = setting("sgd", "base optimizer of unlearning", choices=OPTIMIZERS)
    pretrain_optimizer: str = setting("sgd", "base optimizer of pretraining", choices=OPTIMIZERS)
    momentum: float = setting(0.9, "momentum of SGD", low=0, high=1, open_high=True)
    weight_decay: float = setting(5e-4, "weight decay", low=0)
    schedule: str = setting("constant", "learning-rate schedule of unlearning", choices=SCHEDULES)
    pretrain_schedule: str = setting("cosine", "learning-rate schedule of pretraining", choices=SCHEDULES)
    pretrain_stop_loss: float = setting(
        0.0, "end pretraining and retraining after the first epoch with a mean loss at or below this; 0: never", low=0
    )
    warmup_epochs: int = setting(0, "epochs of linear warm-up in unlearning", low=0)
    mask_fraction: float = setting(0.3, "share of weights on the forget side of the mask", low=0, high=1)
    augment: str = setting("shift", "augmentation of the training images", choices=AUGMENTS)
    corruption: str = setting("none", "corruption of the training images, such as gaussian_noise-3")
    precision: str = setting("fp32", "arithmetic of the forward pass", choices=PRECISIONS)
    portable: bool = setting(
        False, "compute the same numbers on every x86-64 processor with AVX2, for about 1.6 times the CPU time"
    )
    subset_portable: bool = setting(
        True, "whether the subset models of a portable run are portable too; no: take an estimate that is not"
    )
    rows_measured: str = setting(
        "all",
        "forget and test images that metrics look at: all, or one of two fixed halves",
        choices=ROWS,
        identifies=False,
    )
    trajectory: bool = setting(
        False, "keep accuracies after every epoch of an unlearning that is run from now on", identifies=False
    )
    metrics: tuple[str, ...] = setting(("accuracy", "tow"), "metrics to compute", identifies=False)
    preset: str = setting("correct", "behaviour at the known discrepancies: correct, official-paper, official-release")
    switches: str = setting("", "single discrepancy switches that override the preset, such as mask_polarity=low")
    data: str = setting("", "digest the data set's files must have; empty takes the files that are there")

    def __post_init__(self) -> None:
        check(self)
        for field in ("pretrain_epochs", "epochs", "subset_epochs", "subsets"):
            value = getattr(self, field)
            refuse_cost(field, value, value / 3600, LONGEST_HOURS, unit="hours at a second a pass")
        for field, kind in KINDS.items():
            known(kind, getattr(self, field), field)
        if self.subset_model:
            known("models", self.subset_model, "subset_model")
        for metric in self.metrics:
            known("metrics", metric, "metrics")
        for field in ("rule", "pretrain", "retrain"):
            _check_rule(field, self)
        for field in ("dataset_options", "method_options"):
            parse_options(getattr(self, field), field)
        resolve(self.preset, self.switches)
        _check_corruption(self.corruption)
        if self.dataset == "signal-noise" and self.augment != "none":
            raise reject("augment", self.augment, "none on signal-noise", "a shift would mix its patches")
        if self.difficulty == "index" and not self.forget_index:
            raise ConfigError("forget_index = '': must name an imported index file when difficulty = 'index'")
        if self.portable and self.precision == "bf16":
            raise reject("portable", True, "False with precision = 'bf16'", "processors round bf16 sums differently")

    @property
    def fidelity(self) -> Fidelity:
        """The resolved discrepancy switches."""
        return resolve(self.preset, self.switches)

    @property
    def retrain_rule(self) -> str:
        """The rule of the retrained reference; of one that is not trained, what it would be."""
        return self.pretrain if self.retrain in ("pretrain", "none") else self.retrain

    def pretraining(self) -> Hyperparameters:
        """Return how the original model is trained."""
        return Hyperparameters(
            self.pretrain_epochs, self.pretrain_lr, self.pretrain_batch_size, 0, self.pretrain_optimizer,
            self.momentum, self.weight_decay, self.pretrain_schedule, 0, 0.0, self.pretrain_stop_loss,
            self.batch_parts, self.perturbation, self.sync_batchnorm,
        )  # fmt: skip

    def retraining(self) -> Hyperparameters:
        """Return how the reference is trained: as the original, unless a switch asks for the released code's way."""
        return self.fidelity.retraining(self.pretraining())

    def unlearning(self) -> Hyperparameters:
        """Return how unlearning trains."""
        fidelity = self.fidelity
        return Hyperparameters(
            self.epochs, self.lr, self.batch_size, self.forget_batch_size, fidelity.optimizer(self.optimizer),
            self.momentum, self.weight_decay, self.schedule, self.warmup_epochs,
            fidelity.warmup_rate(self.lr, self.pretrain_lr), 0.0,
            self.batch_parts, self.perturbation, self.sync_batchnorm,
        )  # fmt: skip

    def labels(self) -> dict[str, Any]:
        """Return what a table groups this run by."""
        shown = ("dataset", "model", "method", "rule", "pretrain", "difficulty", "seed", "unlearn_seed", "alpha")
        more = ("forget_seed", "epochs", "lr", "optimizer", "mask_fraction", "corruption", "preset", "switches")
        return {name: getattr(self, name) for name in shown + more} | parse_options(self.dataset_options, "")


def altered(config: RunConfig, **settings: Any) -> RunConfig:
    """Return a config with settings that were checked before, in another config: they are not checked again.

    A study makes tens of thousands of configs that differ in a few settings; of settings that a user gives, build one.
    """
    found = copy(config)
    vars(found).update(settings)
    return found


@dataclass(frozen=True)
class MemorizationConfig:
    """How scores are estimated; the defaults suit `digits`."""

    dataset: str = setting("digits", "data set")
    dataset_options: str = setting("", "settings of the data set")
    n_train: int = setting(0, "stratified subset of the training images; 0 is all", low=0)
    model: str = setting("resnet8-narrow", "architecture of the subset models")
    subsets: int = setting(24, "subset models", low=4)
    fraction: float = setting(0.7, "share of the images in a subset", low=0, high=1, open_low=True, open_high=True)
    epochs: int = setting(10, "epochs of a subset model", low=1)
    lr: float = setting(0.1, "learning rate", low=0, open_low=True)
    batch_size: int = setting(64, "batch size", low=1)
    precision: str = setting("fp32", "arithmetic of the forward pass", choices=PRECISIONS)
    portable: bool = setting(False, "compute the same numbers on every x86-64 processor with AVX2")
    augment: str = setting("none", "augmentation; none, so that every image inside a subset is fitted")
    seed: int = setting(0, "seed of subsets and models", low=0)
    data: str = setting("", "digest the data set's files must have; empty takes the files that are there")

    def __post_init__(self) -> None:
        check(self)
        cost = self.subsets * self.epochs / 3600
        name = "subsets" if self.subsets > self.epochs else "epochs"
        refuse_cost(name, getattr(self, name), cost, LONGEST_HOURS, unit="hours at a second a pass")

    def training(self) -> RunConfig:
        """Return how one subset model is trained, as the pretraining of a run."""
        same = {
            name: getattr(self, name)
            for name in (
                "dataset", "dataset_options", "n_train", "model", "precision", "portable", "augment", "seed", "data",
            )
        }  # fmt: skip
        return RunConfig(**same, pretrain_epochs=self.epochs, pretrain_lr=self.lr, pretrain_batch_size=self.batch_size)


def config_for(config: RunConfig) -> MemorizationConfig:
    """Return the estimate a run uses: models as its config says, else small ones, as long as its original or 20 epochs.

    Subset models that the config names compute in its precision, the small ones in fp32, unless `subset_precision` says
    otherwise: so a study in another arithmetic, such as one on a GPU, forgets the very images of a committed one.
    """
    same = {name: getattr(config, name) for name in ("dataset", "dataset_options", "n_train", "subsets", "data")}
    small = config.model if config.model.startswith("resnet8") else "resnet8"
    epochs = config.subset_epochs or min(config.pretrain_epochs, LONGEST)
    precision = config.subset_precision or (config.precision if config.subset_model else "fp32")
    return MemorizationConfig(
        **same, model=config.subset_model or small, epochs=epochs, precision=precision,
        batch_size=config.pretrain_batch_size, seed=config.forget_seed,
        portable=config.portable and config.subset_portable,
    )  # fmt: skip


# Settings whose values are registered names, and of which kind.
KINDS = {"dataset": "datasets", "model": "models", "method": "methods", "difficulty": "forget_sets"}


def _check_rule(field: str, config: RunConfig) -> None:
    label = getattr(config, field)
    if field == "retrain" and label in ("pretrain", "none"):
        return
    if field == "rule" and config.method != "retrain":
        parse_rule(label, field)
        return
    names = {parse_rule(leg, field).name for leg, _ in parse_legs(label, config.pretrain_epochs, field)}
    if field != "rule" and any(rule(name).forgets for name in names):
        raise reject(field, label, "a rule of one loss (sgd, sam-..., asam-...)", "there is no forget set to train on")


def _check_corruption(text: str) -> None:
    name, _, severity = text.rpartition("-")
    kinds = ("gaussian_noise", "glass_blur", "snow")
    if text != "none" and (name not in kinds or severity not in "12345" or len(severity) != 1):
        raise reject("corruption", text, f"none or one of {', '.join(kinds)} with a severity 1-5", "such as snow-3")
