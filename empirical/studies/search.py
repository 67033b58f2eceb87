"""The search for a learning rate (or for epochs), on a training seed and on images that the study does not report."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property, lru_cache
from statistics import fmean
from typing import Any

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


@dataclass(frozen=True)
class SearchResult:
    """The state of the search for one setting: a method, rule, forget set and pretraining rule.

    Attributes:
        setting: the run that all trials are, the value searched for at its default.
        asked: the runs that it needs, each with its kind: the trials of every value, then those of the noise floor.
        missing: those of them that are not finished.
        curve: ToW by value, on the validation half; the mean over seeds; None where a run diverged.
        value: the one with the highest ToW so far; None before any is known.
        place: `interior`; `edge`, if the grid may not grow any further; or `no better than doing nothing`, if the
            lowest value is best and its ToW lies within the floor of the original model's. Empty while it goes on.
        untouched: ToW of the original model; floor: `1 - ToW` of a second retrained model; both the mean over seeds,
            None while unknown.
        runs: ids of the finished runs among `asked`.
    """

    setting: RunConfig
    asked: tuple[tuple[str, RunConfig], ...]
    missing: tuple[tuple[str, RunConfig], ...]
    curve: Mapping[Value, float | None]
    value: Value | None = None
    place: str = ""
    untouched: float | None = None
    floor: float | None = None
    runs: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """The setting in a few words."""
        one = self.setting
        return f"{one.method} {one.rule} on {one.difficulty} after {one.pretrain}"


@dataclass(frozen=True)
class Search:
    """The learning-rate search of a study: the value with the highest ToW, on other seeds and half of the images.

    ToW needs the retrained model, which real unlearning does not have, so the search shows each method at its best.
    Every method, rule, forget set and pretraining rule has its own search, because a rate that forgets a hard set
    destroys what the model knows of an easy one. Of two equal values the smaller one is taken.

    - A best value at an end of the grid may not be the maximum. The grid grows there until another value is best, the
      best one equals the original model within the noise floor, or `furthest` values were added.
    - If the best value is worse than the original model by more than the floor, smaller values are tried.

    Along a sweep only the swept setting should change: `at` holds the settings that its search uses instead, such as
    `at = { alpha = 0.9 }`, so that all points of the sweep take one value.
    """

    name: str = setting("lr", "the setting that is searched for", choices=("lr", "epochs"))
    values: tuple[int | float, ...] = setting((0.003, 0.01, 0.03, 0.1), "the values tried first", low=0, open_low=True)
    seed: int = setting(9, "training seed of the trials, not one of the study's", low=0)
    more_seeds: tuple[int, ...] = setting((), "further ones: a value counts by its mean ToW over all", low=0)
    factor: float = setting(0.0, "ratio of a value past an end to the one at it; 0: of the last two there", low=0)
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
        """Return what a value is searched for: the run with the settings of `at`, without its seeds and metrics.

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

    def look(self, setting: RunConfig, finished: Finished) -> SearchResult:
        """Return the state of a setting's search by the finished runs, and which runs it needs next."""
        second = [(FLOOR, self.retrained(altered(setting, seed=seed))) for seed in self.seeds]
        asked: list[tuple[str, RunConfig]] = []
        noise, missing = _found(second, finished)
        again = None if missing else _mean(record.result.get("tow") for record in noise)
        floor = None if again is None else 1 - again
        curve: dict[Value, float | None] = {}
        runs, originals = [record.run_id for record in noise], dict[int, float]()
        untouched: float | None = None
        wanted, place = self.next_values(curve, untouched, floor)
        while wanted:
            for value in wanted:
                tried = [(SEARCH, run) for run in self.trials(setting, value)]
                records, lacking = _found(tried, finished)
                asked += tried
                missing += lacking
                runs += [record.run_id for record in records]
                if lacking:
                    continue
                curve[value] = _mean(record.result.get("tow") for record in records)
                known = ((record.config["seed"], record.result.get("original_tow")) for record in records)
                originals |= {seed: tow for seed, tow in known if tow is not None}
                untouched = fmean(originals.values()) if originals else None
            if missing:
                break
            wanted, place = self.next_values(curve, untouched, floor)
        best = best_value(curve) if curve else None
        numbers = (untouched, floor, tuple(sorted(runs)))
        return SearchResult(setting, (*asked, *second), tuple(missing), curve, best, "" if missing else place, *numbers)

    def facts(self, found: SearchResult) -> dict[str, Any]:
        """Return the facts of a search for the record of a run."""
        curve = [[value, found.curve[value]] for value in sorted(found.curve)]
        seeds: dict[str, Any] = {"seed": self.seed, "floor_seed": self.seed + 1}
        seeds |= {"more_seeds": list(self.more_seeds)} if self.more_seeds else {}
        numbers = {"original_tow": found.untouched, "floor": found.floor, "curve": curve, **seeds}
        best = {"name": self.name, "value": found.value, "tow": dict(found.curve).get(found.value or 0)}
        return {"choice": found.place, "choice_details": best | numbers}

    def next_values(
        self, curve: Mapping[Value, float | None], untouched: float | None, floor: float | None
    ) -> tuple[list[Value], str]:
        """Return the values to try next, and, if there are none, the place of the best value in the grid.

        Args:
            curve: ToW by value; None where the run diverged.
            untouched: ToW of the original model; floor: how far ToW of two retrained models differs.
        """
        tried = [value for value in self.grid if value in curve]
        if not set(self.values) <= set(tried):
            return sorted(set(self.values)), ""
        best = best_value({value: curve[value] for value in tried})
        place, bottom = self.grid.index(best), self.grid.index(tried[0])
        idle, harmful = within(curve[best], untouched, floor), below(curve[best], untouched, floor)
        lowest, highest = best == tried[0], best == tried[-1]
        more = self.grid[:bottom][-1:] if harmful or (lowest and not idle) else []
        more += self.grid[place + 1 : place + 2] if highest else []
        if self.finer and not more:
            sides = [side for side, end in ((-1, lowest), (1, highest)) if not end]
            more += [halfway for side in sides if (halfway := self._halfway(best, self.grid[place + side]))]
        at_end = harmful or ((lowest or highest) and best_value(curve) == best)
        end = INTERIOR if not at_end else NOTHING if lowest and idle else EDGE
        return [value for value in more if value not in curve], end

    @cached_property
    def grid(self) -> list[Value]:
        """Every value that may be tried, ascending: the first ones and `furthest` past each end, none halfway."""
        first = sorted(set(self.values))
        steps = range(1, self.furthest + 1)
        low, high = (self.factor or (side[1] / side[0] if len(side) > 1 else 2.0) for side in (first[:2], first[-2:]))
        beyond = [first[0] / low**k for k in steps] + [first[-1] * high**k for k in steps]
        return sorted({*first, *(value for one in beyond if (value := self._rounded(one)))})

    def _halfway(self, one: Value, other: Value) -> Value:
        """Return the geometric mean; 0 where no value lies between."""
        found = self._rounded(math.sqrt(one * other))
        return found if min(one, other) < found < max(one, other) else 0

    def _rounded(self, value: float) -> Value:
        """Return a value with three digits, so that it reads well; a whole number of epochs."""
        return round(value) if self.name == "epochs" else float(f"{value:.3g}")


