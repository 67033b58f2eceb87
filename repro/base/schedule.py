"""A schedule of gradient rules as text: `sam-0.1:25, sgd` is SAM for 25 epochs, then SGD for the remaining epochs."""

from repro.base.errors import ConfigError
from repro.base.settings import reject

DIGITS = 18  # most digits of a number of epochs


def parse_schedule(text: str, epochs: int, field: str) -> list[tuple[str, int]]:
    """Return each rule's label and its number of epochs, in order; the numbers sum to `epochs`.

    Args:
        text: labels separated by commas, each except the last followed by `:` and its epochs; a single label is the
            rule of all epochs.
        epochs: epochs of the whole stage, >= 0.
        field: name of the setting, for errors.

    Raises:
        ConfigError: if a rule before the last has no whole number of epochs >= 1, the last rule has a number, a label
            is empty, or no epoch is left for the last rule.
    """
    *early, last = [piece.strip() for piece in text.split(",")]
    schedule = [_entry(piece, text, field) for piece in early]
    if not last or ":" in last:
        raise reject(field, text, "a schedule whose last rule has no epochs, such as sam-0.1:25, sgd")
    taken = sum(count for _, count in schedule)
    if schedule and taken >= epochs:
        message = f"{field} = {text!r}: its rules before the last take {taken} epochs of {epochs}"
        raise ConfigError(f"{message}; at least one must be left for {last}")
    return [*schedule, (last, epochs - taken)]


def _entry(piece: str, text: str, field: str) -> tuple[str, int]:
    label, _, count = (part.strip() for part in piece.partition(":"))
    if not label or not count.isdecimal() or len(count) > DIGITS or int(count) < 1:
        raise reject(field, text, "rules with their epochs, except for the last, such as sam-0.1:25, sgd")
    return label, int(count)
