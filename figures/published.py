"""Values the paper publishes and we know, for a place beside ours. Percent; means over F_high, F_mid and F_low."""

from figures.style import family

# ToW, method and unlearning rule to data set to value; Sharp MinMax is quoted to about a tenth.
TOW = {
    ("neggrad", "sgd"): {"ImageNet": 83.83, "CIFAR-100": 81.80},
    ("neggrad", "sam"): {"ImageNet": 83.68, "CIFAR-100": 72.78},
    ("neggrad", "asam"): {"ImageNet": 84.84, "CIFAR-100": 83.11},
    ("neggrad", "minmax"): {"ImageNet": 87.9, "CIFAR-100": 87.9},
}
SAME_DATA = {"cifar100": "CIFAR-100", "imagenet": "ImageNet"}


def published(method: str, rule: str) -> dict[str, float]:
    """Return the paper's ToW in percent by data set, empty where none is known.

    The paper's rows are SAM 0.1, ASAM 1.0 and Sharp MinMax with ASAM 1.0.
    """
    return TOW.get((method, family(rule)), {})


def published_text(method: str, rule: str) -> str:
    """Return the paper's values as a table cell."""
    return ", ".join(f"{name} {value:g}" for name, value in published(method, rule).items()) or "—"
