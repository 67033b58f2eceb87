"""A study as a TOML file: its runs, its learning-rate search, and the values it should give."""

import itertools
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

from empirical.settings.rule_labels import parse_value
from empirical.settings.run_config import RunConfig, Runtime
from empirical.studies.compare import Expected
from empirical.studies.finished import Finished, with_data
from empirical.studies.search import Search, SearchResult, follow
from empirical.studies.study_runs import StudyRuns
from repro.base.errors import ConfigError
from repro.base.places import recipe_file
from repro.base.settings import build, check, choose, named_once, nearest, reject
from repro.study.study import read_recipe

SETTINGS = [setting.name for setting in fields(RunConfig)]
LISTS = {setting.name for setting in fields(RunConfig) if isinstance(setting.default, tuple)}
MOST_RUNS = 100_000


@dataclass(frozen=True)
class Recipe:
    """A study.

    Attributes:
        name: the study's name, which is in the provenance of its records.
        title: one line for people.
        defaults: settings of every run.
        blocks: groups of settings; a list stands for one run per entry, several lists for their product. `{seed}` in
            `dataset_options` stands for the run's seed, so that seeds are independent draws of the data.
        search: the search for a learning rate that the recipe leaves open; None: every rate is stated. Its runs are
            measured on the half of the images that the search does not see.
        guessed: settings whose values the paper and its code do not give.
        expected: values that `repro study check` compares with, see `empirical.studies.compare.Expected`.
        only: values of settings that a run must have to be computed; empty: every run.
        without: metrics that are not measured, whatever a run asks for.
        skip_committed: whether runs that a published study has are left out; otherwise the store gets them too.
        shard: which part of the runs is computed, `i/n`: the i-th of n parts, whose runs share stages; empty: all.
        keep_models: whether unlearned weights are kept for later metrics; False where they would fill a disk.
    """

    name: str
    title: str = ""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    blocks: tuple[Mapping[str, Any], ...] = ()
    search: Search | None = None
    guessed: tuple[str, ...] = ()
    expected: tuple[Mapping[str, Any], ...] = ()
    only: Mapping[str, Any] = field(default_factory=dict)
    without: tuple[str, ...] = ()
    skip_committed: bool = False
    shard: str = ""
    keep_models: bool = True

    def __post_init__(self) -> None:
        tables = {"defaults": self.defaults, "only": self.only}
        for name, value in tables.items():
            if not isinstance(value, Mapping):
                raise reject(name, value, "a table of settings")
        for name, value in {"runs": self.blocks, "expected": self.expected}.items():
            if not isinstance(value, list | tuple) or not all(isinstance(one, Mapping) for one in value):
                raise reject(name, value, f"a list of tables, written as [[{name}]]")
        check(self)
        if self.shard and not _part(self.shard):
            raise reject("shard", self.shard, "i/n with 1 <= i <= n <= 100000, such as 1/4 for the first quarter")
        for name in self.guessed:
            choose("guessed", name, SETTINGS)
        axes = [_axes({**self.defaults, **block}) for block in self.blocks]
        for place, block in enumerate(axes):
            for name in (name for name, values in block if not values):
                raise reject(f"block {place + 1}, {name}", [], "a value, or a list of at least one")
        counts = [math.prod(len(values) for _, values in block) for block in axes]
        if sum(counts) > MOST_RUNS:  # a millisecond each to plan
            raise reject("runs", sum(counts), f"at most {MOST_RUNS} in a recipe", "split it into several")

    def runs(self) -> list[RunConfig]:
        """Return every run once, an open setting at its default, those that share trained stages next to each other.

        Raises:
            ConfigError: naming the block whose setting is unknown, of the wrong type or out of range.
        """
        configs = _ordered(self._searched)
        first, last = (round(len(configs) * end) for end in _part(self.shard) or (0, 1))
        return configs[first:last]

    @cached_property
    def _searched(self) -> dict[RunConfig, set[bool]]:
        """The runs that meet every condition, of all shards: whether a run's value is searched for.

        Both hold where one block leaves the value open and another one states the default.
        """
        found: dict[RunConfig, set[bool]] = {}
        for place, block in enumerate(self.blocks):
            searched = self.search is not None and self.search.name not in {**self.defaults, **block}
            for config in self._of_block(place, block):
                found.setdefault(config, set()).add(searched)
        return found

    def without_value(self) -> list[RunConfig]:
        """Return the runs whose value is searched for, at its default until it is found."""
        own = set(self.runs())
        return [config for config, searched in self._searched.items() if True in searched and config in own]

    def first_trials(self) -> list[RunConfig]:
        """Return the first runs of the search, without those that a growing grid adds.

        Raises:
            ConfigError: when the seed is one of the study's own, or a value is out of range.
        """
        if self.search is None:
            return []
        settings = dict.fromkeys(map(self.search.setting_of, self.without_value()))
        return [run for one in settings for value in self.search.values for run in self.search.trials(one, value)]

    def resolve(self, finished: Finished, runtime: Runtime) -> StudyRuns:
        """Return the runs of the study with the digests of their data and the values that finished runs decide."""
        stated = with_data((config for config in self.runs() if False in self._searched[config]), runtime, finished)
        known: dict[RunConfig, SearchResult] = {}
        found: dict[RunConfig, SearchResult] = {}
        open_: dict[RunConfig, SearchResult] = {}
        if search := self.search:
            for run in with_data(self.without_value(), runtime, finished):
                setting = search.setting_of(run)
                one = known[setting] = known.get(setting) or follow(search, setting, finished)
                if not one.place:
                    open_[run] = one
                elif one.value:
                    found[search.trial(run, one.value)] = one
        runs = _ordered([*found, *stated])
        if self.skip_committed:
            runs = [run for run in runs if not finished.in_a_committed_study(run)]
        return StudyRuns(runs, found, open_, list(known.values()))

    def whole(self) -> "Recipe":
        """Return the whole study, of which this may be a part."""
        return replace(self, only={}, without=(), shard="", skip_committed=False)

    def select(self, conditions: Iterable[str]) -> "Recipe":
        """Return the part of the study whose runs meet every condition.

        Args:
            conditions: such as `rule=sam-0.1` or `seed=0`.

        Raises:
            ConfigError: for an unknown setting or one named twice, a condition without `=`, or when no run is left.
        """
        only = named_once("where", (stated("where", one, SETTINGS, "rule=sam-0.1") for one in conditions))
        if self.search and self.search.name in only and self.without_value():
            name = self.search.name
            raise reject("where", f"{name}={only[name]}", "another setting", f"[search] finds the {name} of these runs")
        part = replace(self, only=only)
        if not part.runs():
            wanted = ", ".join(f"{name}={value}" for name, value in only.items())
            raise ConfigError(f"where = {wanted!r}: must fit a run of {self.name}; see `--dry-run` for its runs")
        return part

    def leave_out(self, metrics: Iterable[str]) -> "Recipe":
        """Return the study with some of its metrics not measured; they can be added while the weights are there.

        Raises:
            ConfigError: for a metric that no run of the whole study measures, or when a run has none left.
        """
        without = tuple(metrics)
        measured = sorted({name for config in replace(self, only={}).runs() for name in config.metrics})
        for name in without:
            choose("without", name, measured)
        if without and any(set(config.metrics) <= set(without) for config in self.runs()):
            raise reject("without", ", ".join(without), f"fewer than every metric of a run of {self.name}")
        return replace(self, without=without)

    def _of_block(self, place: int, block: Mapping[str, Any]) -> list[RunConfig]:
        unseen = {"rows_measured": "report"} if self.search else {}
        found = []
        for settings in _product({**unseen, **self.defaults, **block}):
            data = str(settings.get("dataset_options", "")).replace("{seed}", str(settings.get("seed", 0)))
            config = build(RunConfig, {**settings, "dataset_options": data}, where=f"{self.name}, block {place + 1}")
            if self.without:
                config = replace(config, metrics=tuple(name for name in config.metrics if name not in self.without))
            if all(_same(getattr(config, name), value) for name, value in self.only.items()):
                found.append(config)
        return found


