"""The config of a network run: everything that its numbers depend on. Imports no torch."""

import re
from copy import copy
from dataclasses import dataclass
from typing import Any, TypeVar

from empirical.registry import known, rule
from empirical.released import Fidelity, resolve_switches
from empirical.settings.rule_labels import parse_options, parse_rule, parse_rule_schedule
from repro.base.errors import ConfigError
from repro.base.parts import settings_of_metrics
from repro.base.settings import check, refuse_cost, reject, setting

T = TypeVar("T")
KIND = "unlearn"
SEARCH = "choice"
FLOOR = "floor"
ESTIMATE = "memorization"
LONGEST_HOURS = 1e5
MOST_SUBSETS = 10_000
# Small models without augmentation fit their subset long before the original model is trained.
LONGEST = 20
OPTIMIZERS = ("sgd", "adam", "adamw")
SCHEDULES = ("cosine", "constant", "multistep")
AUGMENTS = ("none", "shift", "flip", "crop-flip", "resized-crop")
PRECISIONS = ("fp32", "bf16", "fp64")
ROWS = ("all", "validation", "report")
PERTURBATIONS = ("global", "local")
ONE_LOSS = "a rule of one loss (sgd, sam-..., asam-...)"


@dataclass(frozen=True)
class Hyperparameters:
    """How one training stage runs.

    Attributes:
        epochs: number of epochs, each a pass over the leading set: the first that the method reads.
        lr: peak learning rate.
        batch_size: rows per step; forget_batch_size: rows of the forget batch of a step (0: the same number).
        optimizer: `sgd`, `adam` or `adamw`; momentum (SGD only) and weight_decay as in torch.optim.
        schedule: `cosine`, `constant` or `multistep`; before it, warmup_epochs ramp linearly to warmup_lr.
        stop_loss: the stage ends after the first epoch with a mean loss at or below it; 0 trains all epochs.
        batch_parts: number of parts of a batch that are processed separately; their gradients are summed.
        perturbation: SAM perturbs by the gradient of the whole batch (`global`) or of each part (`local`).
        sync_batchnorm: whether BatchNorm normalizes all parts together; each process has one part.
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

    An interrupted stage continues from its last checkpoint with the same bits. `study` and `kind` are for the record.
    """

    device: str = setting("auto", "device: auto, cpu, cuda, or a GPU by its number: cuda:0, cuda:1, ...")
    data_root: str = setting("", "folder of local image files; empty: the environment variable REPRO_DATA")
    allow_download: bool = setting(False, "let torchvision download a missing data set")
    engine: str = setting("eager", "GPU steps run one by one, or as CUDA graphs", choices=("eager", "graph"))
    require_gpu: bool = setting(False, "end with an error if there is no GPU, or if CUDA graphs cannot run")
    threads: int = setting(
        1, "CPU threads per process; 0: as many as cores; more than 1 may change the last digits", low=0, high=4096
    )
    readers: int = setting(
        0, "processes that decode images on disk; 0: as many as cores with a GPU, none on a CPU", low=0, high=1024
    )
    keep_models: bool = setting(True, "store the weights of unlearned models too")
    checkpoint_seconds: float = setting(300.0, "time between two checkpoints of a stage", unit="seconds", low=0)
    checkpoint_epochs: int = setting(0, "also write a checkpoint after every so many epochs; 0: never", low=0)
    retry_failed: bool = setting(False, "repeat runs whose last attempt failed")
    study: str = setting("", "name of the study that the run belongs to")
    kind: str = setting(KIND, "kind of the record")

    def __post_init__(self) -> None:
        check(self)
        if not re.fullmatch(r"auto|cpu|cuda(:\d{1,3})?", self.device):
            raise reject("device", self.device, "one of auto, cpu, cuda, cuda:0, cuda:1, ...")
        if self.require_gpu and self.device == "cpu":
            raise reject("require_gpu", True, "False with device = 'cpu'")


def with_settings_of_metrics(cls: type[T]) -> type[T]:
    """Add a field to a config for every setting that a metric declares; none of them is part of the run's id.

    If the config already has a field of that name, the metric reads it.
    """
    new = {name: own for name, own in settings_of_metrics().items() if name not in cls.__annotations__}
    for name, own in new.items():
        cls.__annotations__[name] = own.kind
        setattr(cls, name, setting(own.default, **own.limits, identifies=False))
    return cls


