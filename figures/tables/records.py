"""What a figure is handed: every record of the readers, by kind, and the one comparable setting among them."""

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from dataclasses import replace
from functools import cache
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from repro.base.settings import choose
from repro.records.identity import digest
from repro.records.record import Reader, Record, read_records

T = TypeVar("T")
REPEATS = ("seeds", "first_seed", "seed", "unlearn_seed", "directions")
# The metric a number of a result comes from, by how its name starts behind the model's own (`retrained_mia_...`).
METRIC_OF = {
    "tow": "tow",
    "mia_": "mia",
    "attack_": "attacks",
    "lira_": "lira",
    "entanglement_": "entanglement",
    "margin_": "margins",
    "klom_": "klom_margins",
    "landscape_": "landscape",
    "hessian_": "hessian",
    "relearning_": "relearning",
}


class Records:
    """The records of several readers, read once.

    Args:
        readers: the stores, own runs first.
        study: of networks keep only the records of this study and of those that extend it, where one is named; the
            theory belongs to every study.
        cache: folder for what is slow to compute and depends on records alone (embeddings), or None.
    """

    def __init__(self, readers: Iterable[Reader], study: str | None = None, *, cache: Path | None = None) -> None:
        found = read_records(readers, wanted=(lambda one: in_study(one, study)) if study else None)
        theory = [one for one in found if one.kind.startswith("theory")]
        networks = [one for one in found if not one.kind.startswith("theory")]
        wanted = [one for one in networks if in_study(one, study)]
        if study and not wanted:
            choose(
                "study",
                study,
                sorted({str(one.provenance["study"]) for one in networks if one.provenance.get("study")}),
            )
        self.all = completed(current([one for one in (*theory, *wanted) if one.status != "failed"]))  # no errors
        self.cache = cache
        self._made: dict[Hashable, Any] = {}

    def fingerprint(self) -> str:
        """Return a digest of every number a figure could read."""
        return digest(
            sorted([record.run_id, record.source, record.status, digest(record.result)] for record in self.all)
        )

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return what `make` gives, made once for these records: several verdicts start from the same tables."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def of(self, kind: str) -> list[Record]:
        """Return the records of one kind, ordered by run id."""
        by_id = attrgetter("run_id")
        return list(self.once(("of", kind), lambda: sorted((one for one in self.all if one.kind == kind), key=by_id)))

    def comparable(self, found: Sequence[Record], vary: Sequence[str], *, swept: str = "") -> list[Record]:
        """Return the largest comparable set of some of these records, see `comparable`; settings are read once."""
        return comparable(found, vary, swept=swept, settings=self._settings())

    def setting(self, record: Record) -> "Setting":
        """Return everything in a record's config but its seeds."""
        return self._settings()[self._settings().number(record)]

    def _settings(self) -> "Settings":
        return self.once("settings", Settings)


class Setting(NamedTuple):
    """Everything in a config but its seeds: many runs share one."""

    names: tuple[str, ...]
    values: tuple[Hashable, ...]

    def without(self, names: Collection[str]) -> "Setting":
        """Return what is left without some settings."""
        kept = [(name, value) for name, value in zip(*self, strict=True) if name not in names]
        return Setting(tuple(name for name, _ in kept), tuple(value for _, value in kept))

    def cell(self, names: Sequence[str]) -> tuple[Hashable, ...]:
        """Return some settings, None for those it lacks."""
        mine = dict(zip(*self, strict=True))
        return tuple(map(mine.get, names))


class Settings:
    """The settings of runs by number, each run's read once: to compare all settings of a run with another's is dear."""

    def __init__(self) -> None:
        self._settings: list[Setting] = []
        self._numbers: dict[Setting, int] = {}
        self._runs: dict[str, int] = {}

    def number(self, record: Record) -> int:
        """Return the number of a record's setting."""
        if record.run_id not in self._runs:
            names = _but_seeds(tuple(record.config))
            setting = Setting(names, cell_key(record, names))
            if setting not in self._numbers:
                self._numbers[setting] = len(self._settings)
                self._settings.append(setting)
            self._runs[record.run_id] = self._numbers[setting]
        return self._runs[record.run_id]

    def __getitem__(self, number: int) -> Setting:
        return self._settings[number]


@cache
def _but_seeds(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in sorted(names) if name not in REPEATS)


def current(records: Sequence[Record]) -> list[Record]:
    """Return the records with every metric marked that another record has in a newer version.

    Numbers of two versions of a metric are not one column. The marked metric leaves `result["evaluations"]` and is
    named in `result["outdated"]`; nothing else of a result changes.
    """
    newest: dict[str, int] = {}
    for record in records:
        for metric, made in record.result.get("evaluations", {}).items():
            newest[metric] = max(newest.get(metric, made["version"]), made["version"])
    return [_marked(record, newest) for record in records]


