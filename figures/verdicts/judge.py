"""The one rule of judging: from the sides on which intervals lie to a verdict, a number with its interval, and where.

The word itself is that of `repro.base.verdict`, for theory and networks alike: it sees sides only, +1 where an
interval lies wholly where the claim says and -1 where it lies wholly elsewhere.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from figures.tables.intervals import FEWEST, Row, Table, effect_text, pooled_deviation, simultaneous
from figures.tables.pairs import by_cell, over_cells
from figures.tables.records import Mixed, Records, Studies
from repro.base.verdict import CONTRADICTED, HOLDS, MIXED, REGIME, UNDECIDED, regime, verdict
from repro.records.record import Record

REPORTED, NOT_RUN = "reported", "not run"


@dataclass(frozen=True)
class Finding:
    """What the records say about one item.

    Attributes:
        verdict: holds, holds in a regime, mixed, contradicted, undecided (the intervals contain zero), reported (a
            number was asked for, nothing was claimed) or not run.
        number: our number, with its interval and number of seeds, in full.
        regime: where it holds and where it fails.
        records: the runs behind it.
        effect: the central number with its interval and noise floor, in a few words; "" where `number` is as short.
        sentence: what a reader may quote; change: what would change the verdict; "" where nobody wrote it down.
    """

    verdict: str = NOT_RUN
    number: str = "—"
    regime: str = ""
    records: tuple[Record, ...] = field(default=(), repr=False)
    effect: str = ""
    sentence: str = ""
    change: str = ""


Assess = Callable[[Studies], Finding]


def judged_on(names: Sequence[str], assess: Callable[[Records], Finding]) -> Assess:
    """Return what judges the records of some studies: a finding names the studies that judge it."""

    def judge(studies: Studies) -> Finding:
        try:
            return assess(studies.of(*names))
        except Mixed as error:
            return Finding(number=str(error))

    return judge


@dataclass(frozen=True)
class Item:
    """One item of the paper.

    Attributes:
        section: theory, finding, figure, table or ask.
        title: its name.
        statement: what it says, or what it shows.
        command: what makes its record and drawing.
        assess: from the studies to a finding.
        studies: whose records it is judged from; none of an item that takes the verdicts of others.
    """

    section: str
    title: str
    statement: str
    command: str
    assess: Assess
    studies: tuple[str, ...] = ()


# On which sides an item with this verdict has parts.
SIDES = {HOLDS: [1], REGIME: [1, 0], MIXED: [1, -1], CONTRADICTED: [-1], UNDECIDED: [0]}


def common_verdict(verdicts: Sequence[str]) -> str:
    """Return the verdict of several items together, by the rule of their cells; those not run are passed over."""
    found = [side for one in verdicts for side in SIDES.get(one, [])]
    return verdict(found) if found else NOT_RUN


def sides(effects: Table, *, sign: int = 1) -> list[int]:
    """Return for each cell +1 where its simultaneous interval lies on the claimed side, -1 on the other, else 0.

    The variance is pooled over the cells that may decide (`figures.tables.intervals.simultaneous`), as if they
    scattered alike; a cell that scatters more has to exclude 0 by its own interval too. One of fewer than three seeds
    is 0.

    Args:
        effects: rows with `mean`, `low`, `high`, `seeds` and, where they are t-intervals, `sd`.
        sign: +1 when the claim says greater, -1 when it says smaller.
    """
    decides = _decides(effects)
    wider = simultaneous(effects[decides])
    found = pd.Series(0, index=effects.index)
    both = [(one["low"] > 0).astype(int) - (one["high"] < 0).astype(int) for one in (wider, effects[decides])]
    found[decides] = sign * both[0].where(both[0] == both[1], 0)
    return [int(side) for side in found]


def side(effect: Row | None, *, sign: int = 1) -> int:
    """Return +1, -1 or 0 for one effect by its own interval, 0 where it has fewer than three seeds or is None."""
    if effect is None or effect["seeds"] < FEWEST:
        return 0
    return sign * (int(effect["low"] > 0) - int(effect["high"] < 0))


def judge(effects: Table, *, sign: int = 1, overall: Any = None) -> str:
    """Return a verdict from intervals of effects that the claim says all have one sign.

    Args:
        effects: rows as `sides` takes them; none is "not run".
        sign: as in `sides`.
        overall: the 95 % interval of their mean, or None.
    """
    return verdict(sides(effects, sign=sign), mean=side(overall, sign=sign)) if len(effects) else NOT_RUN


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
        sign: as in `sides`.
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
        sign: as in `sides`.
        overall: the interval of their mean, which is judged beside them, or None.
    """
    overall = overall if len(effects) > 1 else None
    found, mean = sides(effects, sign=sign), side(overall, sign=sign)
    where = regime([*names, "on average"], [*found, mean])
    central = effects.iloc[0] if len(effects) == 1 else overall
    several = f"{effects['mean'].mean():+.3f} on average over {len(effects)} cells"
    effect = several if central is None else with_floor(central)
    return Finding(verdict(found, mean=mean), f"{what}: {numbers(effects, overall)}", where, tuple(runs), effect)


def numbers(effects: Table, overall: Any) -> str:
    """Return the one effect, or the mean of several, how many lie clear of 0, and the smallest and the largest."""
    smallest, largest = effects.loc[effects["mean"].idxmin()], effects.loc[effects["mean"].idxmax()]
    if len(effects) == 1:
        return with_seeds(smallest)
    mean = with_seeds(overall) if overall is not None else f"{effects['mean'].mean():+.3f}"
    found = sides(effects)
    counts = f"{found.count(1)} above 0 and {found.count(-1)} below by simultaneous intervals"
    if "sd" in effects:
        counts += " (pooled sd {:.3f}, {} degrees of freedom)".format(*pooled_deviation(effects[_decides(effects)]))
    few = int((~_decides(effects)).sum())
    silent = f", {few} of fewer than {FEWEST} seeds decide nothing" if few else ""
    several = "difficulty" in effects and effects["difficulty"].nunique() > 1
    once = ", each forget set counting once" if several and overall is not None else ""
    ends = f"from {with_seeds(smallest)} to {with_seeds(largest)}"
    return f"{mean} on average over {len(effects) - few or len(effects)} cells{once}, {counts}{silent}; {ends}"


def with_seeds(row: Row) -> str:
    """Return an effect with its 95 % interval, number of seeds and, where known, its size in noise floors."""
    return f"{effect_text(row)} ({int(row['seeds'])} seeds{in_floors(row, ', ')})"


def with_floor(row: Row) -> str:
    """Return an effect with its 95 % interval and, where known, in units of its noise floor."""
    floor = row.get("floor", float("nan"))
    times = f"{abs(row['mean']) / floor:.1f} x floor {floor:.3f}" if floor > 0 else f"floor {floor:.3f}"
    return effect_text(row) + (f", {times}" if floor == floor else "")


def in_floors(row: Row, before: str = "") -> str:
    """Return an effect in units of the noise floor of a difference, such as "1.5 floors"; "" where it has none."""
    floor = row.get("floor", float("nan"))
    return f"{before}{abs(row['mean']) / floor:.1f} floors" if floor > 0 else ""


def _decides(effects: Table) -> Any:
    return (effects["seeds"].astype(int) >= FEWEST) & effects["low"].notna()