@dataclass(frozen=True)
@with_settings_of_metrics
class RunConfig:
    """All settings of one run. The defaults suit `digits`; recipes set the values for larger data sets.

    The settings that metrics declare are fields too, so recipes, options and records can name them.
    """

    dataset: str = setting("digits", "data set")
    dataset_options: str = setting("", "settings of the data set, such as signal_strength=0.5")
    n_train: int = setting(0, "size of a stratified subset of the training images; 0: all", low=0, unit="images")
    n_test: int = setting(0, "size of a stratified subset of the test images; 0: all", low=0, unit="images")
    model: str = setting("resnet8-narrow", "network architecture")
    method: str = setting("neggrad", "unlearning method")
    method_options: str = setting("", "further settings of the method, such as beta=0.5, temperature=4")
    alpha: float = setting(0.9, "weight of the retain loss; forget loss: 1 - alpha", symbol="alpha", low=0, high=1)
    rule: str = setting("sgd", "gradient rule of unlearning: sgd, sam-0.1, asam-1.0, minmax, retain-sam or masked-...")
    pretrain: str = setting("sgd", "gradient rule of pretraining, or a schedule such as 'sam-0.1:10, sgd'")
    retrain: str = setting(
        "pretrain", "gradient rule of the retrained model; `pretrain`: as in pretraining, `none`: no such model"
    )
    original: str = setting("", "id or name of an imported model to unlearn from; empty: pretrain a model")
    difficulty: str = setting("random", "forget set: random, low, mid or high memorization, class, class-part, index")
    forget_fraction: float = setting(
        0.05, "fraction of the training images to forget", low=0, high=1, open_low=True, open_high=True
    )
    forget_class: int = setting(0, "class to forget when difficulty is class or class-part", low=0)
    forget_index: str = setting("", "id of an imported index file when difficulty is index")
    scores: str = setting("", "id of imported memorization scores; empty: estimate them")
    subsets: int = setting(24, "number of subset models for the memorization scores", low=4, high=MOST_SUBSETS)
    subset_model: str = setting("", "architecture of the subset models; empty: `model` if a ResNet-8, else resnet8")
    subset_epochs: int = setting(0, "epochs of a subset model; 0: as many as pretraining has, at most 20", low=0)
    subset_precision: str = setting(
        "", "arithmetic of the subset models; empty: the run's precision if subset_model is set, else fp32",
        choices=("", *PRECISIONS),
    )  # fmt: skip
    forget_seed: int = setting(0, "seed of the forget set: random rows, subset models, order of equal scores", low=0)
    seed: int = setting(0, "seed of pretraining and retraining: initial weights and data order", low=0)
    unlearn_seed: int = setting(0, "seed of unlearning, combined with the training seed", low=0)
    pretrain_epochs: int = setting(15, "epochs of pretraining and retraining", low=1)
    pretrain_lr: float = setting(0.1, "learning rate of pretraining", low=0, open_low=True)
    pretrain_batch_size: int = setting(64, "batch size of pretraining", low=1)
    epochs: int = setting(5, "epochs of unlearning", low=1)
    lr: float = setting(0.02, "learning rate of unlearning", low=0, open_low=True)
    batch_size: int = setting(64, "batch size of unlearning", low=1)
    forget_batch_size: int = setting(0, "batch size of the forget set; 0: the same as batch_size", low=0)
    batch_parts: int = setting(
        1, "number of parts of a batch; their gradients are summed, and torchrun's processes share the parts", low=1
    )
    perturbation: str = setting(
        "global", "SAM perturbs by the gradient of the whole batch or of each part", choices=PERTURBATIONS
    )
    sync_batchnorm: bool = setting(False, "normalize all parts of a batch together; one part per process, GPUs only")
    optimizer: str = setting("sgd", "base optimizer of unlearning", choices=OPTIMIZERS)
    pretrain_optimizer: str = setting("sgd", "base optimizer of pretraining", choices=OPTIMIZERS)
    momentum: float = setting(0.9, "momentum of SGD", low=0, high=1, open_high=True)
    weight_decay: float = setting(5e-4, "weight decay", low=0)
    schedule: str = setting("constant", "learning-rate schedule of unlearning", choices=SCHEDULES)
    pretrain_schedule: str = setting("cosine", "learning-rate schedule of pretraining", choices=SCHEDULES)
    pretrain_stop_loss: float = setting(
        0.0, "end pretraining and retraining after the first epoch with a mean loss <= this value; 0: never", low=0
    )
    warmup_epochs: int = setting(0, "epochs of linear learning-rate warm-up in unlearning", low=0)
    mask_fraction: float = setting(0.3, "fraction of the weights in the saliency mask", low=0, high=1)
    augment: str = setting("shift", "augmentation of the training images", choices=AUGMENTS)
    corruption: str = setting("none", "corruption of the training images and its severity, such as gaussian_noise-3")
    precision: str = setting("fp32", "arithmetic of the forward pass", choices=PRECISIONS)
    portable: bool = setting(
        False, "give the same numbers on every x86-64 processor with AVX2; takes about 1.6 times the CPU time"
    )
    subset_portable: bool = setting(
        True, "in a portable run, train the subset models portably too; no: use scores that are not portable"
    )
    rows_measured: str = setting(
        "all",
        "forget and test images that metrics use: all, or one of two fixed halves",
        choices=ROWS,
        identifies=False,
    )
    trajectory: bool = setting(
        False,
        "record accuracies after every epoch of unlearning; finished runs are not trained again for it",
        identifies=False,
    )
    metrics: tuple[str, ...] = setting(("accuracy", "tow"), "metrics to compute", identifies=False)
    preset: str = setting("correct", "behaviour at the known discrepancies: correct, official-paper, official-release")
    switches: str = setting("", "discrepancy switches that override the preset, such as mask_polarity=low")
    data: str = setting("", "required digest of the data set's files; empty: accept any files")

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
        _ = self.data_settings, self.method_settings
        resolve_switches(self.preset, self.switches)
        _check_corruption(self.corruption)
        if self.dataset == "signal-noise" and self.augment != "none":
            raise reject("augment", self.augment, "none on signal-noise", "a shift would mix its patches")
        if self.difficulty == "index" and not self.forget_index:
            raise ConfigError("forget_index = '': must name an imported index file when difficulty = 'index'")
        own = ("precision", "subset_precision") if self.subset_portable else ("precision",)
        for field in own if self.portable else ():
            if getattr(self, field) == "bf16":
                raise reject("portable", True, f"False with {field} = 'bf16'", "processors round bf16 sums differently")
        if self.batch_parts > (largest := max(self.batch_size, self.pretrain_batch_size)):
            raise reject("batch_parts", self.batch_parts, f"in [1, {largest}]", "a part needs an image of its batch")

    @property
    def fidelity(self) -> Fidelity:
        """The resolved discrepancy switches."""
        return resolve_switches(self.preset, self.switches)

    @property
    def data_settings(self) -> dict[str, Any]:
        """The settings of the data set, by name."""
        return parse_options(self.dataset_options, "dataset_options")

    @property
    def method_settings(self) -> dict[str, Any]:
        """The further settings of the method, by name."""
        return parse_options(self.method_options, "method_options")

    @property
    def retrain_rule(self) -> str:
        """The rule of the retrained reference; with `retrain = none`, the rule it would have."""
        return self.pretrain if self.retrain in ("pretrain", "none") else self.retrain

    def pretraining(self) -> Hyperparameters:
        """Return the hyperparameters of the original model."""
        return Hyperparameters(
            self.pretrain_epochs, self.pretrain_lr, self.pretrain_batch_size, 0, self.pretrain_optimizer,
            self.momentum, self.weight_decay, self.pretrain_schedule, 0, 0.0, self.pretrain_stop_loss,
            self.batch_parts, self.perturbation, self.sync_batchnorm,
        )  # fmt: skip

    def retraining(self) -> Hyperparameters:
        """Return the hyperparameters of the reference: the original's, unless a switch asks for the released code's."""
        return self.fidelity.reference_recipe(self.pretraining())

    def unlearning(self) -> Hyperparameters:
        """Return the hyperparameters of unlearning."""
        fidelity = self.fidelity
        return Hyperparameters(
            self.epochs, self.lr, self.batch_size, self.forget_batch_size, fidelity.optimizer(self.optimizer),
            self.momentum, self.weight_decay, self.schedule, self.warmup_epochs,
            fidelity.warmup_rate(self.lr, self.pretrain_lr), 0.0,
            self.batch_parts, self.perturbation, self.sync_batchnorm,
        )  # fmt: skip

    def tags(self) -> dict[str, Any]:
        """Return the settings by which a table groups this run."""
        shown = ("dataset", "model", "method", "rule", "pretrain", "difficulty", "seed", "unlearn_seed", "alpha")
        more = ("forget_seed", "epochs", "lr", "optimizer", "mask_fraction", "corruption", "preset", "switches")
        return {name: getattr(self, name) for name in shown + more} | self.data_settings


