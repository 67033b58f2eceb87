"""How far a prediction may be trusted: a half-width for any setting, from the table that the validity record holds."""

from collections.abc import Mapping, Sequence

Widths = Mapping[tuple[str, str], Sequence[float]]  # quantity and rule of pretraining to one half-width a band
LEVEL = 0.9  # nine of ten intervals contain the simulation
BANDS = (0.01, 0.1, 0.3, 0.47, 0.5)  # of the predicted value, which says how steeply it changes
QUANTITIES = ("pretrained, test_error", "final, test_error", "final, forget_error")


def place_of(predicted: float) -> int:
    """Return the band of a predicted value."""
    return sum(predicted >= edge for edge in BANDS)


def half_width(quantity: str, pretrain: str, predicted: float, widths: Widths | None = None) -> float:
    """Return the half-width of the 90 % interval about a prediction, in units of the error itself.

    Args:
        quantity: one of `QUANTITIES`.
        pretrain: rule of pretraining; of a schedule, its first.
        predicted: the predicted value.
        widths: half-widths of `theory.validity.widths_of`; the committed ones by default.
    """
    rule = "sgd" if pretrain.startswith("sgd") else "sam"
    return (widths or WIDTHS)[quantity, rule][place_of(predicted)]


# As `repro theory validity` has fitted them, one a band; the published record holds the same.
WIDTHS: Widths = {
    ("pretrained, test_error", "sgd"): (0.0079, 0.012, 0.055, 0.0054, 0.0013, 0.0079),
    ("pretrained, test_error", "sam"): (0.00041, 0.0099, 0.04, 0.01, 0.0099, 0.0099),
    ("final, test_error", "sgd"): (0.071, 0.071, 0.045, 0.027, 0.0072, 0.16),
    ("final, test_error", "sam"): (0.028, 0.13, 0.052, 0.033, 0.046, 0.046),
    ("final, forget_error", "sgd"): (0.016, 0.38, 0.41, 0.22, 0.22, 0.25),
    ("final, forget_error", "sam"): (0.094, 0.26, 0.17, 0.41, 0.16, 0.59),
}
