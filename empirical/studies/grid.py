"""Compute a study: search the values that its recipe leaves open, then compute its missing runs."""

import itertools
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from empirical.registry import metric
from empirical.runs.unlearning import check_run
from empirical.settings.keys import EvaluationKey
from empirical.settings.run_config import FLOOR, KIND, SEARCH, RunConfig, Runtime
from empirical.studies.executors import GridReport, run_groups
from empirical.studies.finished import Finished
from empirical.studies.measure import pool_runs
from empirical.studies.recipe import Recipe
from empirical.studies.search import SearchResult, edges, search_facts
from empirical.studies.study_runs import StudyRuns
from empirical.studies.watch import Watch
from repro.base.settings import check_limit
from repro.records.provenance import collect
from repro.records.published import readers
from repro.records.store import Store

VERSION = 1  # of what a record says of its search


def run_grid(
    recipe: Recipe, store: Store, *, max_seconds: float | None = None, runtime: Runtime | None = None, workers: int = 1,
    watch: Watch | None = None, search_only: bool = False,
) -> GridReport:  # fmt: skip
    """Search the values that the recipe leaves open, then compute its missing runs; it can be stopped and resumed.

    Args:
        recipe: the study.
        store: where records live; finished runs are not repeated.
        max_seconds: after this time no run is started, and a stage under way ends at its next checkpoint; None is no
            limit.
        runtime: device and data folder.
        workers: processes; each begins at runs of another seed or pretraining rule, and goes on with what others leave.
        watch: reports the runs that finish; None reports nothing.
        search_only: stop when every search has ended.

    Raises:
        ConfigError: before any work, when the limit or a run is not valid or the store cannot be written.
    """
    check_limit(max_seconds)
    for config in recipe.runs():
        check_run(config)
    store.ensure_writable()
    runtime = replace(runtime or Runtime(), study=recipe.name)
    started = time.time()
    limits = {"deadline": None if max_seconds is None else started + max_seconds, "workers": workers}
    watch = watch or Watch(store)
    report, finished, study = _search(recipe, store, runtime, limits, watch)
    with suppress(OSError):  # what a full disk does not take, the next grid writes
        # Before the runs, so that a reader of the list sees what is still missing.
        store.lists.put(recipe.name, recipe.whole().resolve(finished, runtime).run_list(finished))
    if report.interrupted or search_only:
        report.remaining += len(recipe.runs())
    else:
        with watch.over(recipe.name, study.runs, runtime):
            own = replace(runtime, keep_models=runtime.keep_models and recipe.keep_models)
            report.merge(run_groups(list(_groups(study.runs)), store, own, **limits))
        _record_search(recipe, study.found, store)
        report.edges = edges(study.searches)
        report.remaining += len(study.open)  # whose search could not end
        if not report.failed and not report.interrupted:
            _pool(replace(recipe, shard="", skip_committed=False), store, runtime)
    report.seconds = time.time() - started
    return report


def _search(
    recipe: Recipe, store: Store, runtime: Runtime, limits: dict[str, Any], watch: Watch
) -> tuple[GridReport, Finished, StudyRuns]:
    """Run the trials that neither the store nor a published study has, until every search has ended.

    Each round reads the results of the last one, because a grid grows where its best value is at an end. Returned are
    the report, what the last round has read, and the study by it. Of the trials' models only shared ones are saved.
    """
    report, before = GridReport(), None
    while True:
        finished = Finished(readers(store))
        study = recipe.resolve(finished, runtime)
        missing = study.missing
        if report.interrupted or not missing or missing == before:
            return report, finished, study
        before = missing
        for kind in (SEARCH, FLOOR):
            runs = sorted((run for one, run in missing if one == kind), key=lambda run: (run.pretrain, run.difficulty))
            if not runs or report.interrupted:  # a signal in the one phase ends the other too
                report.remaining += len(runs)
                continue
            part = replace(runtime, kind=kind, keep_models=False)
            with watch.over(f"{recipe.name}, {kind}", runs, part):
                report.merge(run_groups(list(_groups(runs)), store, part, **limits))


def _record_search(recipe: Recipe, found: Mapping[RunConfig, SearchResult], store: Store) -> None:
    """Add to every finished run how its value was searched for; that is no part of what the run is.

    Saved like a number: `result["choice"]` and `result["choice_details"]` of the record, replaced when they change.
    """
    for config, search in found.items():
        record = store.find(KIND, config)
        if record is None or record.status == "failed" or recipe.search is None:
            continue
        stages = {"candidates": search.runs}
        settings = {recipe.search.name: search.value, "place": search.place}
        key = EvaluationKey("choice", VERSION, stages, record.result["parents"]["forget_set"], settings=settings)
        if record.result.get("evaluations", {}).get("choice", {}).get("id") != key.id:
            facts = search_facts(recipe.search, search)
            made = store.save_evaluation(key, result=facts, provenance=collect(study=recipe.name))
            store.add_evaluations(record.run_id, {"choice": made.run_id})


def _groups(configs: Iterable[RunConfig]) -> Iterator[list[RunConfig]]:
    for _, group in itertools.groupby(configs, key=lambda config: (config.seed, config.pretrain)):
        yield list(group)


def _pool(recipe: Recipe, store: Store, runtime: Runtime) -> None:
    """Compute the metrics that pool the seeds of a study, once all of its runs are there (with shards: in the last)."""
    metrics = sorted({name for config in recipe.runs() for name in config.metrics if metric(name).pooled})
    if not metrics:
        return
    study = recipe.resolve(Finished(readers(store)), runtime)  # read anew: other shards may have ended since
    if study.open:
        return
    records = [record for config in study.runs if (record := store.find(KIND, config)) is not None]
    if len(records) == len(study.runs):
        store.lists.add(runtime.study, pool_runs(records, metrics, store, study=runtime.study))
