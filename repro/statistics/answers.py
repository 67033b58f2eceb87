"""Five answers to a claim, each from intervals; what is open says what would decide it, at what cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from repro.statistics.effects import Pooled, Table, combine_seeds, pool, satterthwaite

YES, ONLY_WHERE, NO_DIFFERENCE, OPPOSITE, OPEN = "yes", "only where", "no difference", "the opposite", "open"
ANSWERS = (YES, ONLY_WHERE, NO_DIFFERENCE, OPPOSITE, OPEN)
BY_SIDE = {1: YES, -1: OPPOSITE, 0: OPEN}  # of an interval: on the claimed side, on the other, on both
MARGIN = 0.01  # ToW: fixed before any interval was seen, whatever the number of seeds
MOST = 100  # further seeds, or settings: more than anybody will run


def judge(effect: Pooled, *, margin: float | None = MARGIN, sign: int = 1) -> str:
    """Return what one effect says about a claim.

    - no difference: the 90 % interval lies within (-margin, margin), which is two one-sided tests at 5 %;
    - yes: else, where the 95 % interval lies on the claimed side of 0;
    - the opposite: else, where it lies on the other side;
    - open: else.

    Two settings do not tell how far settings differ. Where each of them says the same by its own seeds, that is the
    answer of these two; otherwise the pooled interval decides.

    Args:
        effect: an effect with its interval; without degrees of freedom it is open.
        margin: the largest difference that counts as none, in units of the effect; None where nobody fixed one.
        sign: +1 where the claim says greater, -1 where it says smaller.
    """
    return _agreed(effect, margin, sign) or _word(effect.interval(0.95), effect.interval(0.9), margin, sign)


def bracket(effect: Pooled, *, margin: float | None = MARGIN, sign: int = 1) -> tuple[float, float]:
    """Return the 95 % interval behind `judge`: where two settings decide by themselves, what their intervals span."""
    if _agreed(effect, margin, sign):
        return float(effect.setting_intervals().min()), float(effect.setting_intervals().max())
    return effect.interval()


def _agreed(effect: Pooled, margin: float | None, sign: int) -> str:
    """Return what two settings both say by their own seeds; empty where they do not, or are not two."""
    ends = zip(effect.setting_intervals(0.95).T, effect.setting_intervals(0.9).T, strict=True)
    words = {_word(*pair, margin, sign) for pair in ends} if len(effect.settings.names) == 2 else set()
    return words.pop() if len(words) == 1 and words != {OPEN} else ""


def _word(outer: Sequence[float], inner: Sequence[float], margin: float | None, sign: int) -> str:
    (low, high), (inner_low, inner_high) = outer, inner
    if margin is not None and -margin < inner_low and inner_high < margin:
        return NO_DIFFERENCE
    return BY_SIDE[(int(low > 0) - int(high < 0)) * sign]


class Missing(NamedTuple):
    """What would decide an open answer, if value and variances stay as they are estimated today.

    Attributes:
        seeds: further training seeds of every setting; None where `MOST` are not enough.
        settings: else, further settings of as many seeds; None where `MOST` are not enough either.
        core_hours: what these seeds or settings cost; NaN where the runs have no seconds, or where nothing is enough.
    """

    seeds: int | None
    settings: int | None
    core_hours: float


def missing(effect: Pooled, *, margin: float | None = MARGIN, sign: int = 1) -> Missing:
    """Return how many more seeds, or else settings, decide an open effect.

    Errors over seeds shrink as 1 / n. No number of seeds brings down what differs between settings: `tau^2` stays, and
    only more settings reduce its part, as 1 / K.
    """

    def decided(later: Pooled) -> bool:  # what two settings say by themselves is known already: it is open
        return _word(later.interval(0.95), later.interval(0.9), margin, sign) != OPEN

    now = effect.settings
    for extra in range(1, MOST + 1):
        if decided(_with_seeds(effect, extra)):
            return Missing(extra, None, float(extra * now.seconds.sum() / 3600))
    for extra in range(1, MOST + 1) if len(now.names) > 1 else ():
        if decided(_with_settings(effect, extra)):
            return Missing(None, extra, float(extra * (now.seeds * now.seconds).mean() / 3600))
    return Missing(None, None, float("nan"))


def _with_seeds(effect: Pooled, extra: int) -> Pooled:
    """Return the effect as it is expected with `extra` more seeds of every setting."""
    now, count = effect.settings, len(effect.settings.names)
    left = now.seeds / (now.seeds + extra)
    freedom = float((now.freedom + extra).mean())
    if count == 1:
        return replace(effect, common=effect.common * float(left[0]), freedom=freedom)
    between = (effect.tau2 + effect.within * float(left.mean())) / count
    common = effect.common * float(left.mean())
    return replace(effect, between=between, common=common, freedom=satterthwaite(between, count - 1, common, freedom))


def _with_settings(effect: Pooled, extra: int) -> Pooled:
    """Return the effect as it is expected with `extra` more settings that differ as these do."""
    now, count = effect.settings, len(effect.settings.names)
    between = effect.between * count / (count + extra)
    freedom = satterthwaite(between, count + extra - 1, effect.common, float(now.freedom.mean()))
    return replace(effect, between=between, freedom=freedom)


@dataclass(frozen=True)
class Answer:
    """What the records answer to one claim.

    Attributes:
        word: one of `ANSWERS`.
        parts: the pooled effect of each forget set that has one.
        words: what each of them says: yes, no difference, the opposite or open.
        missing: what would decide each forget set that is open.
        average: the effect averaged over forget sets, where they agree; else None.
        unjudged: forget sets without a setting that has a vote and `FEWEST` seeds.
    """

    word: str
    parts: dict[str, Pooled]
    words: dict[str, str]
    missing: dict[str, Missing]
    average: Pooled | None = None
    unjudged: tuple[str, ...] = ()


def answer(
    effects: Table,
    *,
    margin: float | None = MARGIN,
    sign: int = 1,
    forget_sets: Sequence[str] | None = None,
    alike: bool = True,
) -> Answer:
    """Return the answer to a claim that an effect has one sign.

    Each forget set is judged by itself. Sets agree where they say the same word and their values lean the same way:
    then their average stands for them, and where each is open, it alone may decide.

    - yes, no difference, the opposite, open: what all forget sets say;
    - only where ...: some forget set says yes and another does not;
    - the opposite: some forget set says so and none says yes;
    - open: else.

    Args:
        effects: rows of `repro.statistics.effects.paired_effects`, those without a vote left out.
        margin, sign: as in `judge`.
        forget_sets: the claim's forget sets, in their order; None takes those of the rows.
        alike: whether forget sets may be averaged; measures in different units, given in their place, may not.
    """
    names = list(dict.fromkeys(effects["forget_set"])) if forget_sets is None else list(forget_sets)
    settings = {name: combine_seeds(effects[effects["forget_set"] == name]) for name in names}
    parts = {name: pool(found) for name, found in settings.items() if found.names}
    unjudged = tuple(name for name in names if name not in parts)
    found = replace(answer_of(parts, margin=margin, sign=sign), unjudged=unjudged)
    average = _average(effects, parts, found.words, margin) if alike else None
    if average is None or found.word != OPEN:
        return replace(found, average=average)
    return replace(found, average=average, word=judge(average, margin=margin, sign=sign))


def answer_of(parts: Mapping[str, Pooled], *, margin: float | None = MARGIN, sign: int = 1) -> Answer:
    """Return the answer of effects that are pooled already, each by itself; arguments as in `answer`."""
    words = {name: judge(part, margin=margin, sign=sign) for name, part in parts.items()}
    lacking = {name: missing(parts[name], margin=margin, sign=sign) for name in parts if words[name] == OPEN}
    return Answer(common_word([*words.values()]), dict(parts), words, missing=lacking)


def common_word(words: Sequence[str]) -> str:
    """Return what several answers say together, as `answer` does for its forget sets."""
    if len({*words}) == 1:
        return words[0]
    if YES in words:
        return ONLY_WHERE
    return OPPOSITE if OPPOSITE in words else OPEN


def _average(effects: Table, parts: dict[str, Pooled], words: dict[str, str], margin: float | None) -> Pooled | None:
    """Return the effect averaged over forget sets, of the settings that have all; None where the sets do not agree."""
    leanings = {0 if abs(part.value) < (margin or 0.0) else int(np.sign(part.value)) for part in parts.values()}
    if len(parts) < 2 or len({*words.values()}) > 1 or len(leanings) > 1:
        return None
    settings = combine_seeds(effects[effects["forget_set"].isin(list(parts))])
    return pool(settings) if settings.names else None
