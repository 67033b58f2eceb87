"""How far a prediction may be trusted: a half-width for any setting, from the table that the validity record holds."""

from collections.abc import Mapping, Sequence
from typing import Any

LEVEL = 0.9  # nine of ten intervals contain the simulation
BANDS = (0.01, 0.1, 0.3, 0.47, 0.5)  # of the predicted value, which says how steeply it changes
QUANTITIES = ("pretrained, test_error", "final, test_error", "final, forget_error")


def place_of(predicted: float) -> int:
    """Return the band of a predicted value."""
    return sum(predicted >= edge for edge in BANDS)


def half_width(
    quantity: str, pretrain: str, predicted: float, table: Sequence[Mapping[str, Any]] | None = None
) -> float:
    """Return the half-width of the 90 % interval about a prediction, in units of the error itself.

    Args:
        quantity: one of `QUANTITIES`.
        pretrain: rule of pretraining; of a schedule, its first.
        predicted: the predicted value.
        table: rows of `theory.validity.fit`; the committed ones by default.
    """
    rule = "sgd" if pretrain.startswith("sgd") else "sam"
    chosen = {"quantity": quantity, "pretrain": rule, "band": place_of(predicted)}
    return next(
        row["half_width"] for row in table or TABLE if all(row[name] == value for name, value in chosen.items())
    )


# As `repro theory validity` has fitted it; the published record holds the same.
TABLE: list[dict[str, Any]] = [
    {"band": 0, "half_width": 0.0079, "pretrain": "sgd", "quantity": "pretrained, test_error", "settings": 8},
    {"band": 1, "half_width": 0.012, "pretrain": "sgd", "quantity": "pretrained, test_error", "settings": 16},
    {"band": 2, "half_width": 0.055, "pretrain": "sgd", "quantity": "pretrained, test_error", "settings": 20},
    {"band": 3, "half_width": 0.0054, "pretrain": "sgd", "quantity": "pretrained, test_error", "settings": 35},
    {"band": 4, "half_width": 0.0013, "pretrain": "sgd", "quantity": "pretrained, test_error", "settings": 20},
    {"band": 5, "half_width": 0.0079, "pretrain": "sgd", "quantity": "pretrained, test_error", "settings": 0},
    {"band": 0, "half_width": 0.00041, "pretrain": "sam", "quantity": "pretrained, test_error", "settings": 60},
    {"band": 1, "half_width": 0.0099, "pretrain": "sam", "quantity": "pretrained, test_error", "settings": 8},
    {"band": 2, "half_width": 0.04, "pretrain": "sam", "quantity": "pretrained, test_error", "settings": 10},
    {"band": 3, "half_width": 0.01, "pretrain": "sam", "quantity": "pretrained, test_error", "settings": 20},
    {"band": 4, "half_width": 0.0099, "pretrain": "sam", "quantity": "pretrained, test_error", "settings": 3},
    {"band": 5, "half_width": 0.0099, "pretrain": "sam", "quantity": "pretrained, test_error", "settings": 0},
    {"band": 0, "half_width": 0.071, "pretrain": "sgd", "quantity": "final, test_error", "settings": 0},
    {"band": 1, "half_width": 0.071, "pretrain": "sgd", "quantity": "final, test_error", "settings": 3},
    {"band": 2, "half_width": 0.045, "pretrain": "sgd", "quantity": "final, test_error", "settings": 18},
    {"band": 3, "half_width": 0.027, "pretrain": "sgd", "quantity": "final, test_error", "settings": 26},
    {"band": 4, "half_width": 0.0072, "pretrain": "sgd", "quantity": "final, test_error", "settings": 19},
    {"band": 5, "half_width": 0.16, "pretrain": "sgd", "quantity": "final, test_error", "settings": 33},
    {"band": 0, "half_width": 0.028, "pretrain": "sam", "quantity": "final, test_error", "settings": 44},
    {"band": 1, "half_width": 0.13, "pretrain": "sam", "quantity": "final, test_error", "settings": 9},
    {"band": 2, "half_width": 0.052, "pretrain": "sam", "quantity": "final, test_error", "settings": 14},
    {"band": 3, "half_width": 0.033, "pretrain": "sam", "quantity": "final, test_error", "settings": 19},
    {"band": 4, "half_width": 0.046, "pretrain": "sam", "quantity": "final, test_error", "settings": 7},
    {"band": 5, "half_width": 0.046, "pretrain": "sam", "quantity": "final, test_error", "settings": 8},
    {"band": 0, "half_width": 0.016, "pretrain": "sgd", "quantity": "final, forget_error", "settings": 9},
    {"band": 1, "half_width": 0.38, "pretrain": "sgd", "quantity": "final, forget_error", "settings": 10},
    {"band": 2, "half_width": 0.41, "pretrain": "sgd", "quantity": "final, forget_error", "settings": 16},
    {"band": 3, "half_width": 0.22, "pretrain": "sgd", "quantity": "final, forget_error", "settings": 8},
    {"band": 4, "half_width": 0.22, "pretrain": "sgd", "quantity": "final, forget_error", "settings": 0},
    {"band": 5, "half_width": 0.25, "pretrain": "sgd", "quantity": "final, forget_error", "settings": 56},
    {"band": 0, "half_width": 0.094, "pretrain": "sam", "quantity": "final, forget_error", "settings": 34},
    {"band": 1, "half_width": 0.26, "pretrain": "sam", "quantity": "final, forget_error", "settings": 17},
    {"band": 2, "half_width": 0.17, "pretrain": "sam", "quantity": "final, forget_error", "settings": 25},
    {"band": 3, "half_width": 0.41, "pretrain": "sam", "quantity": "final, forget_error", "settings": 11},
    {"band": 4, "half_width": 0.16, "pretrain": "sam", "quantity": "final, forget_error", "settings": 1},
    {"band": 5, "half_width": 0.59, "pretrain": "sam", "quantity": "final, forget_error", "settings": 13},
]