def _marked(record: Record, newest: dict[str, int]) -> Record:
    made = record.result.get("evaluations", {})
    kept = {metric: one for metric, one in made.items() if one["version"] == newest[metric]}
    if len(kept) == len(made):
        return record
    marks = {"evaluations": kept, "outdated": sorted(set(made) - set(kept))}
    return replace(record, result=record.result | marks)


def completed(records: Sequence[Record]) -> list[Record]:
    """Return the records with the settings that came after them, at their defaults.

    A setting at its default is no part of a run's identity: made again today, an older run is the same and has one
    setting more. A study that went on after that is still one study. What the default is the newer records say: it is
    what they have in their config and not in their identity, unless that differs among them.
    """
    by_type: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        by_type[str(record.config.get("type"))].append(record)
    later = {name: _later_settings(same) for name, same in by_type.items()}

    def whole(record: Record) -> Record:
        added = later[str(record.config.get("type"))]
        return replace(record, config=added | record.config) if added.keys() - record.config.keys() else record

    return [whole(record) for record in records]


def _later_settings(records: Sequence[Record]) -> dict[str, Any]:
    every = set().union(*(record.config for record in records))
    found = {}
    for name in {name for record in records for name in every - record.config.keys()}:
        having = [one for one in records if one.identity and name in one.config and name not in one.identity]
        values = {str(one.config[name]): one.config[name] for one in having}
        found |= {name: next(iter(values.values()))} if len(values) == 1 else {}
    return found


def in_study(record: Record, study: str | None) -> bool:
    """Return whether a record is of a study or, as `cifar10-alpha` of `cifar10`, of one that extends it; "" is all."""
    name = str(record.provenance.get("study") or "")
    return not study or belongs(name, study)


def belongs(name: str, study: str) -> bool:
    """Return whether a study's name is that of another, or says that it extends it."""
    return name == study or extends(name, study)


def extends(name: str, study: str) -> bool:
    """Return whether a study's name says that it extends another."""
    return name.startswith(f"{study}-")


def measured(run: Record, metric: str) -> bool:
    """Return whether a run has the numbers and arrays of a metric, in the newest version there is of it."""
    made = run.result.get("evaluations")
    return metric in (run.config.get("metrics", ()) if made is None else made)


def has_number(run: Record, name: str) -> bool:
    """Return whether a run's result has a number, and not from an outdated version of its metric."""
    if name not in run.result:
        return False
    outdated = run.result.get("outdated", ())
    plain = name.removeprefix("original_").removeprefix("retrained_")
    return not any(plain.startswith(start) for start, metric in METRIC_OF.items() if metric in outdated)


def has_arrays(run: Record) -> bool:
    """Return whether a run's arrays are there: a committed study may have been packed without them."""
    return run.has_arrays()


def comparable(
    records: Sequence[Record], vary: Sequence[str], *, swept: str = "", settings: Settings | None = None
) -> list[Record]:
    """Return the largest set of records that differ in nothing but `vary` and their seeds.

    Curves of different settings must not share an axis unnoticed; of several sets the one with most cells is taken,
    those of networks counted by the images they trained on, then the one with most seeds.

    Args:
        records: runs of one kind.
        vary: names of the config fields that the figure shows.
        swept: a field of `vary`; the set with most of its values is taken, before any other criterion.
        settings: where the settings of runs are known from, if more such sets are asked for.
    """
    settings = settings or Settings()
    alike: dict[int, list[int]] = defaultdict(list)
    for place, record in enumerate(records):
        alike[settings.number(record)].append(place)
    held = {number: settings[number] for number in alike}
    groups: dict[Setting, list[int]] = defaultdict(list)
    for number, setting in held.items():
        groups[setting.without(vary)].append(number)

    def rank(rest: Setting) -> tuple[int, int, int, str]:
        cells = [len({held[number].cell(names) for number in groups[rest]}) for names in ((swept,), vary)]
        members = [records[place] for number in groups[rest] for place in alike[number]]
        return cells[0], cells[1] * max(map(training_images, members)), sum(map(seed_count, members)), str(rest)

    best = groups[max(groups, key=rank)] if groups else []
    return [records[place] for place in sorted(place for number in best for place in alike[number])]


def cell_key(record: Record, vary: Sequence[str]) -> tuple[Hashable, ...]:
    """Return the values of `vary` in a config, those that hold others as text."""
    values = tuple(map(record.config.get, vary))
    try:
        hash(values)
    except TypeError:
        return tuple(json.dumps(one, sort_keys=True) if isinstance(one, list | dict) else one for one in values)
    return values


def training_images(record: Record) -> int:
    """Return how many images the original model of a run saw; 1 for what is no network."""
    return record.result.get("n_retain", 0) + record.result.get("n_forget", 0) or 1


def seed_count(record: Record) -> int:
    """Return how many seeds a record holds: a theory cell holds all of its own, a network run is one."""
    seeds = record.result.get("seeds")
    return len(seeds) if isinstance(seeds, list) else 1
