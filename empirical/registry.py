"""The registry: data sets, models, rules, methods, forget sets and metrics by name, loaded on first use.

Metrics, methods and rules are declared next to their code (`repro.base.parts`). A user's package adds parts through
entry points in the groups `repro.methods`, `repro.rules`, and so on: a function or class, or one of the declarations
below that names it. Every function that takes a name raises `ConfigError` for an unknown one, with the nearest name.
"""

import importlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from repro.base.errors import ConfigError
from repro.base.parts import PLACES, MethodFacts, Metric, RuleFacts, built_in, declared, parts, plugins
from repro.base.settings import choose

METRICS = dict(built_in("metrics"))
METHODS = dict(built_in("methods"))
RULES = dict(built_in("rules"))


@dataclass(frozen=True)
class Dataset:
    """A data set.

    Attributes:
        home: `module:function` of its loader, called with its options and the runtime.
        files: `module:function` that lists its files, called with its name, its options and the folder of local data;
            empty: unknown files, so its decoded content identifies it.
        images: number of training images, for plans; 0: unknown.
        test_images: number of test images; edge: edge of an image in pixels; 0: unknown.
        estimates: whether memorization scores can be estimated; otherwise they must be imported.
    """

    home: str
    files: str = ""
    images: int = 0
    test_images: int = 0
    edge: int = 0
    estimates: bool = True


DATASETS = {
    "digits": Dataset("empirical.data.builtin:load_digits", "empirical.data.source:digits_files", 1_437, 360, 8),
    "signal-noise": Dataset("empirical.data.builtin:load_signal_noise"),
    "cifar10": Dataset("empirical.data.files:load_cifar10", "empirical.data.source:cifar_files", 50_000, 10_000, 32),
    "cifar100": Dataset("empirical.data.files:load_cifar100", "empirical.data.source:cifar_files", 50_000, 10_000, 32),
    "tinyimagenet100": Dataset(
        "empirical.data.files:load_tinyimagenet100", "empirical.data.source:parquet_files", 50_000, 5_000, 32
    ),
    "tiny-imagenet": Dataset(
        "empirical.data.folders:load_tiny_imagenet", "empirical.data.source:folder_files", 100_000, 10_000, 64
    ),
    "imagenet": Dataset(
        "empirical.data.folders:load_imagenet", "empirical.data.source:folder_files", 1_281_167, 50_000, 224, False
    ),
    "folder": Dataset("empirical.data.folders:load_folder", "empirical.data.source:folder_files"),
}


@dataclass(frozen=True)
class ForgetSet:
    """A way to choose the forget set.

    Attributes:
        home: `module:function`, called with `empirical.data.forget.Candidates`; it returns row numbers.
        graded: whether it reads memorization scores.
    """

    home: str
    graded: bool = False


FORGET_SETS = {
    "random": ForgetSet("empirical.data.forget:random_rows"),
    "low": ForgetSet("empirical.data.forget:least_memorized", graded=True),
    "mid": ForgetSet("empirical.data.forget:half_memorized", graded=True),
    "high": ForgetSet("empirical.data.forget:most_memorized", graded=True),
    "class": ForgetSet("empirical.data.forget:whole_class"),
    "class-part": ForgetSet("empirical.data.forget:part_of_class"),
    "index": ForgetSet("empirical.data.forget:listed_rows"),
}


@dataclass(frozen=True)
class Model:
    """A model, and sizes by which a plan tells what it costs without building it.

    Attributes:
        home: `module:function`, called with the shape of an image and the number of classes.
        weights: their number at ten classes; 0: unknown.
        edge: edge in pixels of the images that the next two are about; both grow about with the area of an image.
        mega: multiplications and additions of a forward pass per image, in millions; 0: unknown.
        kilo: activations per image that the backward pass needs, in thousands; 0: unknown.
    """

    home: str
    weights: int = 0
    edge: int = 1
    mega: float = 0.0
    kilo: float = 0.0


RESNET, OTHERS = "empirical.models.resnet", "empirical.models.others"
MODELS = {
    "resnet8": Model(f"{RESNET}:resnet8", 78_042, 32, 25.0, 164),
    "resnet8-narrow": Model(f"{RESNET}:resnet8_narrow", 19_850, 32, 6.47, 83.5),
    "resnet8-strided": Model(f"{RESNET}:resnet8_strided", 78_042, 32, 6.25, 44.1),
    "resnet8-wide": Model(f"{RESNET}:resnet8_wide", 1_227_594, 32, 97.4, 167),
    "resnet8-coarse": Model(f"{RESNET}:resnet8_coarse", 1_230_666, 32, 24.8, 47.2),
    "resnet18": Model(f"{RESNET}:resnet18", 11_173_962, 32, 1111, 1187),
    "resnet34": Model(f"{RESNET}:resnet34", 21_282_122, 32, 2319, 2014),
    "resnet50": Model(f"{RESNET}:resnet50", 23_520_842, 32, 2596, 6442),
    "resnet18-imagenet": Model(f"{RESNET}:resnet18_imagenet", 11_181_642, 224, 3627, 5356),
    "resnet34-imagenet": Model(f"{RESNET}:resnet34_imagenet", 21_289_802, 224, 7327, 7873),
    "resnet50-imagenet": Model(f"{RESNET}:resnet50_imagenet", 23_528_522, 224, 8174, 21_340),
    "vgg16-bn": Model(f"{OTHERS}:vgg16_bn", 15_311_818, 32, 628, 925),
    "vit-s": Model(f"{OTHERS}:vit_s", 21_342_346, 32, 2841, 15_747),
    "patch-cnn": Model(f"{OTHERS}:patch_cnn", 20_480),
    "patch-cnn-bias": Model(f"{OTHERS}:patch_cnn_bias", 20_500),
    "patch-cnn-mean": Model(f"{OTHERS}:patch_cnn_mean", 20_480),
    "patch-cnn-head": Model(f"{OTHERS}:patch_cnn_head", 20_520),
    "patch-cnn-deep": Model(f"{OTHERS}:patch_cnn_deep", 20_880),
}
# Families such as `timm:resnet18`: the part after the colon is passed to the loader as `name`.
FAMILIES: dict[str, dict[str, Any]] = {
    "models": {"timm": Model(f"{OTHERS}:timm_model")},
    "datasets": {
        "hub": Dataset("empirical.data.hub:load_hub", "empirical.data.hub:hub_files"),
        "folder": Dataset("empirical.data.folders:load_any_folder", "empirical.data.folders:any_folder_files"),
    },
}
BUILT_IN: dict[str, Mapping[str, Any]] = {
    "methods": METHODS, "rules": RULES, "metrics": METRICS, "datasets": DATASETS, "models": MODELS,
    "forget_sets": FORGET_SETS,
}  # fmt: skip


