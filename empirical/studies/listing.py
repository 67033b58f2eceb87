"""The list of a study's runs: those that its recipe names, with the values that were found."""

from dataclasses import replace

from empirical.registry import forget_set
from empirical.settings.keys import absent_metrics, ordered_metrics
from empirical.settings.run_config import ESTIMATE, KIND, RunConfig, Runtime, config_for
from empirical.studies.finished import Finished
from empirical.studies.recipe import Recipe
from repro.records.identity import run_id
from repro.records.lists import RunList


def list_of(recipe: Recipe, finished: Finished, runtime: Runtime) -> RunList:
    """Return the list of the whole study, even if only a part of it is computed.

    Args:
        recipe: the study.
        finished: the runs that exist, from which the values are found.
        runtime: names the folder of local data.
    """
    whole = replace(recipe, only={}, without=(), shard="", skip_committed=False)
    study = whole.resolve(finished, runtime)
    runs = [_identity(KIND, config, finished) for config in study.runs]
    search = {_identity(kind, run, finished) for one in study.searches for kind, run in one.asked}
    graded = (
        config for config in study.runs if forget_set(config.difficulty).graded and not config.scores and config.data
    )
    scores = {run_id(ESTIMATE, estimate) for estimate in set(map(config_for, graded))}
    open_ = len(study.open) + runs.count("")
    metrics = {run: _metrics(config) for run, config in zip(runs, study.runs, strict=True) if run}
    return RunList(*(tuple(sorted({*ids} - {""})) for ids in (runs, search, scores)), open=open_, metrics=metrics)


def _metrics(config: RunConfig) -> tuple[str, ...]:
    absent = absent_metrics(config)
    return tuple(name for name in ordered_metrics(config.metrics) if name not in absent)


def _identity(kind: str, config: RunConfig, finished: Finished) -> str:
    """Return the id of a run: without its data, the id of its record, else an empty text."""
    if config.data:
        return run_id(kind, config)
    record = finished.look(kind, config)
    return record.run_id if record else ""
