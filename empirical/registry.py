"""What there is: data sets, models, rules, methods, forget sets and metrics by name, loaded on first use.

Metrics, methods and rules are declared where they are written, see `repro.base.parts`. A user's package adds its own
through entry points, in the groups `repro.methods`, `repro.rules`, and so on.
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
        files: `module:function` that lists the files it is read from, called with its name, its options and the folder
            of local data; empty: nobody can say, so its decoded content identifies it.
        images: how many training images it has, so that a plan can say how long a study takes; 0: not known.
        test_images: how many for testing; edge: of an image in pixels; 0: not known.
        estimates: whether memorization scores are estimated here; otherwise they have to be imported.
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
        "empirical.data.folders:load_imagenet",
        "empirical.data.source:folder_files",
        1_281_167,
        50_000,
        224,
        estimates=False,
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
MODELS = {
    "resnet8": "empirical.models.resnet:resnet8",
    "resnet8-narrow": "empirical.models.resnet:resnet8_narrow",
    "resnet8-strided": "empirical.models.resnet:resnet8_strided",
    "resnet8-wide": "empirical.models.resnet:resnet8_wide",
    "resnet8-coarse": "empirical.models.resnet:resnet8_coarse",
    "resnet18": "empirical.models.resnet:resnet18",
    "resnet34": "empirical.models.resnet:resnet34",
    "resnet50": "empirical.models.resnet:resnet50",
    "resnet18-imagenet": "empirical.models.resnet:resnet18_imagenet",
    "resnet34-imagenet": "empirical.models.resnet:resnet34_imagenet",
    "resnet50-imagenet": "empirical.models.resnet:resnet50_imagenet",
    "vgg16-bn": "empirical.models.others:vgg16_bn",
    "vit-s": "empirical.models.others:vit_s",
    "patch-cnn": "empirical.models.others:patch_cnn",
    "patch-cnn-bias": "empirical.models.others:patch_cnn_bias",
    "patch-cnn-mean": "empirical.models.others:patch_cnn_mean",
    "patch-cnn-head": "empirical.models.others:patch_cnn_head",
    "patch-cnn-deep": "empirical.models.others:patch_cnn_deep",
}
# Weights of each model at ten classes, so that a plan can say what a study takes on a disk without building one.
WEIGHTS = {
    "resnet8": 78_042, "resnet8-narrow": 19_850, "resnet8-strided": 78_042, "resnet8-wide": 1_227_594,
    "resnet8-coarse": 1_230_666,
    "resnet18": 11_173_962, "resnet34": 21_282_122, "resnet50": 23_520_842, "resnet18-imagenet": 11_181_642,
    "resnet34-imagenet": 21_289_802,
    "resnet50-imagenet": 23_528_522, "vgg16-bn": 15_311_818, "vit-s": 21_342_346, "patch-cnn": 20_480,
    "patch-cnn-bias": 20_500, "patch-cnn-mean": 20_480, "patch-cnn-head": 20_520, "patch-cnn-deep": 20_880,
}  # fmt: skip
# Of one image at an edge, in pixels: millions of multiplications and additions, and thousands of numbers that are kept
# for the way back. Both grow with the area of an image, about; a test counts them.
WORK = {
    "resnet8": (32, 25.0, 164), "resnet8-narrow": (32, 6.47, 83.5), "resnet8-strided": (32, 6.25, 44.1),
    "resnet8-wide": (32, 97.4, 167), "resnet8-coarse": (32, 24.8, 47.2),
    "resnet18": (32, 1111, 1187), "resnet34": (32, 2319, 2014),
    "resnet50": (32, 2596, 6442), "resnet18-imagenet": (224, 3627, 5356), "resnet34-imagenet": (224, 7327, 7873),
    "resnet50-imagenet": (224, 8174, 21_340), "vgg16-bn": (32, 628, 925), "vit-s": (32, 2841, 15_747),
}  # fmt: skip
# Names with a part of their own, such as `timm:resnet18`: the part behind the colon is the loader's `name`.
FAMILIES: dict[str, dict[str, Any]] = {
    "models": {"timm": "empirical.models.timm_models:timm_model"},
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
    """Return every known name of a kind: the built-in ones, then those of installed packages."""
    return [*BUILT_IN[kind], *(name for name in plugins(kind) if name not in BUILT_IN[kind])]


def known(kind: str, name: str, field: str = "") -> str:
    """Return `name` if it stands for something of this kind.

    Raises:
        ConfigError: naming the field and the nearest name.
    """
    families = FAMILIES.get(kind, {})
    if name in BUILT_IN[kind] or name in plugins(kind) or _member(kind, name):
        return name
    return choose(field or kind.removesuffix("s"), name, [*names(kind), *(f"{family}:NAME" for family in families)])


def _member(kind: str, name: str) -> tuple[Any, str] | None:
    """Return what a name of a family stands for and the part behind its colon; None for any other name."""
    family, _, rest = name.partition(":")
    return (FAMILIES[kind][family], rest) if rest and family in FAMILIES.get(kind, {}) else None


def metric(name: str) -> Metric:
    """Return what a metric needs; a user's entry point is a function, or a `Metric` that names one.

    Raises:
        ConfigError: when no such metric is known, with the nearest one.
    """
    return _entry("metrics", name, Metric)


def method(name: str) -> MethodFacts:
    """Return what plans know of an unlearning method.

    Raises:
        ConfigError: when no such method is known, with the nearest one.
    """
    return _entry("methods", name, MethodFacts)


def rule(name: str) -> RuleFacts:
    """Return what labels and plans know of a gradient rule.

    Raises:
        ConfigError: when no such rule is known, with the nearest one.
    """
    return _entry("rules", name, RuleFacts)


def needs_shadows(names: Iterable[str]) -> bool:
    """Return whether one of some metrics looks at the subset models of the memorization estimate."""
    return any(metric(name).shadows for name in names)


def dataset(name: str) -> Dataset:
    """Return where a data set comes from; a user's entry point is a loader, or a `Dataset` that names one.

    Raises:
        ConfigError: when no such data set is known, with the nearest one.
    """
    return _entry("datasets", name, Dataset)


def forget_set(name: str) -> ForgetSet:
    """Return how a forget set is chosen; a user's entry point is a function, or a `ForgetSet` that names one.

    Raises:
        ConfigError: when no such forget set is known, with the nearest one.
    """
    return _entry("forget_sets", name, ForgetSet)


def model_weights(name: str) -> int:
    """Return about how many weights a model has at ten classes; 0 where nobody has said."""
    return WEIGHTS.get(name, 0)


def model_work(name: str, edge: int) -> tuple[float, float]:
    """Return the multiplications and additions of an image's forward pass, and the numbers kept for the way back.

    Both are 0 where nobody has said.
    """
    known_edge, mega, kilo = WORK.get(name, (1, 0.0, 0.0))
    area = (edge / known_edge) ** 2 if edge else 1.0
    return mega * 1e6 * area, kilo * 1e3 * area


def _entry(kind: str, name: str, cls: Any) -> Any:
    known(kind, name)
    if member := _member(kind, name):
        return member[0]
    found = BUILT_IN[kind].get(name) or (parts(kind).get(name) if kind in PLACES else None)
    if found is None:  # a user's, which says nothing of itself in its source; a metric may still do so once imported
        if kind in PLACES:
            declared(plugins(kind)[name].value.partition(":")[0])  # raises where it says something that cannot be read
        found = plugins(kind)[name].value if cls in (MethodFacts, RuleFacts) else _plugin(kind, name)
    return found if isinstance(found, cls) else cls(found if isinstance(found, str) else plugins(kind)[name].value)


def _plugin(kind: str, name: str) -> Any:
    """Import what an installed package offers under a name.

    Raises:
        ConfigError: naming the package and its error, when it cannot be imported, and when it offers no callable.
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
    """Import and return what `name` stands for.

    Raises:
        ConfigError: when no such name is known, with the nearest one.
    """
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
