"""All discrepancies of the paper's released code, D1 to D26: the switches, their presets, and their effects.

By default a switch has our behaviour; a run can ask for the released code's. Effects without tensors are the methods of
`Fidelity`. The other switches act inside a training step, a metric or the data, in the module named under `where`.
`docs/differences.md` describes each switch. Imports no torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache
from typing import Any, TypeVar

from empirical.settings.rule_labels import parse_options
from repro.base.settings import build, check, choose, limits_of

T = TypeVar("T")
# What a switch changes, and so which id it belongs to: WEIGHTS of an unlearned model directly; weights through another
# field of a stage's KEY, such as its hyperparameters or rows; or the NUMBERS of a metric that declares it.
WEIGHTS, KEY, NUMBERS = "weights", "key", "numbers"


def switch(
    number: str, ours: Any, released: Any, about: str, *, paper: str, code: str, changes: str, where: str,
    further: tuple[str, ...] = (), in_paper: bool = True,
) -> Any:  # fmt: skip
    """Declare a switch.

    Args:
        number: number of the discrepancy, `D1` to `D26`.
        ours: the correct value and default; released: the value with the released code's behaviour.
        about: what it decides.
        paper: what the paper, its README or the definition says; code: what the released code does.
        changes: `WEIGHTS`, `KEY` or `NUMBERS`.
        where: the module that reads it, within `empirical`.
        further: other allowed values.
        in_paper: whether the preset `official-paper` takes the released value too.
    """
    choices = None if isinstance(ours, bool) else tuple(dict.fromkeys((ours, released, *further)))
    facts = {"number": number, "released": released, "paper": paper, "code": code, "changes": changes, "where": where}
    limits = limits_of(f"{number}: {about}", choices=choices)
    return field(default=ours, metadata=limits | facts | {"in_paper": in_paper})


@dataclass(frozen=True)
class Fidelity:
    """The value of every switch; D20 (scores read from two files) has none."""

    base_optimizer: str = switch(
        "D1", "as-set", "adamw", "optimizer of unlearning and retraining", paper="SGD", code="AdamW",
        changes=KEY, where="released", in_paper=False,
    )  # fmt: skip
    randaugment: bool = switch(
        "D2", False, True, "RandAugment(2, 15) on the training images", paper="not mentioned", code="on CIFAR-100",
        changes=KEY, where="augmentation.augment", in_paper=False,
    )  # fmt: skip
    mask_polarity: str = switch(
        "D3", "high", "low", "which forget gradients the mask marks", paper="the largest", code="the smallest",
        changes=WEIGHTS, where="runs.unlearning",
    )  # fmt: skip
    mask_stage: str = switch(
        "D4", "combined", "perturbed",
        "what a mask acts on: all of SAM, only its result, or only its second gradient",
        paper="each weight follows its own branch", code="only the second gradient",
        changes=WEIGHTS, where="training.rules", further=("result",),
    )  # fmt: skip
    minmax_update: str = switch(
        "D5", "owned", "double", "MinMax takes a step on owned weights, or a step on all weights for each branch",
        paper="one step", code="two steps, two optimizers that hold all weights", changes=WEIGHTS,
        where="training.rules",
    )  # fmt: skip
    tow: str = switch(
        "D6", "absolute", "signed", "differences in the reported ToW", paper="absolute values", code="signs are kept",
        changes=NUMBERS, where="metrics.closeness",
    )  # fmt: skip
    tow_reference: str = switch(
        "D7", "own", "published", "reference accuracies of the reported ToW", paper="a retrained model",
        code="numbers hard-coded", changes=NUMBERS, where="metrics.closeness",
    )  # fmt: skip
    forget_split: str = switch(
        "D8", "shared", "reseeded", "split that random and class forget sets are drawn from",
        paper="the training images", code="a different 90 % from the training images", changes=KEY,
        where="data.forget",
    )  # fmt: skip
    m_entropy: str = switch(
        "D9", "per-row", "released", "modified entropy of the SVC attack", paper="the definition of Song and Mittal",
        code="whole columns exchanged, log p instead of log(1 - p)", changes=NUMBERS, where="metrics.attacks",
    )  # fmt: skip
    mia_members: str = switch(
        "D10", "stratified", "first", "how attack members are drawn", paper="not stated",
        code="the first retained images", changes=NUMBERS, where="metrics.attacks",
    )  # fmt: skip
    forget_cycle: str = switch(
        "D11", "fresh", "cached", "forget batches after the first pass", paper="fresh batches",
        code="the same augmented tensors again", changes=KEY, where="released",
    )  # fmt: skip
    forget_statistics: str = switch(
        "D12", "update", "update", "BatchNorm statistics on forget batches", paper="not stated",
        code="they move", changes=WEIGHTS, where="training.step", further=("keep",),
    )  # fmt: skip
    minmax_sign: str = switch(
        "D13", "negated-loss", "negated-loss", "loss whose sharpness MinMax maximizes",
        paper="can be read as the cross entropy", code="the negated loss", changes=WEIGHTS, where="training.rules",
        further=("cross-entropy",),
    )  # fmt: skip
    retrain_schedule: str = switch(
        "D14", "same", "multistep", "learning-rate schedule of retraining", paper="as in pretraining",
        code="drops at epochs 91 and 136", changes=KEY, where="released",
    )  # fmt: skip
    warmup_target: str = switch(
        "D15", "own", "pretrain", "rate the warm-up ramps to", paper="the rate of unlearning",
        code="the rate of pretraining", changes=KEY, where="released",
    )  # fmt: skip
    double_normalize: bool = switch(
        "D16", False, True, "normalize the images twice", paper="once", code="twice on ImageNet-like sets",
        changes=KEY, where="released",
    )  # fmt: skip
    validation_images: str = switch(
        "D17", "test", "train", "transform of the validation images", paper="as test images", code="augmented",
        changes=NUMBERS, where="metrics.closeness",
    )  # fmt: skip
    corrupted_evaluation: bool = switch(
        "D18", True, False, "also evaluate on corrupted images when training on them",
        paper="models trained on noisy images are evaluated", code="on clean images only", changes=NUMBERS,
        where="metrics.closeness",
    )  # fmt: skip
    relabel_all: bool = switch(
        "D19", True, False, "random labels on Tiny ImageNet too", paper="random labels",
        code="true labels on Tiny ImageNet", changes=KEY, where="released",
    )  # fmt: skip
    joint_mask: str = switch(
        "D21", "applied", "ignored", "the mask of a masked SAM rule", paper="the mask limits the update",
        code="it acts after the step, without effect", changes=WEIGHTS, where="training.rules",
    )  # fmt: skip
    entanglement_scale: str = switch(
        "D22", "fixed", "released", "cost scale and cap of the entanglement scores", paper="one scale",
        code="each model's own largest distance", changes=NUMBERS, where="metrics.entanglement",
    )  # fmt: skip
    landscape_norm: str = switch(
        "D23", "filter", "layer", "unit whose length the directions get", paper="filter normalization",
        code="whole tensors", changes=NUMBERS, where="metrics.landscape",
    )  # fmt: skip
    glass_blur: str = switch(
        "D24", "swap", "copy", "what glass blur does to pixel pairs", paper="pixels change places",
        code="one of them is lost", changes=KEY, where="augmentation.corruptions",
    )  # fmt: skip
    scrub_max_epochs: str = switch(
        "D25", "exact", "plus-one", "SCRUB ascent epochs", paper="as many as set", code="one more",
        changes=KEY, where="released",
    )  # fmt: skip
    constant_score: str = switch(
        "D26", "chance", "machine", "result of the SVC attack on a constant score", paper="not stated",
        code="every example is called a member: 0", changes=NUMBERS, where="metrics.attacks",
    )  # fmt: skip

    def __post_init__(self) -> None:
        check(self)

    def optimizer(self, named: str) -> str:
        """Return the optimizer of unlearning or retraining: the named optimizer, or the released code's (D1)."""
        return named if self.base_optimizer == "as-set" else self.base_optimizer

    def reference_recipe(self, pretraining: T) -> T:
        """Return the hyperparameters of the reference: the original's, or with D1's optimizer and D14's schedule."""
        recipe: Any = pretraining
        schedule = "multistep" if self.retrain_schedule == "multistep" else recipe.schedule
        return replace(recipe, schedule=schedule, optimizer=self.optimizer(recipe.optimizer))

    def warmup_rate(self, own: float, pretraining: float) -> float:
        """Return the learning rate at the end of unlearning's warm-up (D15)."""
        return pretraining if self.warmup_target == "pretrain" else own

    def of_methods(self, dataset: str) -> dict[str, bool]:
        """Return the switches that a method reads, if it has these settings (D11, D19, D25)."""
        return {
            "cached": self.forget_cycle == "cached",
            "relabel": self.relabel_all or dataset not in ("tiny-imagenet", "tinyimagenet100"),
            "one_more": self.scrub_max_epochs == "plus-one",
        }

    def normalizes_twice(self, dataset: str) -> bool:
        """Return whether the images of a data set are normalized twice (D16)."""
        return self.double_normalize and dataset in ("tiny-imagenet", "imagenet", "tinyimagenet100")

    def of_weights(self) -> dict[str, Any]:
        """Return the switches off their defaults that affect the weights through no other field of a stage's key."""
        switches = (switch for switch in fields(self) if switch.metadata["changes"] == WEIGHTS)
        return {one.name: value for one in switches if (value := getattr(self, one.name)) != one.default}