def load_recipe(path: str | Path) -> Recipe:
    """Read a recipe file, or one that comes with the toolkit by its name, and check every run.

    A recipe with `extends = "other.toml"` takes what it does not state from that file in the same folder: `runs`,
    `guessed`, and single settings of `defaults` and `search`. It never takes expected values: they belong to one study.

    Raises:
        MissingDataError: when there is no such file.
        ConfigError: naming the file and the unknown key, wrong type, or line TOML cannot read.
    """
    path = recipe_file(path)
    content = {"name": path.stem, **_read(path)}
    for name in (name for name in content if name not in KEYS):
        raise ConfigError(
            f"recipe {path}: {name}: is no key of a recipe; known: {', '.join(KEYS)}{nearest(name, KEYS)}; a recipe "
            "lists its runs as [[runs]], --where selects some"
        )
    if "runs" in content:
        configs = content.pop("runs")
        content["blocks"] = configs if isinstance(configs, list) else [configs]
    if "search" in content:
        content["search"] = build(Search, content["search"], where=f"recipe {path}, search")
    recipe = build(Recipe, content, where=f"recipe {path}")
    if not recipe.runs():
        raise ConfigError(f"recipe {path}: runs = []: must name at least one run")
    recipe.first_trials()
    labels = [config.tags() for config in recipe.runs()] if recipe.expected else []
    for entry in recipe.expected:
        where = f"recipe {path}, expected"
        one = build(Expected, entry, where=where)
        for name in one.where:
            choose(f"{where}.where", name, labels[0])
        if not any(one.fits(labelled) for labelled in labels):
            raise reject(f"{where}.where", dict(one.where), "of a run of this study", "`--dry-run` lists its runs")
    return recipe


