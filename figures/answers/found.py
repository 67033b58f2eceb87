"""What was found on a claim: one of five answers, sentences built from numbers, the effects behind them."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from figures.tables.records import Studies
from repro.statistics.answers import (
    MARGIN,
    MOST,
    NO_DIFFERENCE,
    ONLY_WHERE,
    OPEN,
    OPPOSITE,
    YES,
    Answer,
    Missing,
    bracket,
)
from repro.statistics.effects import Pooled, Table, forest

NOT_RUN = "not run"
SETS = {"high": "the hardest images", "mid": "the middle images", "low": "the easiest images",
        "random": "random images"}  # fmt: skip
BRIEF = {"high": "hardest", "mid": "middle", "low": "easiest", "random": "random"}
SILENT = pd.Index(["setting", "no_vote", "value"])
MODERATE = 3  # settings: fewer do not tell how far settings differ


@dataclass(frozen=True)
class Effect:
    """One effect, a row of a strip: the effect on one forget set or by one measure.

    Attributes:
        part: the forget set or measure; word: the answer that this effect gives.
        value, low, high: the effect and its 95 % interval; above 0 is on the claim's side.
        settings: how many settings were pooled; seeds: the fewest training seeds of any of them.
        floor: the noise floor; NaN where there is none.
    """

    part: str
    word: str
    value: float
    low: float
    high: float
    settings: int
    seeds: int
    floor: float = math.nan


@dataclass(frozen=True)
class Found:
    """What the records say on one claim.

    Attributes:
        word: one of `repro.statistics.answers.ANSWERS`, or "not run".
        short: the answer in a few words and numbers.
        sentences: what was found; beyond: sentences on what has no vote.
        sure: how sure that is.
        effects: the effects that decide the answer, in `unit`; forest: every setting of every part, for a forest plot.
        margin: the largest difference that counts as no difference; None where the claim has no margin.
        runs: ids of the records behind it.
        alike: whether all effects measure one quantity and share an axis.
    """

    word: str = NOT_RUN
    short: str = NOT_RUN
    sentences: tuple[str, ...] = ()
    sure: str = "no records"
    beyond: tuple[str, ...] = ()
    effects: tuple[Effect, ...] = ()
    forest: Table = field(default_factory=pd.DataFrame)
    unit: str = ""
    margin: float | None = None
    runs: tuple[str, ...] = ()
    alike: bool = False


@dataclass(frozen=True)
class Claim:
    """One claim of the paper.

    Attributes:
        key: the name by which figures refer to it; name: its short name, on its page; title: its subject.
        paper: what the paper says; source: where we know that from; reading: how we interpret what it leaves open.
        studies: the studies that judge it.
        judge: the function that takes the studies and returns what was found.
    """

    key: str
    name: str
    title: str
    paper: str
    source: str
    reading: str
    studies: tuple[str, ...]
    judge: Callable[[Studies], Found]


@dataclass(frozen=True)
class Template:
    """The sentence for a claim's effects; `{part}` and `{size}` are filled in.

    Attributes:
        gain, loss: the words for an effect on the claimed side, and for one on the other side.
        unit: the unit of the effect.
        names: what each part is called; brief: its name in a word or two.
        margin: as in `repro.statistics.answers.judge`; sign: +1 where a greater value is claimed.
    """

    gain: str
    loss: str
    unit: str
    names: Mapping[str, str] = field(default_factory=lambda: SETS)
    brief: Mapping[str, str] = field(default_factory=lambda: BRIEF)
    margin: float | None = MARGIN
    sign: int = 1
    place: str = "For {part}"

    def name(self, part: str) -> str:
        """Return what a part is called."""
        return self.names.get(part, part)


def found(
    answer: Answer, effects: Table, say: Template, *, floors: Mapping[str, float] | None = None,
    beyond: Sequence[str] = (), runs: Sequence[str] = (), word: str = "",
) -> Found:  # fmt: skip
    """Return what an answer says, in sentences.

    Args:
        answer: the answer of the rows that have a vote; effects: all rows, including those without a vote.
        say: the template; floors: the noise floor of each part; beyond, runs: as in `Found`.
        word: replaces the word of `answer` unless it is empty.
    """
    if not answer.parts:
        return Found()
    word, floors = word or answer.word, floors or {}
    said = [_effect(part, pooled, answer.words[part], floors.get(part, math.nan), say)
            for part, pooled in answer.parts.items()]  # fmt: skip
    if answer.average is not None and word not in answer.words.values():  # each is open, and all together decide
        said = [_effect("all of them together", answer.average, word, math.nan, say)]
    return Found(
        word,
        _short(said, say),
        tuple(_sentences(said, say)),
        how_sure(said if word != OPEN else (), answer.missing, say),
        (*_against(answer, say), *beyond),
        tuple(replace(one, part=say.name(one.part).removeprefix("the ")) for one in said),
        _forest(answer, effects, say),
        say.unit,
        say.margin,
        tuple(runs),
        say.names is SETS,
    )


def _effect(part: str, pooled: Pooled, word: str, floor: float, say: Template) -> Effect:
    low, high = sorted(say.sign * end for end in bracket(pooled, margin=say.margin, sign=say.sign))
    count, seeds = len(pooled.settings.names), int(pooled.settings.seeds.min())
    return Effect(part, word, say.sign * pooled.value, low, high, count, seeds, floor)


def _sentences(said: Sequence[Effect], say: Template) -> list[str]:
    lines = [_decided(one, say) for one in said if one.word in (YES, OPPOSITE)]
    if {one.word for one in said} == {OPEN} and len(said) > 1:
        return ["It is open everywhere."]
    for word, text in (
        (NO_DIFFERENCE, f"the difference is below {MARGIN:g} {say.unit} (90 % interval)"),
        (OPEN, "it is open"),
    ):
        if names := [say.name(one.part) for one in said if one.word == word]:
            lines.append(f"{say.place.format(part=listed(names))} {text}.")
    return lines


def _decided(one: Effect, say: Template) -> str:
    """Return the sentence for a decided effect: its size and its interval, both in the direction that it states."""
    size, near, far = (signed(abs(value))[1:] for value in (one.value, *sorted((one.low, one.high), key=abs)))
    text = (say.gain if one.word == YES else say.loss).format(part=say.name(one.part), size=size)
    return f"{text[:1].upper()}{text[1:]} [{near}, {far}]."


def _short(said: Sequence[Effect], say: Template) -> str:
    numbers = [
        f"{say.brief.get(one.part, one.part)} {signed(one.value)}" for one in said if one.word in (YES, OPPOSITE)
    ]
    rest = {word: [say.brief.get(one.part, one.part) for one in said if one.word == word]
            for word in (NO_DIFFERENCE, OPEN)}  # fmt: skip
    whole = (*numbers, *rest[NO_DIFFERENCE])
    told = {word: "the rest" if word == OPEN and len(names) > 1 and whole else listed(names)
            for word, names in rest.items() if names}  # fmt: skip
    parts = [*numbers, *(f"{names} {word}" for word, names in told.items())]
    return "; ".join(parts) if len({one.word for one in said}) > 1 or numbers else "everywhere"


def how_sure(said: Sequence[Effect], lacking: Mapping[str, Missing], say: Template) -> str:
    """Return a grade and how many settings and seeds decide; if nothing is decided, return what would decide it."""
    decided = [one for one in said if one.word != OPEN]
    if not decided:
        wants = [f"{say.brief.get(part, part)} needs {wanted(one)}" for part, one in lacking.items()]
        return f"not known, {wants[0] if wants else 'too few seeds'}"
    settings = sorted({one.settings for one in decided})
    grade = "moderate" if settings[0] >= MODERATE else "low"
    told = f"{settings[0]} to " if len(settings) > 1 else ""
    seeds = min(one.seeds for one in decided)
    return f"{grade}, {told}{count(settings[-1], 'setting')} of at least {count(seeds, 'seed')}"


def wanted(missing: Missing) -> str:
    """Return what would decide an open effect, and what that costs."""
    if missing.seeds is None and missing.settings is None:
        return f"over {MOST} more seeds or settings"
    more, what = (missing.seeds, "more seed") if missing.seeds is not None else (missing.settings, "more setting")
    hours = "" if math.isnan(missing.core_hours) else f", {missing.core_hours:.2g} core-hours"
    return f"{count(more or 0, what)}{hours}"


def _against(answer: Answer, say: Template) -> list[str]:
    """Return sentences on parts that two settings decide, open ones with settings that decide alone, and what lacks."""
    lines = []
    two = [say.name(part) for part, pooled in answer.parts.items() if answer.words[part] != OPEN
           and bracket(pooled, margin=say.margin, sign=say.sign) != pooled.interval()]  # fmt: skip
    if two:
        lines.append(
            f"{say.place.format(part=listed(two))}, both settings say so by their own seeds, and the brackets span "
            "their two intervals. Two settings do not tell how far settings differ: their pooled interval does not "
            "count."
        )
    for part, pooled in answer.parts.items():
        low, high = pooled.setting_intervals()
        rows = zip(pooled.settings.names, pooled.settings.values, low * high > 0, strict=True)
        told = [f"{name} {value:+.3f}" for name, value, decided in rows if decided]
        if answer.words[part] == OPEN and told:
            lines.append(
                f"{say.place.format(part=say.name(part))} some settings decide by themselves: {listed(told[:5])}."
            )
    lines += [f"{say.place.format(part=say.name(part))} no setting has a vote." for part in answer.unjudged]
    lines += [
        f"{say.place.format(part=say.name(part))} an answer needs {wanted(lacking)}."
        for part, lacking in answer.missing.items()
    ]
    return lines


def _forest(answer: Answer, effects: Table, say: Template) -> Table:
    """Return the rows of `repro.statistics.effects.forest` of every part, and the settings without a vote."""
    parts = []
    for part, pooled in answer.parts.items():
        mine = effects[effects["forget_set"] == part] if "no_vote" in effects else pd.DataFrame(columns=SILENT)
        without: Any = mine[mine["no_vote"] != ""].groupby(["setting", "no_vote"])["value"]
        rows = [{"setting": name, "no_vote": why, "value": values.mean(), "seeds": len(values), "pooled": False}
                for (name, why), values in without]  # fmt: skip
        table = pd.concat([pd.DataFrame(rows), forest(pooled)] if rows else [forest(pooled)], ignore_index=True)
        word = np.where(table["pooled"].astype(bool), answer.words[part], "")
        parts.append(table.assign(forget_set=say.name(part), answer=word))
    found = pd.concat(parts, ignore_index=True)
    return found.assign(no_vote=found["no_vote"].fillna("")) if "no_vote" in found else found


def signed(value: float) -> str:
    """Return a number with its sign: three decimals if it is below 1, otherwise three digits."""
    return f"{value:+z.3f}" if abs(value) < 1 else f"{value:+.3g}"


def by_seed(values: Any, unit: str = "", *, by: str = "seed") -> str:
    """Return a mean over seeds with its lowest and highest seed, as text; `values` is a column, one value a seed."""
    return f"{signed(values.mean())}{unit} [{signed(values.min())} to {signed(values.max())} by {by}]"


def listed(names: Sequence[str]) -> str:
    """Return names as running text: "a, b and c"."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else list(names))


def count(number: int, what: str) -> str:
    """Return "1 seed" or "3 seeds"."""
    return f"{number} {what}{'' if number == 1 else 's'}"


ORDER = (YES, ONLY_WHERE, NO_DIFFERENCE, OPPOSITE, OPEN, NOT_RUN)
