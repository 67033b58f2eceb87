"""Numbers as text: a mean never stands without its spread and its number of seeds."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from figures.tables.names import method_label, rule_label
from repro.statistics.effects import Table
from repro.statistics.seeds import Row


def spread_text(row: Row, *, percent: bool = False, digits: int = 3) -> str:
    """Return a summary as `mean ± sd (k)`: a number never stands without its spread and its number of seeds."""
    scale, diverged = 100.0 if percent else 1.0, int(row.get("diverged", 0))
    if not row["seeds"]:
        return "diverged" if diverged else "not run"
    spread = "" if np.isnan(row["sd"]) else f" ± {scale * row['sd']:.{digits}f}"
    broken = f", {diverged} diverged" if diverged else ""
    return f"{scale * row['mean']:.{digits}f}{spread} ({int(row['seeds'])}{broken})"


def effect_text(row: Row) -> str:
    """Return a difference as `+mean [low, high]`, the 95 % interval; one seed has no interval."""
    if np.isnan(row["low"]):
        return f"{row['mean']:+.3f} [no interval]"
    return f"{row['mean']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}]"


def points_text(row: Row) -> str:
    """Return a difference in percentage points as `+mean [low, high]`, with * where the interval excludes 0."""
    mean, low, high = (100 * row[name] for name in ("mean", "low", "high"))
    if np.isnan(low):
        return f"{mean:+.1f}"
    return f"{mean:+.1f} [{low:+.1f}, {high:+.1f}]{' *' if low > 0 or high < 0 else ''}"


def span(counts: Iterable[Any]) -> str:
    """Return "3" or "3-5": the least and the greatest of some counts."""
    found = sorted(int(count) for count in counts)
    return str(found[0]) if found[0] == found[-1] else f"{found[0]}-{found[-1]}"


def alt_text(shown: str, rows: Table, form: str) -> str:
    """Return the text for a reader who cannot see a figure: what it shows, and numbers of some rows.

    Args:
        shown: what the figure shows, and which numbers follow.
        rows: the rows whose numbers are given; rules and methods get the names that a legend has.
        form: the text of a row, such as "{rule}: {mean:.2f}".
    """
    labels = {"pretrain": rule_label, "unlearn": rule_label, "rule": rule_label, "method": method_label}
    named = rows.assign(**{name: rows[name].map(label) for name, label in labels.items() if name in rows})
    told = "; ".join(" ".join(form.format(**row).split()) for row in named.to_dict("records"))
    return f"{shown}: {told}."
