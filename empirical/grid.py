"""A study as a TOML recipe: its cells, what is missing, and a run that can be stopped and resumed at any time."""

import itertools
import time
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from empirical import choice
from empirical.choice import Choice
from empirical.config import KIND, RunConfig, Runtime
from empirical.spec import parse_rule
from repro.errors import ConfigError, MissingDataError
from repro.fields import build, check, reject
from repro.pack import readers
from repro.store import Record, Store, read_records, run_id


@dataclass(frozen=True)
class Recipe:
    """A study.

    Attributes:
        name: the study's name, kept in the provenance of its records.
        title: one line for people.
        defaults: settings of every cell.
        blocks: groups of settings; a list stands for one cell per entry, several lists for their product.
        choose: how a setting that the recipe leaves open is chosen, see `empirical.choice.Choice`; empty: not at all.
        expected: values that `repro check` compares with, see `empirical.compare.Expected`.
    """

    name: str
    title: str = ""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    blocks: tuple[Mapping[str, Any], ...] = ()
    choose: Mapping[str, Any] = field(default_factory=dict)
    expected: tuple[Mapping[str, Any], ...] = ()

    def __post_init__(self) -> None:
        check(self)

    @property
    def choice(self) -> Choice | None:
        """How the open setting is chosen."""
        return build(Choice, self.choose, where=f"{self.name}, choose") if self.choose else None

    def cells(self) -> list[RunConfig]:
        """Return every cell once, an open setting at its default, those that share trained stages next to each other.

        Raises:
            ConfigError: naming the block whose setting is unknown, of the wrong type or out of range.
        """
        return _ordered(self._cells(self.blocks))

    def candidates(self) -> list[RunConfig]:
        """Return the runs that choose the open setting, those that share trained stages next to each other."""
        return self.choice.candidates(self._cells(self._open())) if self.choice else []

    def settled(self, records: Iterable[Record]) -> list[RunConfig]:
        """Return the cells with the open setting as the records of the candidates say."""
        if self.choice is None:
            return self.cells()
        rest = self._cells(block for block in self.blocks if block not in self._open())
        return _ordered([*self.choice.apply(self._cells(self._open()), records), *rest])

    def _open(self) -> list[Mapping[str, Any]]:
        """Return the blocks that do not name the setting that is chosen."""
        chosen = self.choice.name if self.choice else ""
        return [block for block in self.blocks if chosen not in {**self.defaults, **block}]

    def _cells(self, blocks: Iterable[Mapping[str, Any]]) -> list[RunConfig]:
        found: dict[RunConfig, None] = {}
        for block in blocks:
            where = f"{self.name}, block {self.blocks.index(block) + 1}"
            for settings in _product({**self.defaults, **block}):
                found[build(RunConfig, settings, where=where)] = None
        return list(found)


@dataclass(frozen=True)
class PlanRow:
    """One cell in a dry run.

    Attributes:
        cell: its config; run_id: its identity, empty while its open setting is not chosen.
        done: whether its record exists.
        passes: estimated passes over the training set, trained stages that no earlier row needs included.
    """

    cell: RunConfig
    run_id: str
    done: bool
    passes: int


@dataclass
class GridReport:
    """How a grid ended.

    Attributes:
        done: run ids computed now; found: run ids that were there; diverged: those of `done` that diverged.
        failed: message by run id; failure_code: exit code of the first failure; remaining: cells not reached.
        seconds: wall time; interrupted: whether Ctrl-C or the time limit ended it.
    """

    done: list[str] = field(default_factory=list)
    found: list[str] = field(default_factory=list)
    diverged: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    failure_code: int = 0
    remaining: int = 0
    seconds: float = 0.0
    interrupted: bool = False

    def merge(self, other: "GridReport") -> None:
        """Add the outcome of a part of the grid."""
        for name in ("done", "found", "diverged"):
            getattr(self, name).extend(getattr(other, name))
        self.failed.update(other.failed)
        self.failure_code = self.failure_code or other.failure_code
        self.remaining += other.remaining
        self.interrupted |= other.interrupted


