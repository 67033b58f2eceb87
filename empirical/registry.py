"""Names of data sets, models, rules, methods and metrics, loaded on first use; a user's package adds its own."""

import importlib
from collections.abc import Callable
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from repro.records.settings import choose

METHODS = {
    "retrain": "empirical.methods.retain:Retrain",
    "finetune": "empirical.methods.retain:Finetune",
    "l1_sparse": "empirical.methods.retain:L1Sparse",
    "gradient_ascent": "empirical.methods.forget:GradientAscent",
    "neggrad": "empirical.methods.forget:NegGrad",
    "random_label": "empirical.methods.relabel:RandomLabel",
    "salun": "empirical.methods.relabel:SalUn",
    "scrub": "empirical.methods.forget:Scrub",
}
RULES = {
    "sgd": "empirical.training.rules:build_plain",
    "sam": "empirical.training.rules:build_sam",
    "asam": "empirical.training.rules:build_asam",
    "minmax": "empirical.training.rules:build_minmax",
    "retain-sam": "empirical.training.rules:build_retain_sam",
    "masked": "empirical.training.rules:build_masked",
}
METRICS = {
    "accuracy": "empirical.metrics.accuracy:accuracies",
    "tow": "empirical.metrics.accuracy:tug_of_war",
    "mia": "empirical.metrics.svc_attack:svc_attack",
    "attacks": "empirical.metrics.threshold_attack:threshold_attack",
    "gap": "empirical.metrics.gap:gaps",
    "entanglement": "empirical.metrics.entanglement:entanglement",
    "distances": "empirical.metrics.distances:distances",
    "margins": "empirical.metrics.samples:margins",
    "klom": "empirical.metrics.klom:klom_margins",
    "features": "empirical.metrics.samples:features",
    "landscape": "empirical.metrics.landscape:landscape",
    "hessian": "empirical.metrics.hessian:top_eigenvalues",
    "relearning": "empirical.metrics.relearning:relearning",
}
DATASETS = {
    "digits": "empirical.data.builtin:load_digits",
    "signal-noise": "empirical.data.builtin:load_signal_noise",
    "cifar10": "empirical.data.files:load_cifar10",
    "cifar100": "empirical.data.files:load_cifar100",
    "tinyimagenet100": "empirical.data.files:load_tinyimagenet100",
    "tiny-imagenet": "empirical.data.folders:load_tiny_imagenet",
    "imagenet": "empirical.data.folders:load_imagenet",
    "folder": "empirical.data.folders:load_folder",
}
MODELS = {
    "resnet8": "empirical.models.resnet:resnet8",
    "resnet8-narrow": "empirical.models.resnet:resnet8_narrow",
    "resnet8-strided": "empirical.models.resnet:resnet8_strided",
    "resnet18": "empirical.models.resnets:resnet18",
    "resnet34": "empirical.models.resnets:resnet34",
    "resnet50": "empirical.models.resnets:resnet50",
    "resnet18-imagenet": "empirical.models.resnets:resnet18_imagenet",
    "resnet34-imagenet": "empirical.models.resnets:resnet34_imagenet",
    "resnet50-imagenet": "empirical.models.resnets:resnet50_imagenet",
    "vgg16-bn": "empirical.models.others:vgg16_bn",
    "vit-s": "empirical.models.others:vit_s",
    "patch-cnn": "empirical.models.others:patch_cnn",
}
BUILT_IN = {"methods": METHODS, "rules": RULES, "metrics": METRICS, "datasets": DATASETS, "models": MODELS}


@cache
def plugins(kind: str) -> dict[str, EntryPoint]:
    """Return the entry points that installed packages declare in the group `repro.<kind>`."""
    return {point.name: point for point in entry_points(group=f"repro.{kind}")}


def names(kind: str) -> list[str]:
    """Return every known name of a kind: the built-in ones, then those of installed packages."""
    return [*BUILT_IN[kind], *(name for name in plugins(kind) if name not in BUILT_IN[kind])]


def load(kind: str, name: str) -> Callable[..., Any]:
    """Import and return what `name` stands for.

    Raises:
        ConfigError: when no such name is known, with the nearest one.
    """
    choose(kind.removesuffix("s"), name, names(kind))
    if name not in BUILT_IN[kind]:
        return plugins(kind)[name].load()
    module, attribute = BUILT_IN[kind][name].split(":")
    return getattr(importlib.import_module(module), attribute)