def altered(config: RunConfig, **settings: Any) -> RunConfig:
    """Return a copy of a config with other settings, without checks: another config must have checked them before.

    A study makes tens of thousands of configs that differ in a few settings. For a user's settings, build a config.
    """
    found = copy(config)
    vars(found).update(settings)
    return found


@dataclass(frozen=True)
class MemorizationConfig:
    """How memorization scores are estimated; the defaults suit `digits`."""

    dataset: str = setting("digits", "data set")
    dataset_options: str = setting("", "settings of the data set")
    n_train: int = setting(0, "size of a stratified subset of the training images; 0: all", low=0)
    model: str = setting("resnet8-narrow", "architecture of the subset models")
    subsets: int = setting(24, "number of subset models", low=4, high=MOST_SUBSETS)
    fraction: float = setting(0.7, "fraction of the images in a subset", low=0, high=1, open_low=True, open_high=True)
    epochs: int = setting(10, "epochs of a subset model", low=1)
    lr: float = setting(0.1, "learning rate", low=0, open_low=True)
    batch_size: int = setting(64, "batch size", low=1)
    precision: str = setting("fp32", "arithmetic of the forward pass", choices=PRECISIONS)
    portable: bool = setting(False, "give the same numbers on every x86-64 processor with AVX2")
    augment: str = setting("none", "augmentation; by default none, so that a model fits every image of its subset")
    seed: int = setting(0, "seed of the subsets and their models", low=0)
    data: str = setting("", "required digest of the data set's files; empty: accept any files")

    def __post_init__(self) -> None:
        check(self)
        cost = self.subsets * self.epochs / 3600
        name = "subsets" if self.subsets > self.epochs else "epochs"
        refuse_cost(name, getattr(self, name), cost, LONGEST_HOURS, unit="hours at a second a pass")

    def training(self) -> RunConfig:
        """Return the training of one subset model, as the pretraining of a run."""
        same = {
            name: getattr(self, name)
            for name in (
                "dataset", "dataset_options", "n_train", "model", "precision", "portable", "augment", "seed", "data",
            )
        }  # fmt: skip
        return RunConfig(**same, pretrain_epochs=self.epochs, pretrain_lr=self.lr, pretrain_batch_size=self.batch_size)