def names(kind: str) -> list[str]:
    """Return all known names of a kind: built-in names, then names from installed packages."""
    return [*BUILT_IN[kind], *(name for name in plugins(kind) if name not in BUILT_IN[kind])]


def known(kind: str, name: str, field: str = "") -> str:
    """Return `name` if it is known for this kind; an error names the field."""
    families = FAMILIES.get(kind, {})
    if name in BUILT_IN[kind] or name in plugins(kind) or _member(kind, name):
        return name
    return choose(field or kind.removesuffix("s"), name, [*names(kind), *(f"{family}:NAME" for family in families)])


def _member(kind: str, name: str) -> tuple[Any, str] | None:
    """Return the entry of a family and the part of the name after the colon; None for any other name."""
    family, _, rest = name.partition(":")
    return (FAMILIES[kind][family], rest) if rest and family in FAMILIES.get(kind, {}) else None


def metric(name: str) -> Metric:
    """Return the declaration of a metric."""
    return _entry("metrics", name, Metric)


def method(name: str) -> MethodFacts:
    """Return the declaration of an unlearning method."""
    return _entry("methods", name, MethodFacts)


def rule(name: str) -> RuleFacts:
    """Return the declaration of a gradient rule."""
    return _entry("rules", name, RuleFacts)


def needs_shadow_models(names: Iterable[str]) -> bool:
    """Return whether any of these metrics reads the subset models of the memorization scores."""
    return any(metric(name).shadow_models for name in names)


def dataset(name: str) -> Dataset:
    """Return the entry of a data set."""
    return _entry("datasets", name, Dataset)


def forget_set(name: str) -> ForgetSet:
    """Return the entry of a forget set."""
    return _entry("forget_sets", name, ForgetSet)


def model_weights(name: str) -> int:
    """Return the approximate number of weights of a model at ten classes; 0 if unknown."""
    return MODELS[name].weights if name in MODELS else 0


def model_work(name: str, edge: int) -> tuple[float, float]:
    """Return, per image, multiply-adds of the forward pass and activations for the backward pass; 0 if unknown."""
    known_size = MODELS.get(name, Model(""))
    area = (edge / known_size.edge) ** 2 if edge else 1.0
    return known_size.mega * 1e6 * area, known_size.kilo * 1e3 * area


def _entry(kind: str, name: str, cls: Any) -> Any:
    known(kind, name)
    if member := _member(kind, name):
        return member[0]
    found = BUILT_IN[kind].get(name) or (parts(kind).get(name) if kind in PLACES else None)
    if found is None:  # a user's part without a declaration in its source; an imported metric may still have one
        if kind in PLACES:
            declared(plugins(kind)[name].value.partition(":")[0])  # raises for a declaration that cannot be read
        found = plugins(kind)[name].value if cls in (MethodFacts, RuleFacts) else _plugin(kind, name)
    return found if isinstance(found, cls) else cls(found if isinstance(found, str) else plugins(kind)[name].value)


def _plugin(kind: str, name: str) -> Any:
    """Import the part of an installed package.

    Raises:
        ConfigError: if it cannot be imported (with the package and its error) or is not callable.
    """
    point = plugins(kind)[name]
    where = f"{kind.removesuffix('s')} = {name!r}: the plug-in {point.value}"
    try:
        found = point.load()
    except Exception as error:
        raise ConfigError(f"{where} cannot be imported ({type(error).__name__}: {str(error)[:200]})") from error
    if not callable(found) and not hasattr(found, "home"):
        raise ConfigError(f"{where} is {type(found).__name__}, no {kind.removesuffix('s')}")
    return found


def load(kind: str, name: str) -> Callable[..., Any]:
    """Import and return the part called `name`."""
    known(kind, name)
    if member := _member(kind, name):
        return partial(_imported(member[0]), name=member[1])
    return _imported(BUILT_IN[kind][name] if name in BUILT_IN[kind] else _plugin(kind, name))


def _imported(found: Any) -> Callable[..., Any]:
    home = getattr(found, "home", found)
    if not isinstance(home, str):
        return home
    module, attribute = home.split(":")
    return getattr(importlib.import_module(module), attribute)
