"""The records that a figure gets: the studies it names, each read from one place and on its own."""

from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from operator import attrgetter
from typing import Any, TypeVar

from repro.base.errors import ConfigError
from repro.records.identity import canonical_json, digest
from repro.records.lists import RunList
from repro.records.published import Published
from repro.records.record import Record
from repro.records.store import Store
from repro.study.study import BUILT_IN, LOOSE, Source, Study, load_study
from repro.study.table import comparable

T = TypeVar("T")
SEEDS = ("seeds", "first_seed", "seed", "unlearn_seed", "directions")
MEASURED = ("metrics", "trajectory")  # what is measured of a run, and no part of it


class Mixed(ConfigError):
    """Runs that a figure would pool differ in a setting that it does not show."""


class Records:
    """The records of one study, or of several that stand side by side.

    Args:
        found: the records of a study; failed records are left out.
        study: its name.
        said: where it was read from, in a few words.
        missing: one line `what: command` for each part that is missing.
        parts: the studies themselves, where there are several.
    """

    def __init__(
        self, found: Iterable[Record] = (), *, study: str = "", said: str = "", missing: Sequence[str] = (),
        parts: Sequence["Records"] = (),
    ) -> None:  # fmt: skip
        every = [one for part in parts for one in part.all]
        every = every or comparable([one for one in found if one.status != "failed"])  # no error is a number
        self.all = list({one.run_id: one for one in reversed(every)}.values())[::-1]
        self.study, self.said, self.missing = study, said, tuple(missing)
        self.parts: tuple[Records, ...] = tuple(parts) or (self,)
        self._made: dict[Hashable, Any] = {}

    def fingerprint(self) -> str:
        """Return a digest of every number a figure could read, and of where it was read from."""
        return self.once("fingerprint", self._fingerprint)

    def _fingerprint(self) -> str:
        if self.parts != (self,):
            return digest([part.fingerprint() for part in self.parts])
        found = sorted([one.run_id, one.source, one.status, digest(one.result)] for one in self.all)
        return digest([self.study, self.said, found])

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return what `make` gives, made once for these records: several answers start from the same tables."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def of(self, kind: str) -> list[Record]:
        """Return the records of one kind, ordered by run id."""
        by_id = attrgetter("run_id")
        return list(self.once(("of", kind), lambda: sorted((one for one in self.all if one.kind == kind), key=by_id)))


class Studies:
    """The studies that figures and claims name, each read once and from one place.

    Args:
        store: the user's own runs; None where only what is published counts.
        published: the studies that come with the toolkit.
        instead: studies that take the place of those that a figure or a claim names.
    """

    def __init__(self, store: Store | None, published: Published, instead: Sequence[Study] = ()) -> None:
        self.store, self._published, self._instead = store, published, tuple(instead)
        self._asked: dict[tuple[str, ...], Records] = {}
        self._known: dict[tuple[str, ...], Records] = {}

    def of(self, *names: str) -> Records:
        """Return the records of these studies, or of the studies that --study puts in their place.

        A recipe takes the place of recipes only: the theory belongs to every study.
        """
        if names not in self._asked:
            self._asked[names] = self._read(*self._meant(names))
        return self._asked[names]

    def _meant(self, names: Sequence[str]) -> list[Study]:
        theory = [name for name in names if name in BUILT_IN]
        if self._instead and self._instead[0].name in BUILT_IN:
            return list(self._instead)
        if self._instead and len(theory) < len(names):
            return [*self._instead, *map(load_study, theory)]
        return list(map(load_study, names))

    def own(self) -> list[str]:
        """Return the names of the studies with runs in the store: first those that were run there, then loose runs."""
        if self.store is None:
            return []
        return [*self.store.lists.all(), *([LOOSE] if Study(LOOSE).own_runs(self.store).runs else [])]

    def published_runs(self) -> int:
        """Return how many runs are published, each counted once."""
        return len({one for runs in self._published.lists.values() for one in runs.ids})

    def _read(self, *studies: Study) -> Records:
        key = tuple(study.name for study in studies)
        if key not in self._known:
            one = self._one(studies[0]) if len(studies) == 1 else None
            parts = [self._read(study) for study in studies] if one is None else []
            missing = [line for part in parts for line in part.missing]
            self._known[key] = one or Records(parts=parts, missing=missing)
        return self._known[key]

    def _one(self, study: Study) -> Records:
        own = self._published.lists.get(study.name) or RunList()
        source = study.source(self.store, self._published) if self.store else Source(self._published, own)
        said = f"Study {study.name}, {source.said()}."
        lacking = f"{source.missing} of {len(source.runs.runs) + source.runs.open} runs of study {study.name}"
        missing = [f"{lacking}: {study.command}"] if source.missing else []
        return Records(study.records(source), study=study.name, said=said, missing=missing)


class Given(Studies):
    """Records that stand for every study: a figure of one command shows that command's runs only.

    Args:
        records: what every study is taken to have.
    """

    def __init__(self, records: Records) -> None:
        super().__init__(None, Published([]))
        self._given = records

    def of(self, *names: str) -> Records:
        """Return the given records."""
        return self._given


def alike(found: Iterable[Record], shown: Collection[str], study: str = "") -> list[Record]:
    """Return the runs, if those of one setting differ in nothing but their seeds and what is measured of them.

    Args:
        found: runs of one kind.
        shown: config fields that tell the settings of a figure apart, and others that change no number of it.
        study: for the error.

    Raises:
        Mixed: naming the fields that differ within a setting, which a mean over its runs would hide.
    """
    found = list(found)
    settings = grouped(found, shown)
    free = {*SEEDS, *MEASURED, *shown}
    differing = {name for first, *others in settings.values() for run in others
                 for name in first.config.keys() | run.config.keys()
                 if name not in free and first.config.get(name) != run.config.get(name)}  # fmt: skip
    if differing:
        raise Mixed(
            f"study {study}: {', '.join(sorted(differing))} differ within a setting of this figure, which shows "
            "the mean; draw a study that has one value of each"
        )
    return found


def grouped(found: Iterable[Record], names: Collection[str]) -> dict[str, list[Record]]:
    """Return some runs by the values of some config fields, as text."""
    groups: dict[str, list[Record]] = defaultdict(list)
    for run in found:
        groups[canonical_json([run.config.get(name) for name in names])].append(run)
    return groups


def setting(run: Record, without: Collection[str] = ()) -> dict[str, Any]:
    """Return everything in a run's config but its seeds and some settings."""
    return {name: value for name, value in sorted(run.config.items()) if name not in SEEDS and name not in without}


def measured(run: Record, metric: str) -> bool:
    """Return whether a run has the numbers and arrays of a metric, in its newest version."""
    made = run.result.get("evaluations")
    return metric in (run.config.get("metrics", ()) if made is None else made)
