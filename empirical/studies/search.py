"""The search for a learning rate (or for epochs), on a training seed and on images that the study does not report.

`Search` says what is tried. The runs that try it are a table, a row a trial. The rest are functions of that table: the
curve of ToW by value, its best value, whether that stands on an edge, and which values come next.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property, lru_cache
from statistics import fmean
from typing import Any, NamedTuple

from empirical.settings.run_config import FLOOR, SEARCH, RunConfig, altered
from empirical.studies.finished import Finished
from repro.base.settings import build, check, choose, reject, setting
from repro.records.record import Record

METRICS = ("accuracy", "tow")
INTERIOR, EDGE, NOTHING = "interior", "edge", "no better than doing nothing"
Value = int | float
DEFAULTS: dict[str, Any] = {one.name: one.default for one in fields(RunConfig)}
MEASURING = {one.name: one.default for one in fields(RunConfig) if not one.metadata.get("identifies", True)}
# A second retrained model does not depend on these: runs that differ in nothing else share their noise floor.
UNLEARNING = (
    "method_options", "alpha", "epochs", "lr", "batch_size", "forget_batch_size", "optimizer", "schedule",
    "warmup_epochs", "mask_fraction",
)  # fmt: skip


class Trial(NamedTuple):
    """A row of a search's table: a run that tries a value, or a second retrained model for the noise floor.

    Attributes:
        kind: `SEARCH` or `FLOOR`; config: of the run.
        value: the value that it tries; None for the noise floor.
        record: of the finished run; None while it is missing.
    """

    kind: str
    config: RunConfig
    value: Value | None
    record: Record | None


Table = Sequence[Trial]
Curve = Mapping[Value, float | None]


@dataclass(frozen=True)
class SearchResult:
    """The state of the search for one setting: a method, rule, forget set and pretraining rule.

    Attributes:
        setting: the run that all trials are, the value searched for at its default.
        table: the runs that it needs: the trials of every value, then those of the noise floor.
        place: `interior`; `edge`, if the grid may not grow any further; or `no better than doing nothing`, if the
            lowest value is best and leaves the original model as it was, within the floor. Empty while it goes on.
    """

    setting: RunConfig
    table: tuple[Trial, ...]
    place: str = ""

    @property
    def title(self) -> str:
        """The setting in a few words."""
        one = self.setting
        return f"{one.method} {one.rule} on {one.difficulty} after {one.pretrain}"

    @property
    def needs(self) -> list[tuple[str, RunConfig]]:
        """Every run of the table, each with its kind."""
        return [(one.kind, one.config) for one in self.table]

    @property
    def missing(self) -> list[tuple[str, RunConfig]]:
        """The runs of the table that are not finished, each with its kind."""
        return [(one.kind, one.config) for one in self.table if one.record is None]

    @property
    def runs(self) -> list[str]:
        """The ids of the finished runs, in order."""
        return sorted(one.record.run_id for one in self.table if one.record)

    @property
    def value(self) -> Value | None:
        """The best value so far; None before any is known."""
        curve = curve_of(self.table)
        return argmax(curve) if curve else None


@dataclass(frozen=True)
class Search:
    """The learning-rate search of a study: the value with the highest ToW, on other seeds and half of the images.

    ToW needs the retrained model, which real unlearning does not have, so the search shows each method at its best.
    Every method, rule, forget set and pretraining rule has its own search, because a rate that forgets a hard set
    destroys what the model knows of an easy one. Of two equal values the smaller one is taken.

    - A best value at an end of the grid may not be the maximum. The grid grows there until another value is best, the
      best one equals the original model within the noise floor (its ToW, and no loss of retain or test accuracy), or
      `furthest` values were added.
    - If the best value is worse than the original model by more than the floor, smaller values are tried.

    Along a sweep only the swept setting should change: `at` holds the settings that its search uses instead, such as
    `at = { alpha = 0.9 }`, so that all points of the sweep take one value.
    """

    name: str = setting("lr", "the setting that is searched for", choices=("lr", "epochs"))
    values: tuple[int | float, ...] = setting((0.003, 0.01, 0.03, 0.1), "the values tried first", low=0, open_low=True)
    seed: int = setting(9, "training seed of the trials, not one of the study's", low=0)
    more_seeds: tuple[int, ...] = setting((), "further ones: a value counts by its mean ToW over all", low=0)
    factor: float = setting(0.0, "ratio of neighbouring values past an end; 0: ratio of the last two there", low=0)
    furthest: int = setting(4, "values that may be added past each end", low=0, high=1000)
    finer: bool = setting(False, "also try the values halfway between the winner and its neighbours")
    at: Mapping[str, Any] = field(
        default_factory=dict, metadata={"help": "settings that the trials take instead of the run's"}
    )

    def __post_init__(self) -> None:
        check(self)
        at = build(RunConfig, self.at, where="search.at")
        for name in self.at:
            choose("search.at", name, [one for one in (*UNLEARNING, "forget_seed") if one != self.name])
        object.__setattr__(self, "at", {name: getattr(at, name) for name in self.at})
        if not self.values:
            raise reject("values", [], "a list of at least one")
        if 0 < self.factor <= 1:
            raise reject("factor", self.factor, "0 or > 1")
        if len(set(self.seeds)) < len(self.seeds):
            raise reject("more_seeds", list(self.more_seeds), f"seeds that differ from each other and from {self.seed}")
        try:
            _ = self.grid
        except OverflowError:
            remedy = "or make factor, or the ratio of the values at an end, smaller"
            raise reject("furthest", self.furthest, "such that all values of the grid are finite", remedy) from None

    @cached_property
    def seeds(self) -> tuple[int, ...]:
        """Every training seed of the trials."""
        return (self.seed, *self.more_seeds)

    def setting_of(self, config: RunConfig) -> RunConfig:
        """Return the setting for which a value is searched: the run with the settings of `at`.

        Seeds and metrics are those of a trial.

        Raises:
            ConfigError: when a seed is one of the study's own, or there is no retrained model to compute ToW with.
        """
        if config.retrain == "none":
            raise reject("retrain", "none", "a rule of retraining", "[search] goes by ToW against a retrained model")
        if config.seed in self.seeds:
            raise reject(
                "search.seed",
                config.seed,
                "a seed outside the study",
                "the study must not report on the seed of its search",
            )
        seeds = {"seed": self.seed, "unlearn_seed": 0, self.name: DEFAULTS[self.name]}
        seen = {"metrics": METRICS, "rows_measured": "validation"}
        return altered(config, **{**MEASURING, **self.at, **seeds, **seen})

    def trial(self, run: RunConfig, value: Value) -> RunConfig:
        """Return a run with the value that is searched for in place.

        Raises:
            ConfigError: when the setting cannot have that value.
        """
        return altered(run, **{self.name: _checked(self.name, value)})

    def trials(self, setting: RunConfig, value: Value) -> list[RunConfig]:
        """Return the runs that try a value, one a seed."""
        return [self.trial(altered(setting, seed=seed), value) for seed in self.seeds]

    def retrained(self, setting: RunConfig) -> RunConfig:
        """Return the run of a second retrained model, whose `1 - ToW` is the noise floor of a setting."""
        rest = {name: DEFAULTS[name] for name in UNLEARNING}
        return altered(setting, **rest, method="retrain", rule=setting.retrain_rule, unlearn_seed=setting.seed + 1)

    @cached_property
    def grid(self) -> list[Value]:
        """Every value that may be tried, ascending: the first ones and `furthest` past each end, none halfway."""
        first = sorted(set(self.values))
        steps = range(1, self.furthest + 1)
        low, high = (self.factor or (side[1] / side[0] if len(side) > 1 else 2.0) for side in (first[:2], first[-2:]))
        beyond = [first[0] / low**k for k in steps] + [first[-1] * high**k for k in steps]
        return sorted({*first, *(value for one in beyond if (value := self.rounded(one)))})

    def rounded(self, value: float) -> Value:
        """Return a value with three digits, so that it reads well; a whole number of epochs."""
        return round(value) if self.name == "epochs" else float(f"{value:.3g}")


@lru_cache(typed=True)
def _checked(name: str, value: Value) -> Any:
    """Return a value of a setting in the setting's own type."""
    stated: dict[str, Any] = {name: value}
    return getattr(RunConfig(**stated), name)


