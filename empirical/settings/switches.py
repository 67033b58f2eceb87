"""Switches for the discrepancies D1-D26 of the paper's released code, and the presets that set them together."""

from dataclasses import dataclass
from functools import cache
from typing import Any

from empirical.settings.rule_labels import parse_options
from repro.base.settings import build, check, choose, setting


@dataclass(frozen=True)
class Fidelity:
    """Which behaviour each discrepancy takes; every default is the correct one (`docs/differences.md`)."""

    base_optimizer: str = setting("as-set", "D1: optimizer of unlearning and retraining", choices=("as-set", "adamw"))
    randaugment: bool = setting(False, "D2: RandAugment(2, 15) on the training images")
    mask_polarity: str = setting("high", "D3: which forget gradients the mask marks", choices=("high", "low"))
    mask_stage: str = setting(
        "combined", "D4: what a mask acts on: all of SAM, its result alone, or its second gradient alone",
        choices=("combined", "result", "perturbed"),
    )  # fmt: skip
    minmax_update: str = setting(
        "owned", "D5: an optimizer moves owned weights, or all of them and once for each branch of MinMax",
        choices=("owned", "double"),
    )  # fmt: skip
    tow: str = setting("absolute", "D6: differences in the reported ToW", choices=("absolute", "signed"))
    tow_reference: str = setting("own", "D7: reference accuracies of the reported ToW", choices=("own", "published"))
    forget_split: str = setting(
        "shared", "D8: split that random and class forget sets come from", choices=("shared", "reseeded")
    )
    m_entropy: str = setting("per-row", "D9: modified entropy of the SVC attack", choices=("per-row", "released"))
    mia_members: str = setting("stratified", "D10: how attack members are drawn", choices=("stratified", "first"))
    forget_cycle: str = setting("fresh", "D11: forget batches after the first pass", choices=("fresh", "cached"))
    forget_statistics: str = setting(
        "update", "D12: BatchNorm statistics on forget batches", choices=("update", "keep")
    )
    minmax_sign: str = setting(
        "negated-loss", "D13: loss whose sharpness MinMax maximizes", choices=("negated-loss", "cross-entropy")
    )
    retrain_schedule: str = setting("same", "D14: learning-rate schedule of retraining", choices=("same", "multistep"))
    warmup_target: str = setting("own", "D15: rate the warm-up ramps to", choices=("own", "pretrain"))
    double_normalize: bool = setting(False, "D16: normalize the images twice")
    validation_images: str = setting("test", "D17: transform of the validation images", choices=("test", "train"))
    corrupted_evaluation: bool = setting(True, "D18: also evaluate on corrupted images when training on them")
    relabel_all: bool = setting(True, "D19: random labels on every data set, not on all but Tiny ImageNet")
    joint_mask: str = setting(
        "applied", "D21: the mask of SAM in joint NegGrad and ascent", choices=("applied", "ignored")
    )
    entanglement_scale: str = setting(
        "fixed", "D22: cost scale and cap of the entanglement scores", choices=("fixed", "released")
    )
    landscape_norm: str = setting("filter", "D23: unit the directions are scaled to", choices=("filter", "layer"))
    glass_blur: str = setting("swap", "D24: what glass blur does to pixel pairs", choices=("swap", "copy"))
    scrub_max_epochs: str = setting("exact", "D25: SCRUB ascent epochs", choices=("exact", "plus-one"))
    constant_score: str = setting(
        "chance", "D26: SVC attack on a score that is the same everywhere", choices=("chance", "machine")
    )

    def __post_init__(self) -> None:
        check(self)


_PAPER = {
    "mask_polarity": "low", "mask_stage": "perturbed", "minmax_update": "double", "tow": "signed",
    "tow_reference": "published", "forget_split": "reseeded", "m_entropy": "released", "mia_members": "first",
    "forget_cycle": "cached", "retrain_schedule": "multistep", "warmup_target": "pretrain", "double_normalize": True,
    "validation_images": "train", "corrupted_evaluation": False, "relabel_all": False, "joint_mask": "ignored",
    "entanglement_scale": "released", "landscape_norm": "layer", "glass_blur": "copy", "scrub_max_epochs": "plus-one",
    "constant_score": "machine",
}  # fmt: skip
PRESETS: dict[str, dict[str, Any]] = {
    "correct": {},
    "official-paper": _PAPER,
    "official-release": {**_PAPER, "base_optimizer": "adamw", "randaugment": True},
}


@cache
def resolve(preset: str, switches: str = "") -> Fidelity:
    """Return the switches of a preset, with single ones overridden by `switches` (`mask_polarity=low, tow=signed`).

    Raises:
        ConfigError: for an unknown preset, switch or value, with the nearest name.
    """
    choose("preset", preset, PRESETS)
    return build(Fidelity, {**PRESETS[preset], **parse_options(switches, "switches")}, where="switches")
