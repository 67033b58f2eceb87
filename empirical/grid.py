"""A study as a TOML recipe: its cells, what is missing, and a run that can be stopped and resumed at any time."""

import itertools
import time
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from empirical.config import RunConfig, Runtime
from empirical.spec import parse_rule
from repro.errors import ConfigError, MissingDataError
from repro.fields import build, check, reject
from repro.store import Store, run_id

KIND = "unlearn"


@dataclass(frozen=True)
class Recipe:
    """A study.

    Attributes:
        name: the study's name, kept in the provenance of its records.
        title: one line for people.
        defaults: settings of every cell.
        blocks: groups of settings; a list stands for one cell per entry, several lists for their product.
        expected: values that `repro check` compares with, see `empirical.check`.
    """

    name: str
    title: str = ""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    blocks: tuple[Mapping[str, Any], ...] = ()
    expected: tuple[Mapping[str, Any], ...] = ()

    def __post_init__(self) -> None:
        check(self)

    def cells(self) -> list[RunConfig]:
        """Return every cell once, those that share trained stages next to each other.

        Raises:
            ConfigError: naming the block whose setting is unknown, of the wrong type or out of range.
        """
        found: dict[RunConfig, None] = {}
        for number, block in enumerate(self.blocks, 1):
            for settings in _product({**self.defaults, **block}):
                found[build(RunConfig, settings, where=f"{self.name}, block {number}")] = None
        return sorted(found, key=lambda cell: (cell.seed, cell.pretrain, cell.difficulty))


@dataclass(frozen=True)
class PlanRow:
    """One cell in a dry run.

    Attributes:
        cell: its config; run_id: its identity; done: whether its record exists.
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
    return recipe


def plan(recipe: Recipe, store: Store) -> list[PlanRow]:
    """Return what a grid would do, without doing it."""
    seen: set[tuple[Any, ...]] = set()
    return [_plan_row(cell, store, seen) for cell in recipe.cells()]


def run_grid(
    recipe: Recipe, store: Store, *, max_seconds: float | None = None, runtime: Runtime | None = None, workers: int = 1
) -> GridReport:
    """Compute the missing cells of a recipe.

    Args:
        recipe: the study.
        store: where records live; finished cells are not repeated.
        max_seconds: no cell is started after this time; None is no limit.
        runtime: device and data folder.
        workers: processes; cells that share a seed and a pretraining rule stay together.

    Raises:
        ConfigError: before any work, when the limit or a cell is not valid or the store cannot be written.
    """
    from dataclasses import replace

    from empirical.executors import run_groups

    if max_seconds is not None and max_seconds <= 0:
        raise reject("max_seconds", max_seconds, "> 0")
    store.ensure_writable()
    runtime = replace(runtime or Runtime(), study=recipe.name)
    started = time.time()
    deadline = None if max_seconds is None else started + max_seconds
    report = run_groups(list(_groups(recipe.cells())), store, runtime, deadline=deadline, workers=workers)
    report.seconds = time.time() - started
    return report


def _groups(cells: Iterable[RunConfig]) -> Iterable[list[RunConfig]]:
    for _, group in itertools.groupby(cells, key=lambda cell: (cell.seed, cell.pretrain)):
        yield list(group)


def _product(settings: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    """Yield one mapping per combination of the listed values; settings that are lists themselves stay whole."""
    whole = {f.name for f in fields(RunConfig) if isinstance(f.default, tuple)}
    axes = {name: value for name, value in settings.items() if isinstance(value, list) and name not in whole}
    for values in itertools.product(*axes.values()):
        yield {**settings, **dict(zip(axes, values, strict=True))}


def _plan_row(cell: RunConfig, store: Store, seen: set[tuple[Any, ...]]) -> PlanRow:
    done = store.find(KIND, cell) is not None
    stages = {
        ("pretrain", cell.seed, cell.pretrain): cell.pretrain_epochs * _cost(cell.pretrain),
        ("retrain", cell.seed, cell.retrain_rule, cell.difficulty): cell.pretrain_epochs * _cost(cell.retrain_rule),
    }
    shared = sum(passes for key, passes in stages.items() if key not in seen)
    seen.update(stages)
    own = cell.epochs * _cost(cell.rule)
    return PlanRow(cell, run_id(KIND, cell), done, 0 if done else own + shared)


def _cost(label: str) -> int:
    spec = parse_rule(label)
    return _cost(spec.inner) if spec.inner else 1 if spec.name == "sgd" else 2
