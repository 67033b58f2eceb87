"""The run of a study: choose what its recipe leaves open, then compute the missing cells, resumable at any time."""

import itertools
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from empirical.registry import metric
from empirical.settings.run_config import CHOICE, KIND, RunConfig, Runtime
from empirical.studies.executors import GridReport, run_groups
from empirical.studies.finished import Finished, with_data
from empirical.studies.pool import pool_runs
from empirical.studies.recipe import Recipe
from repro.records.pack import readers
from repro.records.settings import reject
from repro.records.store import Store


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
        keep = runtime.keep_models and recipe.keep_models
        cells = recipe.settled(Finished(readers(store)), runtime)
        report.merge(run_groups(list(_groups(cells)), store, replace(runtime, keep_models=keep), **limits))
        if not report.failed and not report.interrupted:
            _pool(cells, store, runtime)
    report.seconds = time.time() - started
    return report


def _choose(recipe: Recipe, store: Store, runtime: Runtime, limits: dict[str, Any]) -> GridReport:
    """Run the candidates that neither the store nor a committed study has; they leave no weights behind."""
    finished = Finished(readers(store))
    missing = [cell for cell in with_data(recipe.candidates(), runtime) if finished.find(CHOICE, cell) is None]
    if not missing:
        return GridReport()
    return run_groups(list(_groups(missing)), store, replace(runtime, kind=CHOICE, keep_models=False), **limits)


def _groups(cells: Iterable[RunConfig]) -> Iterator[list[RunConfig]]:
    for _, group in itertools.groupby(cells, key=lambda cell: (cell.seed, cell.pretrain)):
        yield list(group)


def _pool(cells: Iterable[RunConfig], store: Store, runtime: Runtime) -> None:
    """Measure what pools the seeds of a finished study."""
    cells = with_data(cells, runtime)
    metrics = sorted({name for cell in cells for name in cell.metrics if metric(name).pooled})
    if metrics:
        records = [record for cell in cells if (record := store.find(KIND, cell)) is not None]
        pool_runs(records, metrics, store, study=runtime.study)