def config_for(config: RunConfig) -> MemorizationConfig:
    """Return the estimate of memorization scores that a run uses: by its `subset_model`, else by a small ResNet-8.

    If `subset_precision` is empty, `subset_model` computes in the run's precision and the small model in fp32. With the
    small model, a study in bf16 therefore forgets the same images as in fp32.
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


# Settings whose values are registered names, with the kind of name.
KINDS = {"dataset": "datasets", "model": "models", "method": "methods", "difficulty": "forget_sets"}


def _check_rule(field: str, config: RunConfig) -> None:
    label = getattr(config, field)
    if field == "retrain" and label in ("pretrain", "none"):
        return
    if field == "rule" and config.method != "retrain":
        parse_rule(label, field)
        return
    names = {parse_rule(entry, field).name for entry, _ in parse_rule_schedule(label, config.pretrain_epochs, field)}
    if any(rule(name).forgets for name in names):
        why = "retraining has no forget set" if field == "rule" else "there is no forget set to train on"
        raise reject(field, label, ONE_LOSS, why)


def _check_corruption(text: str) -> None:
    name, _, severity = text.rpartition("-")
    kinds = ("gaussian_noise", "glass_blur", "snow")
    if text != "none" and (name not in kinds or severity not in "12345" or len(severity) != 1):
        raise reject("corruption", text, f"none or one of {', '.join(kinds)} with a severity 1-5", "such as snow-3")
