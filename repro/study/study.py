"""A study: the one answer to which runs belong together, for running, drawing, judging and publishing."""

import tomllib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from repro.base.errors import ConfigError, IntegrityError, MissingDataError, of_the_system
from repro.base.files import name_damage
from repro.base.parts import parts
from repro.base.places import bundled, recipe_file
from repro.base.settings import choose, reject
from repro.records.lists import RunList
from repro.records.published import Published
from repro.records.record import EVALUATION, Record
from repro.records.stages import two_weights
from repro.records.store import Store
from repro.study.table import comparable, table_of

if TYPE_CHECKING:
    import pandas as pd

LOOSE = "loose"
# Studies without a recipe: the kinds of the records they hold, and the command that makes these.
BUILT_IN = {
    "theory": (("theory",), "repro theory --signal-strength 0.5"),
    "claims": (("theory_claim",), "repro theory claims"),
    "measurements": (("theory_measurement",), "repro theory claims"),
    "sweeps": (("theory_sweep",), "repro theory sweep"),
    "validity": (("theory_validity",), "repro theory validity"),
    "scale": ((), "python benchmarks/many_processes.py"),
    "benchmarks": ((), "python benchmarks/train_step.py"),
    LOOSE: ((), "repro run"),
}


class State(StrEnum):
    """Where a run stands in a store; one that diverged is done: its record says so."""

    DONE = "done"
    RUNNING = "running"
    FAILED = "failed"
    MISSING = "missing"


class Place(Protocol):
    """Where the runs of a study may be read from: the user's store, or the published studies."""

    title: str

    def records_of(self, study: str, ids: Collection[str]) -> list[Record]: ...


class Source(NamedTuple):
    """Where a study is read from: one place, never a mixture of two.

    Attributes:
        place: the store or the published studies.
        runs: the list of the study's runs there.
        missing: how many of them are missing.
    """

    place: Place
    runs: RunList
    missing: int = 0

    def said(self) -> str:
        """Return the source in a few words, for a caption."""
        of = f", {self.missing} of {len(self.runs.runs) + self.runs.open} runs missing" if self.missing else ""
        return f"{self.place.title} records{of}"


@dataclass(frozen=True)
class Study:
    """Runs that belong together.

    Attributes:
        name: its name, which its records are published under.
        title: one line for people.
    """

    name: str
    title: str = ""

    def runs(self, store: Store, published: Published) -> RunList:
        """Return its runs: by its list in the store, else by the published list, else those that the store has."""
        return store.lists.get(self.name) or published.lists.get(self.name) or self.own_runs(store)

    def own_runs(self, store: Store) -> RunList:
        """Return its runs in the store, whatever is published.

        Without a list, a built-in study has the store's records of its kinds, and `loose` those that are in no list.
        """
        found = store.lists.get(self.name)
        if found is not None or self.name not in BUILT_IN:
            return found or RunList()
        heads, kinds = store.heads(), BUILT_IN[self.name][0]
        if self.name != LOOSE:
            return RunList(tuple(head.run_id for head in heads if head.kind in kinds))
        listed = {one for found in store.lists.all().values() for one in found.ids}
        return RunList(tuple(head.run_id for head in heads if head.run_id not in listed))

    def state(self, store: Store, runs: Iterable[str]) -> dict[str, State]:
        """Return the state of each of some runs, from its record or else from live leases.

        A run without a metric that the study's list names for it, in its present version, is missing.
        """
        wanted = (store.lists.get(self.name) or RunList()).metrics
        present = {name: facts.version for name, facts in parts("metrics").items()} if wanted else {}
        lacking = {one.run_id for one in store.records(ids=wanted) if one.status == "ok"
                   and any(_version(one, name) < present.get(name, 1) for name in wanted[one.run_id])}  # fmt: skip
        ended = {head.run_id: State.FAILED if head.status == "failed" else State.DONE
                 for head in store.heads() if head.run_id not in lacking}  # fmt: skip
        held = {lease.name: State.RUNNING for lease in store.leases.all() if not lease.gone}
        known = ended | held
        return {one: known.get(one, State.MISSING) for one in runs}

    def source(self, store: Store, published: Published) -> Source:
        """Return where to read it: the store if it is complete there, else the published study, else the store."""
        runs, other = self.runs(store, published), published.lists.get(self.name)
        if other is not None and not store.holds(runs.runs):  # most studies of most stores: no run is listed for it
            return Source(published, other)
        states = self.state(store, runs.runs).values()
        missing = runs.open + sum(state is not State.DONE for state in states)
        if other is not None and (missing or not runs.runs):
            return Source(published, other)
        return Source(store, runs, missing)

    def records(self, source: Source) -> list[Record]:
        """Return its records from a source, ordered by id.

        Runs on two sets of weights of one stage are named and left out: their difference would mean nothing. So is a
        pooled metric whose arrays are damaged.
        """
        found = source.place.records_of(self.name, set(source.runs.ids))
        unlike = two_weights(found)
        for line, _ in unlike.values():
            name_damage(f"study {self.name}: {line}; these runs are left out")
        left_out = {run for _, runs in unlike.values() for run in runs}
        for record in (one for one in found if one.kind == EVALUATION):
            try:
                record.arrays()
            except IntegrityError as error:
                name_damage(f"study {self.name}: {error}; left out")
                left_out.add(record.run_id)
        return [record for record in found if record.run_id not in left_out]

    def table(self, source: Source) -> "pd.DataFrame":
        """Return one row per run that it compares, see `repro.study.table.row_of`.

        A number is left out if another run of the table has it from a newer version of its metric.
        """
        runs = set(source.runs.runs)
        return table_of(comparable([record for record in self.records(source) if record.run_id in runs]))

    @property
    def command(self) -> str:
        """The command that computes its runs, or a note that no recipe has them."""
        if self.name in BUILT_IN:
            return BUILT_IN[self.name][1]
        there = (bundled("recipes") / f"{self.name}.toml").is_file()
        return (
            f"repro study run recipes/{self.name}.toml" if there else f"no recipe of the toolkit has study {self.name}"
        )