def load_recipe(path: str | Path) -> Recipe:
    """Read a recipe file and check every cell.

    Raises:
        MissingDataError: when there is no such file.
        ConfigError: naming the file and the unknown key, wrong type, or line TOML cannot read.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingDataError(f"recipe {path}: no such file; see the folder recipes/")
    try:
        content = tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"recipe {path}: not readable as TOML ({error})") from None
    content = {"name": path.stem, **content}
    if "cells" in content:
        content["blocks"] = content.pop("cells")
    recipe = build(Recipe, content, where=f"recipe {path}")
    if not recipe.cells():
        raise ConfigError(f"recipe {path}: cells = []: must name at least one cell")
    recipe.candidates()
    return recipe


def plan(recipe: Recipe, store: Store) -> list[PlanRow]:
    """Return what a grid would do, without doing it: the runs that choose, then the cells."""
    known = chosen_already(recipe, store)
    candidates = recipe.candidates()
    settled = len(known) == len(candidates)
    cells = recipe.settled(known.values()) if settled else recipe.cells()
    seen: set[tuple[Any, ...]] = set()
    rows = [_plan_row(cell, run_id(choice.KIND, cell), run_id(choice.KIND, cell) in known, seen) for cell in candidates]
    for cell in cells:
        identity = run_id(KIND, cell) if settled else ""
        rows.append(_plan_row(cell, identity, settled and store.find(KIND, cell) is not None, seen))
    return rows


def run_grid(
    recipe: Recipe, store: Store, *, max_seconds: float | None = None, runtime: Runtime | None = None, workers: int = 1
) -> GridReport:
    """Choose what the recipe leaves open, then compute its missing cells.

    Args:
        recipe: the study.
        store: where records live; finished cells are not repeated.
        max_seconds: no cell is started after this time; None is no limit.
        runtime: device and data folder.
        workers: processes; cells that share a seed and a pretraining rule stay together.

    Raises:
        ConfigError: before any work, when the limit or a cell is not valid or the store cannot be written.
    """
    if max_seconds is not None and max_seconds <= 0:
        raise reject("max_seconds", max_seconds, "> 0")
    store.ensure_writable()
    runtime = replace(runtime or Runtime(), study=recipe.name)
    started = time.time()
    limits = {"deadline": None if max_seconds is None else started + max_seconds, "workers": workers}
    report = _choose(recipe, store, runtime, limits)
    if report.failed or report.interrupted:
        report.remaining += len(recipe.cells())
    else:
        cells = recipe.settled(chosen_already(recipe, store).values())
        report.merge(_run(cells, store, runtime, limits))
    report.seconds = time.time() - started
    return report


def chosen_already(recipe: Recipe, store: Store) -> dict[str, Record]:
    """Return the finished runs that choose, by run id, from the store or else from the committed studies."""
    wanted = {run_id(choice.KIND, cell) for cell in recipe.candidates()}
    found = read_records(readers(store), choice.KIND) if wanted else []
    return {record.run_id: record for record in found if record.run_id in wanted}


def _choose(recipe: Recipe, store: Store, runtime: Runtime, limits: dict[str, Any]) -> GridReport:
    known = chosen_already(recipe, store)
    missing = [cell for cell in recipe.candidates() if run_id(choice.KIND, cell) not in known]
    if not missing:
        return GridReport()
    return _run(missing, store, replace(runtime, kind=choice.KIND), limits)


def _run(cells: list[RunConfig], store: Store, runtime: Runtime, limits: dict[str, Any]) -> GridReport:
    from empirical.executors import run_groups

    return run_groups(list(_groups(cells)), store, runtime, **limits)


def _ordered(cells: Iterable[RunConfig]) -> list[RunConfig]:
    return sorted(dict.fromkeys(cells), key=lambda cell: (cell.seed, cell.pretrain, cell.difficulty))


def _groups(cells: Iterable[RunConfig]) -> Iterable[list[RunConfig]]:
    for _, group in itertools.groupby(cells, key=lambda cell: (cell.seed, cell.pretrain)):
        yield list(group)


def _product(settings: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    """Yield one mapping per combination of the listed values; settings that are lists themselves stay whole."""
    whole = {f.name for f in fields(RunConfig) if isinstance(f.default, tuple)}
    axes = {name: value for name, value in settings.items() if isinstance(value, list) and name not in whole}
    for values in itertools.product(*axes.values()):
        yield {**settings, **dict(zip(axes, values, strict=True))}


def _plan_row(cell: RunConfig, identity: str, done: bool, seen: set[tuple[Any, ...]]) -> PlanRow:
    stages = {
        ("pretrain", cell.seed, cell.pretrain): cell.pretrain_epochs * _cost(cell.pretrain),
        ("retrain", cell.seed, cell.retrain_rule, cell.difficulty): cell.pretrain_epochs * _cost(cell.retrain_rule),
    }
    shared = sum(passes for key, passes in stages.items() if key not in seen)
    seen.update(stages)
    own = cell.epochs * _cost(cell.rule)
    return PlanRow(cell, identity, done, 0 if done else own + shared)


def _cost(label: str) -> int:
    spec = parse_rule(label)
    return _cost(spec.inner) if spec.inner else 1 if spec.name == "sgd" else 2