def follow(search: Search, setting: RunConfig, finished: Finished) -> SearchResult:
    """Return the state of a setting's search by the finished runs, and which runs it needs next."""

    def row(kind: str, run: RunConfig, value: Value | None = None) -> Trial:
        return Trial(kind, run, value, finished.find(kind, run))

    floors = [row(FLOOR, search.retrained(altered(setting, seed=seed))) for seed in search.seeds]
    trials: list[Trial] = []
    while True:
        found = SearchResult(setting, (*trials, *floors))
        known = curve_of(found.table), original_tow(found.table), floor_of(found.table), lost_by(found.table)
        wanted = next_values(search, *known)
        if not wanted or (trials and found.missing):
            return found if found.missing else replace(found, place=place_of(search, *known))
        trials += [row(SEARCH, run, value) for value in wanted for run in search.trials(setting, value)]


def curve_of(table: Table) -> dict[Value, float | None]:
    """Return ToW by value, the mean over seeds, of the values that all seeds have tried; None where a run diverged."""
    by_value: dict[Value, list[Record | None]] = defaultdict(list)
    for one in table:
        if one.value is not None:
            by_value[one.value].append(one.record)
    return {value: _mean(records) for value, records in by_value.items() if None not in records}


def original_tow(table: Table) -> float | None:
    """Return ToW of the original model, the mean over seeds; None while unknown."""
    curve = curve_of(table)
    known = ((one.config.seed, one.record.result.get("original_tow")) for one in table
             if one.record and one.value in curve)  # fmt: skip
    by_seed = {seed: tow for seed, tow in known if tow is not None}
    return fmean(by_seed.values()) if by_seed else None