def _version(run: Record, metric: str) -> int:
    """Return the version of a metric that a run has; 0 if it has none."""
    return run.result.get("evaluations", {}).get(metric, {}).get("version", 0)


def load_study(named: str | Path) -> Study:
    """Return the study of a recipe file, of a recipe of the toolkit by its name, or a built-in or published one.

    Raises:
        ConfigError: for an invalid name or a file that is no TOML.
        MissingDataError: if there is no such file.
    """
    try:
        path = recipe_file(named)
        is_recipe = path.suffix == ".toml" or path.is_file()
    except OSError:  # a name that no file system takes
        raise reject("study", str(named), "the name of a study, or a recipe file") from None
    if is_recipe:
        content = read_recipe(path)
        return Study(str(content.get("name", path.stem)), str(content.get("title", "")))
    return Study(str(named))


def known_names(store: Store, published: Published) -> list[str]:
    """Return the names of all studies: built-in, with a recipe of the toolkit, published, and in the store."""
    recipes = (path.stem for path in bundled("recipes").glob("*.toml"))
    return sorted({*BUILT_IN, *recipes, *published.lists, *store.lists.all()})


def named_studies(names: Sequence[str], store: Store, published: Published) -> list[Study]:
    """Return the studies of some names or recipe files.

    Raises:
        ConfigError: for a name that no study has, with the nearest name.
        MissingDataError: if there is no such file.
    """
    found = [load_study(name) for name in names]
    for study, name in zip(found, names, strict=True):
        if Path(name).suffix != ".toml":
            choose("study", study.name, known_names(store, published))
    return found


def read_recipe(path: Path) -> dict[str, Any]:
    """Return the content of a recipe file, without what it takes from another one.

    Raises:
        MissingDataError: if there is no such file.
        ConfigError: if it cannot be read as TOML.
    """
    try:
        if not path.is_file():
            raise MissingDataError(f"recipe {path}: no such file; `repro study list` lists those there are")
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise of_the_system(error) from error
    except (ValueError, RecursionError) as error:  # of TOML, of the encoding, a number of too many digits, nesting
        raise ConfigError(f"recipe {path}: not readable as TOML in UTF-8 ({str(error)[:200]})") from None
