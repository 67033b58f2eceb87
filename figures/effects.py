"""From differences between rules to a finding: a verdict, a number with its interval, and where it holds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from figures.paired import by_cell, over_cells
from figures.table import Row, Table, simultaneous
from repro.store import Record

HOLDS, REGIME, CONTRADICTED, UNDECIDED, NOT_RUN = (
    "holds", "holds in a regime", "contradicted", "undecided", "not run"
)  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """What the records say about one item.

    Attributes:
        verdict: holds, holds in a regime, contradicted, undecided (the intervals contain zero), reported (a number was
            asked for, nothing was claimed) or not run.
        number: our number, with its interval and number of seeds.
        regime: where it holds.
        records: the runs behind it.
    """

    verdict: str = NOT_RUN
    number: str = "—"
    regime: str = ""
    records: tuple[Record, ...] = field(default=(), repr=False)


def judge(effects: Table, *, sign: int = 1) -> str:
    """Return a verdict from intervals of effects that the claim says all have one sign.

    Args:
        effects: rows with `mean`, `low`, `high` (95 %), `seeds`.
        sign: +1 when the claim says greater, -1 when it says smaller.

    Every interval on the claimed side: holds. Some, even when all are widened to hold together: holds in a regime.
    None, and at least one wholly on the other side: contradicted. Otherwise the records decide nothing.
    """
    known = effects.dropna(subset=["low", "high"])
    if known.empty:
        return NOT_RUN if effects.empty else UNDECIDED
    if (sides(known, sign=sign) > 0).all():
        return HOLDS
    clear = sides(simultaneous(known), sign=sign)
    if (clear > 0).any():
        return REGIME
    return CONTRADICTED if (clear < 0).any() else UNDECIDED


def sides(effects: Table, *, sign: int = 1) -> Table:
    """Return for each effect +1 where its interval lies on the claimed side, -1 on the other, 0 where it holds 0."""
    return sign * ((effects["low"] > 0).astype(int) - (effects["high"] < 0).astype(int))


def from_differences(
    differences: Table, keys: Sequence[str], name: Callable[[Any], str], *, what: str, runs: Sequence[Record],
    sign: int = 1,
) -> Finding:  # fmt: skip
    """Return the finding of a claim that paired differences all have one sign.

    Args:
        differences: rows of `figures.paired`, one a cell and training seed.
        keys: columns that name a cell; what they do not tell apart is averaged within a seed.
        name: what a cell is called, from its named tuple.
        what: what was subtracted from what.
        runs: the runs behind it.
        sign: as in `judge`.
    """
    effects = by_cell(differences, keys)
    if effects.empty:
        return Finding()
    names = [name(row) for row in effects.itertuples(index=False)]
    return from_effects(effects, names, what, runs, sign=sign, overall=over_cells(differences, keys))


def from_effects(
    effects: Table, names: Sequence[str], what: str, runs: Sequence[Record], *, sign: int = 1, overall: Any = None
) -> Finding:
    """Return the finding of effects whose intervals are there.

    Args:
        effects: rows with `mean`, `low`, `high`, `seeds`; names: one each.
        what: what was subtracted from what; runs: the runs behind it.
        sign: as in `judge`.
        overall: the interval of their mean, which is judged beside them, or None.
    """
    tested, names = effects, list(names)
    if overall and len(effects) > 1:
        tested, names = pd.concat([effects, pd.DataFrame([overall])], ignore_index=True), [*names, "on average"]
    clear = sides(simultaneous(tested), sign=sign)
    lists = {"holds": [name for name, side in zip(names, clear, strict=True) if side > 0]}
    lists["fails"] = [name for name, side in zip(names, clear, strict=True) if side < 0]
    regime = ". ".join(f"{word}: {'; '.join(cells)}" for word, cells in lists.items() if cells)
    return Finding(judge(tested, sign=sign), f"{what}: {_number(effects, overall)}", regime, tuple(runs))


def _number(effects: Table, overall: Any) -> str:
    """Return the one effect, or the mean of several, how many are clear of 0, and the smallest and the largest."""
    smallest, largest = effects.loc[effects["mean"].idxmin()], effects.loc[effects["mean"].idxmax()]
    if len(effects) == 1:
        return _effect(smallest)
    mean = _effect(overall) if overall else f"{effects['mean'].mean():+.3f}"
    clear = sides(simultaneous(effects))
    counts = f"{(clear > 0).sum()} above 0 and {(clear < 0).sum()} below by simultaneous intervals"
    return f"{mean} on average over {len(effects)} cells, {counts}; from {_effect(smallest)} to {_effect(largest)}"


def _effect(row: Row) -> str:
    return f"{row['mean']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}] ({int(row['seeds'])} seeds)"