def floor_of(table: Table) -> float | None:
    """Return `1 - ToW` of a second retrained model, the mean over seeds; None while unknown."""
    tow = _mean([one.record for one in table if one.kind == FLOOR])
    return None if tow is None else 1 - tow


def lost_by(table: Table) -> dict[Value, float]:
    """Return by value how much accuracy the original model lost on the retain or the test set, whichever is more.

    The loss is a mean over seeds; values where it is unknown or a run diverged are left out.
    """
    found: dict[Value, float] = {}
    for value in curve_of(table):
        records = [one.record for one in table if one.value == value]
        losses = [
            before - after
            for part in ("retain_accuracy", "test_accuracy")
            if (before := _mean(records, f"original_{part}")) is not None
            and (after := _mean(records, part)) is not None
        ]
        if losses:
            found[value] = max(losses)
    return found


def _mean(records: Sequence[Record | None], name: str = "tow") -> float | None:
    """Return the mean of a number; None if one of the records is missing or does not have it."""
    numbers = [record.result.get(name) if record else None for record in records]
    known = [one for one in numbers if one is not None]
    return fmean(known) if known and len(known) == len(numbers) else None


def argmax(curve: Curve) -> Value:
    """Return the value with the highest ToW, the least of equal ones; a run that diverged loses to any other."""
    scores = {value: -math.inf if tow is None else tow for value, tow in curve.items()}
    return max(sorted(scores), key=scores.__getitem__)


class Best(NamedTuple):
    """The best value of a grid and how it stands.

    Attributes:
        value: the best of the grid's values that were tried.
        lowest, highest: whether it is the lowest or the highest of them.
        idle: whether it leaves the original model as it was: an equal ToW within the noise floor, and no loss of
            retain or test accuracy beyond it. A rate that destroys as much as it forgets has the original's ToW too.
        harmful: whether its ToW is worse than the original model's by more than the noise floor.
    """

    value: Value
    lowest: bool
    highest: bool
    idle: bool
    harmful: bool