RELEASE = {one.name: one.metadata["released"] for one in fields(Fidelity)}
PRESETS: dict[str, dict[str, Any]] = {
    "correct": {},
    "official-paper": {one.name: RELEASE[one.name] for one in fields(Fidelity) if one.metadata["in_paper"]},
    "official-release": RELEASE,
}


@cache
def resolve_switches(preset: str, switches: str = "") -> Fidelity:
    """Return the switches of a preset, with single ones overridden by `switches` (`mask_polarity=low, tow=signed`).

    Raises:
        ConfigError: for an unknown preset, switch or value, with the nearest name.
    """
    choose("preset", preset, PRESETS)
    return build(Fidelity, {**PRESETS[preset], **parse_options(switches, "switches")}, where="switches")


# D7: accuracies of retraining that are hard-coded in the released code, in percent: retain, forget, test.
PUBLISHED_BY_LEVEL: Mapping[tuple[str, str], Mapping[str, tuple[float, float, float]]] = {
    ("cifar100", "vit-s"): {
        "high": (99.9619, 8.23333, 62.73), "mid": (99.96429, 38.5, 61.56), "low": (99.95714, 93.53333, 61.11)
    },
    ("cifar100", ""): {
        "high": (99.964, 3.3, 74.96), "mid": (99.981, 57.5, 74.14), "low": (99.956, 100.0, 75.81)
    },
    ("imagenet", ""): {
        "high": (97.134, 13.828, 74.846), "mid": (97.388, 52.27, 74.832), "low": (96.671, 99.858, 75.018)
    },
}  # fmt: skip
PUBLISHED_AT_ANY_LEVEL = {"cifar10": (99.943, 92.567, 92.49)}
PUBLISHED_RANDOM = {"tiny-imagenet": (99.985, 59.383, 61.69)}


def published_reference(dataset: str, model: str, difficulty: str) -> dict[str, float] | None:
    """Return the hard-coded reference of a run by set, in [0, 1]; None if the code has none and logs ToW 0 (D7)."""
    levels = PUBLISHED_BY_LEVEL.get((dataset, model)) or PUBLISHED_BY_LEVEL.get((dataset, ""), {})
    found = levels.get(difficulty) or PUBLISHED_AT_ANY_LEVEL.get(dataset)
    if found is None and difficulty == "random":
        found = PUBLISHED_RANDOM.get(dataset)
    return dict(zip(("retain", "forget", "test"), (v / 100 for v in found), strict=True)) if found else None
