"""Reference accuracies written into the released code (D7), in percent: retain, forget, test."""

from empirical.settings.run_config import RunConfig

_SCORED = {
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
_ANY_LEVEL = {"cifar10": (99.943, 92.567, 92.49)}
_RANDOM = {"tiny-imagenet": (99.985, 59.383, 61.69)}


def published_reference(config: RunConfig) -> dict[str, float] | None:
    """Return the hard-coded reference in [0, 1], or None where the released code has none and logs ToW 0."""
    levels = _SCORED.get((config.dataset, config.model)) or _SCORED.get((config.dataset, ""), {})
    found = levels.get(config.difficulty) or _ANY_LEVEL.get(config.dataset)
    if found is None and config.difficulty == "random":
        found = _RANDOM.get(config.dataset)
    return dict(zip(("retain", "forget", "test"), (v / 100 for v in found), strict=True)) if found else None
