"""The one rule of judging: from differences between rules to a verdict, a number with its interval, and where."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from figures.tables.intervals import Row, Table, effect_text, simultaneous
from figures.tables.pairs import by_cell, over_cells
from figures.tables.records import Records
from repro.records.record import Record

HOLDS, REGIME, CONTRADICTED, UNDECIDED = "holds", "holds in a regime", "contradicted", "undecided"
REPORTED, NOT_RUN = "reported", "not run"


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


Assess = Callable[[Records], Finding]


@dataclass(frozen=True)
class Item:
    """One item of the paper.

    Attributes:
        section: theory, finding, figure, table or ask.
        title: its name.
        statement: what it says, or what it shows.
        command: what makes its record and drawing.
        assess: from records to a finding.
    """

    section: str
    title: str
    statement: str
    command: str
    assess: Assess


def judge(effects: Table, *, sign: int = 1, overall: Any = None) -> str:
    """Return a verdict from intervals of effects that the claim says all have one sign.

    Args:
        effects: rows with `mean`, `low`, `high` (95 %), `seeds`.
        sign: +1 when the claim says greater, -1 when it says smaller.
        overall: the 95 % interval of their mean, or None.

    Every interval on the claimed side: holds. Some, even when all cells' are widened to hold together, or that of the
    mean: holds in a regime. None, and at least one wholly on the other side: contradicted. Otherwise the records decide
    nothing.
    """
    known = effects.dropna(subset=["low", "high"])
    if known.empty:
        return NOT_RUN if effects.empty else UNDECIDED
    if (sides(known, sign=sign) > 0).all():
        return HOLDS
    clear = clear_sides(known, sign=sign, overall=overall)
    return REGIME if 1 in clear else CONTRADICTED if -1 in clear else UNDECIDED


def sides(effects: Table, *, sign: int = 1) -> Table:
    """Return for each effect +1 where its interval lies on the claimed side, -1 on the other, 0 where it holds 0."""
    return sign * ((effects["low"] > 0).astype(int) - (effects["high"] < 0).astype(int))


def clear_sides(effects: Table, *, sign: int = 1, overall: Any = None) -> list[int]:
    """Return the sides of the cells by simultaneous intervals, then that of their mean by its own, if it is given."""
    found = list(sides(simultaneous(effects), sign=sign))
    return found + list(sides(pd.DataFrame([overall]), sign=sign)) if overall else found


def from_differences(
    differences: Table, keys: Sequence[str], name: Callable[[Any], str], *, what: str, runs: Sequence[Record],
    sign: int = 1,
) -> Finding:  # fmt: skip
    """Return the finding of a claim that paired differences all have one sign.

    Args:
        differences: rows of `figures.tables.pairs`, one a cell and training seed.
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
    overall = overall if len(effects) > 1 else None
    named = list(zip([*names, "on average"], clear_sides(effects, sign=sign, overall=overall), strict=False))
    lists = {word: [name for name, side in named if side == place] for word, place in (("holds", 1), ("fails", -1))}
    regime = ". ".join(f"{word}: {'; '.join(cells)}" for word, cells in lists.items() if cells)
    verdict = judge(effects, sign=sign, overall=overall)
    return Finding(verdict, f"{what}: {_number(effects, overall)}", regime, tuple(runs))


def _number(effects: Table, overall: Any) -> str:
    """Return the one effect, or the mean of several, how many are clear of 0, and the smallest and the largest."""
    smallest, largest = effects.loc[effects["mean"].idxmin()], effects.loc[effects["mean"].idxmax()]
    if len(effects) == 1:
        return with_seeds(smallest)
    mean = with_seeds(overall) if overall else f"{effects['mean'].mean():+.3f}"
    clear = clear_sides(effects)
    counts = f"{clear.count(1)} above 0 and {clear.count(-1)} below by simultaneous intervals"
    ends = f"from {with_seeds(smallest)} to {with_seeds(largest)}"
    return f"{mean} on average over {len(effects)} cells, {counts}; {ends}"


def with_seeds(row: Row) -> str:
    """Return an effect with its 95 % interval and number of seeds."""
    return f"{effect_text(row)} ({int(row['seeds'])} seeds)"