def _found(
    wanted: Iterable[tuple[str, RunConfig]], finished: Finished
) -> tuple[list[Record], list[tuple[str, RunConfig]]]:
    """Return the records of some runs, and the runs without one."""
    looked = [(one, finished.find(*one)) for one in wanted]
    return [record for _, record in looked if record], [one for one, record in looked if not record]


def _mean(numbers: Iterable[float | None]) -> float | None:
    """Return the mean over seeds; None where one of them has no number."""
    found = list(numbers)
    known = [one for one in found if one is not None]
    return fmean(known) if known and len(known) == len(found) else None


@lru_cache(typed=True)
def _checked(name: str, value: Value) -> Any:
    """Return a value of a setting in the setting's own type."""
    stated: dict[str, Any] = {name: value}
    return getattr(RunConfig(**stated), name)


def best_value(curve: Mapping[Value, float | None]) -> Value:
    """Return the value with the highest ToW, the least of equal ones; a run that diverged loses to any other."""
    scores = {value: -math.inf if tow is None else tow for value, tow in curve.items()}
    return max(sorted(scores), key=scores.__getitem__)


def within(tow: float | None, untouched: float | None, floor: float | None) -> bool:
    """Return whether a ToW lies within the noise floor of doing nothing, as far as all three are known."""
    return tow is not None and untouched is not None and floor is not None and abs(tow - untouched) <= floor


def below(tow: float | None, untouched: float | None, floor: float | None) -> bool:
    """Return whether a ToW is worse than doing nothing by more than the noise floor, as far as all three are known."""
    return tow is not None and untouched is not None and floor is not None and tow < untouched - floor


def edges(results: Iterable[SearchResult]) -> list[str]:
    """Return the settings whose best value is at an end of its grid; a study with one is not finished."""
    return list(dict.fromkeys(f"{one.title}: {one.value}" for one in results if one.place == EDGE))
