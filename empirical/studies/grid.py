"""The run of a study: what is missing, and a grid that can be stopped and resumed at any time."""

import itertools
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from empirical.settings.rule_labels import parse_rule
from empirical.settings.run_config import KIND, RunConfig, Runtime
from empirical.studies import choice
from empirical.studies.recipe import Recipe
from repro.records.pack import readers
from repro.records.settings import reject
from repro.records.store import Record, Store, read_records, run_id


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


def plan(recipe: Recipe, store: Store) -> list[PlanRow]:
    """Return what a grid would do, without doing it: the runs that choose, then the cells."""
    known = chosen_already(recipe, store)
    candidates = recipe.candidates()
    settled = len(known) == len(candidates)
    cells = recipe.settled(known.values()) if settled else recipe.cells()
    undecided = set() if settled else set(recipe.undecided())
    seen: set[tuple[Any, ...]] = set()
    rows = [_plan_row(cell, run_id(choice.KIND, cell), run_id(choice.KIND, cell) in known, seen) for cell in candidates]
    for cell in cells:
        identity = "" if cell in undecided else run_id(KIND, cell)
        rows.append(_plan_row(cell, identity, bool(identity) and store.find(KIND, cell) is not None, seen))
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


def finished(recipe: Recipe, store: Store) -> list[Record]:
    """Return the finished cells of a recipe, from the store or the committed studies, whichever study ran them."""
    known = chosen_already(recipe, store)
    if len(known) < len(recipe.candidates()):
        return []
    wanted = {run_id(KIND, cell) for cell in recipe.settled(known.values())}
    return [record for record in read_records(readers(store), KIND) if record.run_id in wanted]


def _choose(recipe: Recipe, store: Store, runtime: Runtime, limits: dict[str, Any]) -> GridReport:
    known = chosen_already(recipe, store)
    missing = [cell for cell in recipe.candidates() if run_id(choice.KIND, cell) not in known]
    if not missing:
        return GridReport()
    return _run(missing, store, replace(runtime, kind=choice.KIND), limits)


def _run(cells: list[RunConfig], store: Store, runtime: Runtime, limits: dict[str, Any]) -> GridReport:
    from empirical.studies.executors import run_groups

    return run_groups(list(_groups(cells)), store, runtime, **limits)


def _groups(cells: Iterable[RunConfig]) -> Iterable[list[RunConfig]]:
    for _, group in itertools.groupby(cells, key=lambda cell: (cell.seed, cell.pretrain)):
        yield list(group)


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