def best_of(
    search: Search, curve: Curve, original: float | None, floor: float | None, lost: Mapping[Value, float]
) -> Best:
    """Return the best value of the grid; values halfway between two of them stand aside."""
    tried = [value for value in search.grid if value in curve]
    value = argmax({one: curve[one] for one in tried})
    tow, ends = curve[value], (value == tried[0], value == tried[-1])
    if tow is None or original is None or floor is None:
        return Best(value, *ends, idle=False, harmful=False)
    idle = abs(tow - original) <= floor and lost.get(value, 0.0) <= floor
    return Best(value, *ends, idle=idle, harmful=tow < original - floor)


def next_values(
    search: Search, curve: Curve, original: float | None, floor: float | None, lost: Mapping[Value, float]
) -> list[Value]:
    """Return the values to try next: the first ones, values past an end of the grid, or finer ones.

    Args:
        search: the grid.
        curve: ToW by value; None where the run diverged.
        original: ToW of the original model; floor: how far ToW of two retrained models differs; None while unknown.
        lost: what each value cost in retain or test accuracy (`lost_by`).
    """
    if not set(search.values) <= curve.keys():
        return sorted(set(search.values))
    best = best_of(search, curve, original, floor, lost)
    more = past_ends(search, curve, best) or (halfway(search, best) if search.finer else [])
    return [value for value in more if value not in curve]


def past_ends(search: Search, curve: Curve, best: Best) -> list[Value]:
    """Return the values past the ends of what was tried that the best value asks for, at most one at each end."""
    place, bottom = search.grid.index(best.value), min(map(search.grid.index, set(search.grid) & curve.keys()))
    lower = search.grid[:bottom][-1:] if best.harmful or (best.lowest and not best.idle) else []
    return lower + (search.grid[place + 1 : place + 2] if best.highest else [])


def halfway(search: Search, best: Best) -> list[Value]:
    """Return the geometric means of the best value and its neighbours, where a value lies between."""
    place = search.grid.index(best.value)
    sides = [search.grid[place + side] for side, end in ((-1, best.lowest), (1, best.highest)) if not end]
    means = [(search.rounded(math.sqrt(best.value * side)), side) for side in sides]
    return [mean for mean, side in means if min(best.value, side) < mean < max(best.value, side)]


def place_of(
    search: Search, curve: Curve, original: float | None, floor: float | None, lost: Mapping[Value, float]
) -> str:
    """Return where the best value stands once its search has ended: inside, on an edge, or no better than nothing."""
    best = best_of(search, curve, original, floor, lost)
    if not best.harmful and not ((best.lowest or best.highest) and argmax(curve) == best.value):
        return INTERIOR
    return NOTHING if best.lowest and best.idle else EDGE


def search_facts(search: Search, found: SearchResult) -> dict[str, Any]:
    """Return the facts of a search for the record of a run."""
    curve = curve_of(found.table)
    seeds: dict[str, Any] = {"seed": search.seed, "floor_seed": search.seed + 1}
    seeds |= {"more_seeds": list(search.more_seeds)} if search.more_seeds else {}
    numbers = {"original_tow": original_tow(found.table), "floor": floor_of(found.table)}
    numbers |= {"curve": [[value, curve[value]] for value in sorted(curve)], **seeds}
    best = {"name": search.name, "value": found.value, "tow": curve.get(found.value or 0)}
    return {"choice": found.place, "choice_details": best | numbers}


def edges(results: Iterable[SearchResult]) -> list[str]:
    """Return the settings whose best value is at an end of its grid; a study with one is not finished."""
    return list(dict.fromkeys(f"{one.title}: {one.value}" for one in results if one.place == EDGE))