def _read(path: Path, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Return the content of a recipe file, what it extends filled in; `above` are the files that extend it."""
    content = read_recipe(path)
    for before, now in (("choose", "search"), ("cells", "runs")):  # the names before 0.3
        if before in content:
            content[now] = content.pop(before)
    if "extends" not in content:
        return content
    name = content.pop("extends")
    if len(above) >= DEEPEST:
        raise ConfigError(f"recipe {path}: extends = {name!r}: a chain of more than {DEEPEST} recipes")
    if not isinstance(name, str) or not name or Path(name).name != name or path in above:
        raise ConfigError(f"recipe {path}: extends = {name!r}: must name another recipe file in its folder")
    base = {key: value for key, value in _read(path.with_name(name), (*above, path)).items() if key in INHERITED}
    tables = {}
    for table in (name for name in ("defaults", "search") if name in base or name in content):
        parts = (base.get(table, {}), content.get(table, {}))
        if not all(isinstance(part, Mapping) for part in parts):
            raise ConfigError(f"recipe {path}: {table}: must be a table of settings")
        tables[table] = {**parts[0], **parts[1]}
    return {**base, **content, **tables}


DEEPEST = 16  # files in a chain of recipes
KEYS = ("name", "title", "extends", "defaults", "runs", "search", "guessed", "expected", "keep_models")
INHERITED = ("defaults", "runs", "search", "guessed")


def stated(option: str, text: str, names: Iterable[str], example: str) -> tuple[str, Any]:
    """Return the setting and the value that an option states, written SETTING=VALUE.

    Raises:
        ConfigError: for another text, which names the example, and for a setting that is not among the names.
    """
    name, _, value = (part.strip() for part in text.partition("="))
    if not value:
        raise ConfigError(f"{option} = {text!r}: must be SETTING=VALUE, such as {example}")
    return choose(option, name.replace("-", "_"), names), parse_value(value)


def _same(ours: Any, stated: Any) -> bool:
    """Return whether two values of a setting are equal; a switch is no number."""
    return ours == stated and isinstance(ours, bool) == isinstance(stated, bool)


def _part(shard: str) -> tuple[Fraction, Fraction] | None:
    """Return where the i-th of n equal parts begins and ends, in [0, 1]; None of a text that is no `i/n`."""
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", shard)
    number, count = map(int, match.groups()) if match else (0, 0)
    return (Fraction(number - 1, count), Fraction(number, count)) if 1 <= number <= count <= 100_000 else None


def _ordered(configs: Iterable[RunConfig]) -> list[RunConfig]:
    return sorted(dict.fromkeys(configs), key=lambda config: (config.seed, config.pretrain, config.difficulty))


def _product(settings: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    """Yield one mapping per combination of the listed values; settings that are lists themselves stay whole."""
    axes = _axes(settings)
    for values in itertools.product(*(values for _, values in axes)):
        yield {**settings, **dict(zip((name for name, _ in axes), values, strict=True))}


def _axes(settings: Mapping[str, Any]) -> list[tuple[str, list[Any]]]:
    """Return the settings that are lists of values, those that are lists themselves apart."""
    return [(name, value) for name, value in settings.items() if isinstance(value, list) and name not in LISTS]
