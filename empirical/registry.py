"""Names of data sets, models, rules, methods and metrics, loaded on first use; a user's package adds its own."""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Metric:
    """What a number depends on besides the stages it is measured on; read without importing the metric.

    Attributes:
        home: `module:function`; the function takes an `empirical.metrics.evaluation.Evaluation`.
        version: raised when the same models would get other numbers, so that old numbers are never mixed in.
        needs: metrics whose numbers it reads from `evaluation.result`.
        settings: fields of `RunConfig` it reads besides those that the stages are made of.
        switches: fields of `Fidelity` it reads besides those that the stages are made of.
    """

    home: str
    version: int = 1
    needs: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    switches: tuple[str, ...] = ()


METRICS = {
    "accuracy": Metric(
        "empirical.metrics.closeness:accuracies", switches=("corrupted_evaluation", "validation_images")
    ),
    "tow": Metric(
        "empirical.metrics.closeness:tug_of_war", needs=("accuracy",), settings=("difficulty",),
        switches=("tow", "tow_reference"),
    ),
    "mia": Metric(
        "empirical.metrics.attacks:svc_attack", version=2, settings=("attack_size",),
        switches=("m_entropy", "mia_members", "constant_score"),
    ),
    "attacks": Metric("empirical.metrics.attacks:threshold_attack"),
    "gap": Metric("empirical.metrics.closeness:gaps", needs=("accuracy", "mia")),
    "entanglement": Metric("empirical.metrics.entanglement:entanglement", version=2, switches=("entanglement_scale",)),
    "distances": Metric("empirical.metrics.closeness:distances"),
    "margins": Metric("empirical.metrics.images:margins"),
    "klom": Metric("empirical.metrics.images:klom_margins"),
    "features": Metric("empirical.metrics.images:features"),
    "landscape": Metric(
        "empirical.metrics.landscape:landscape", version=2, settings=("landscape_points", "landscape_radius"),
        switches=("landscape_norm",),
    ),
    "hessian": Metric("empirical.metrics.hessian:top_eigenvalues"),
    "relearning": Metric("empirical.metrics.relearning:relearning"),
}  # fmt: skip
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
    "resnet8-wide": "empirical.models.resnet:resnet8_wide",
    "resnet18": "empirical.models.resnet:resnet18",
    "resnet34": "empirical.models.resnet:resnet34",
    "resnet50": "empirical.models.resnet:resnet50",
    "resnet18-imagenet": "empirical.models.resnet:resnet18_imagenet",
    "resnet34-imagenet": "empirical.models.resnet:resnet34_imagenet",
    "resnet50-imagenet": "empirical.models.resnet:resnet50_imagenet",
    "vgg16-bn": "empirical.models.others:vgg16_bn",
    "vit-s": "empirical.models.others:vit_s",
    "patch-cnn": "empirical.models.others:patch_cnn",
}
BUILT_IN: dict[str, Mapping[str, str | Metric]] = {
    "methods": METHODS, "rules": RULES, "metrics": METRICS, "datasets": DATASETS, "models": MODELS,
}  # fmt: skip


@cache
def plugins(kind: str) -> dict[str, EntryPoint]:
    """Return the entry points that installed packages declare in the group `repro.<kind>`."""
    return {point.name: point for point in entry_points(group=f"repro.{kind}")}


def names(kind: str) -> list[str]:
    """Return every known name of a kind: the built-in ones, then those of installed packages."""
    return [*BUILT_IN[kind], *(name for name in plugins(kind) if name not in BUILT_IN[kind])]


def metric(name: str) -> Metric:
    """Return what a metric needs; a user's entry point is a function, or a `Metric` that names one.

    Raises:
        ConfigError: when no such metric is known, with the nearest one.
    """
    choose("metric", name, names("metrics"))
    if name in METRICS:
        return METRICS[name]
    found = plugins("metrics")[name].load()
    return found if isinstance(found, Metric) else Metric(plugins("metrics")[name].value)


def load(kind: str, name: str) -> Callable[..., Any]:
    """Import and return what `name` stands for.

    Raises:
        ConfigError: when no such name is known, with the nearest one.
    """
    choose(kind.removesuffix("s"), name, names(kind))
    found = BUILT_IN[kind][name] if name in BUILT_IN[kind] else plugins(kind)[name].load()
    home = found.home if isinstance(found, Metric) else found
    if not isinstance(home, str):
        return home
    module, attribute = home.split(":")
    return getattr(importlib.import_module(module), attribute)
