"""Numbers of finished runs: metrics that are added to them, and metrics that are computed from runs of many seeds."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from empirical.metrics.pooled import SeedArrays
from empirical.registry import load, metric, needs_shadow_models
from empirical.settings.keys import ROLE_STAGES, EvaluationKey, complete
from empirical.settings.run_config import KIND, RunConfig, Runtime, config_for
from empirical.studies.finished import Finished
from empirical.studies.plan import own_passes, passes_of, subset_stages
from empirical.studies.recipe import load_recipe, stated
from repro.base.ending import Stopped
from repro.base.errors import ConfigError, MissingDataError, ReproError
from repro.base.settings import build, named_once
from repro.records.identity import digest
from repro.records.provenance import collect
from repro.records.published import readers
from repro.records.record import Record, pick, read_records
from repro.records.store import Store

# Settings of measuring, which do not identify a run. A trajectory can only be recorded during training.
MEASURING = [f.name for f in fields(RunConfig) if not f.metadata.get("identifies", True)]
MEASURING = [name for name in MEASURING if name not in ("metrics", "trajectory")]
FEWEST = 4  # runs that are pooled: two on either side of a comparison
SEEDS = ("seed", "unlearn_seed")


def runs_of(what: str, store: Store, runtime: Runtime) -> list[Record]:
    """Return the finished runs that a text names: a recipe file's runs, or the run whose id starts with it.

    Raises:
        MissingDataError: when there is none.
    """
    if what.endswith(".toml"):
        recipe = load_recipe(Path(what))
        finished = Finished(readers(store))
        found = finished.usable(recipe.resolve(finished, runtime).runs)
        if not found:
            raise MissingDataError(f"recipe {what}: no run is finished; `repro study run {what}` computes them")
        return found
    record = pick(read_records(readers(store)), what)
    if record.kind != KIND:
        raise ConfigError(f"run {record.run_id}: is of kind {record.kind!r}; only network runs have metrics to add")
    return [record]


def measure_runs(
    records: Sequence[Record], metrics: Sequence[str], store: Store, runtime: Runtime, *,
    settings: Sequence[str] = (), retrain: bool = False, workers: int = 1,
) -> list[Record]:  # fmt: skip
    """Return the runs with more metrics, measured from the weights that are there, and the pooled metrics.

    Args:
        records: finished runs; those that diverged have nothing to measure.
        metrics: names of the metrics to add.
        store: where the weights are, and the evaluations go.
        runtime: device and data folder.
        settings: `name=value` of settings that measuring reads.
        retrain: train models whose weights are gone.
        workers: processes.

    Raises:
        ConfigError: for an unknown metric, or a setting that is unknown or named twice.
        MissingDataError: when weights are gone, before any work; names the passes that bring them back.
        ReproError: when a run failed; the others are measured.
        Stopped: when a signal came before the last run; those before it are measured, nothing is pooled.
    """
    for name in metrics:
        metric(name)
    changes = named_once("set", (stated("set", one, MEASURING, "landscape_points=25") for one in settings))
    configs = [_with_metrics(record, metrics, changes) for record in records if record.status == "ok"]
    gone = _passes_to_retrain(records, configs, store)
    if gone and not retrain:
        raise MissingDataError(
            f"metrics = {','.join(metrics)}: weights of {len(gone)} models of {len(configs)} runs are gone; training "
            f"them again takes {sum(gone.values()):.4g} passes over the training images: add --retrain"
        )
    from empirical.runs.unlearning import check_run  # with torch, which portable runs have to prepare first
    from empirical.studies.executors import run_groups

    for config in configs:
        check_run(config)
    report = run_groups([[config] for config in configs], store, runtime, workers=workers)
    if report.signal:
        raise Stopped(report.signal)
    if report.failed:
        identity, message = next(iter(report.failed.items()))
        failure = ReproError(f"{len(report.failed)} runs failed; the first, {identity}: {message}")
        failure.exit_code = report.failure_code
        raise failure
    measured = [record for config in configs if (record := store.find(KIND, config)) is not None]
    return measured + pool_runs(measured, metrics, store, study=runtime.study)


def _with_metrics(record: Record, metrics: Sequence[str], changes: dict[str, Any]) -> RunConfig:
    # A finished run may have been measured again, on other images than those its config names.
    same = {"rows_measured": record.result.get("rows_measured", "all")}
    config = build(RunConfig, record.config)
    return replace(config, metrics=tuple(dict.fromkeys((*config.metrics, *metrics))), **(same | changes))


def _passes_to_retrain(records: Sequence[Record], configs: Sequence[RunConfig], store: Store) -> dict[str, float]:
    """Return the passes over the training images that the missing weights of each run take, by stage id."""
    found: dict[str, float] = {}
    for record, config in zip([r for r in records if r.status == "ok"], configs, strict=True):
        if complete(record, config):
            continue
        stages = {
            "pretrain": passes_of(config.pretrain, config.pretrain_epochs),
            "retrain": passes_of(config.retrain_rule, config.pretrain_epochs),
            "unlearn": own_passes(config),
        }
        parents = record.result["parents"]
        passes = {parents[stage]: count for stage, count in stages.items() if stage in parents}
        if needs_shadow_models(config.metrics):
            passes |= {stage: count for (_, stage), count in subset_stages(config_for(config)).items()}
        found |= {stage: count for stage, count in passes.items() if store.stages.find(stage) is None}
    return found


def pool_runs(records: Iterable[Record], metrics: Sequence[str], store: Store, *, study: str = "") -> list[Record]:
    """Return the pooled evaluations of runs, one a metric and group of runs that differ in their seeds only.

    Args:
        records: finished runs; those that lack what a metric reads, or a retrained model, are not pooled by it, and
            groups of fewer than four are left out. Runs on other forget sets, or measured on other images, form other
            groups. Of several unlearning seeds of a training seed only the lowest counts, because they share the
            original and the retrained model.
        metrics: names of metrics; those that look at one run are ignored.
        store: where the evaluations go.
        study: for their provenance.
    """
    wanted = [name for name in metrics if metric(name).pooled]
    groups: dict[str, list[Record]] = defaultdict(list)
    for record in records if wanted else ():
        if record.status == "ok" and "retrain" in record.result["parents"]:
            rest = {key: value for key, value in record.identity.items() if key not in SEEDS}
            groups[digest([rest, record.result["parents"]["forget_set"], _scope(record)])].append(record)
    found = []
    for group, name in product(groups.values(), wanted):
        pool: dict[int, Record] = {}
        for record in sorted(group, key=lambda one: [one.config[seed] for seed in SEEDS]):
            if all(need in record.result.get("evaluations", {}) for need in metric(name).needs):
                pool.setdefault(record.config["seed"], record)
        if len(pool) >= FEWEST:
            found.append(_pooled(name, list(pool.values()), store, study))
    return found


def _pooled(name: str, group: list[Record], store: Store, study: str) -> Record:
    """Return the evaluation of a pool; its key has the number of test images and the versions of what it reads."""
    parents, scope = [record.result["parents"] for record in group], _scope(group[0])
    stages = {role: sorted(one[stage] for one in parents) for role, stage in ROLE_STAGES.items()}
    settings: dict[str, Any] = scope | ({"n_test": count} if (count := group[0].config.get("n_test", 0)) else {})
    settings |= {need: metric(need).version for need in metric(name).needs if metric(need).version > 1}
    key = EvaluationKey(name, metric(name).version, stages, parents[0]["forget_set"], settings=settings, pooled=True)
    if found := store.find_evaluation(key):
        return found
    values = load("metrics", name)(SeedArrays([record.arrays() for record in group]))
    arrays = {key: value for key, value in values.items() if isinstance(value, np.ndarray)}
    labels = {key: value for key, value in group[0].result["labels"].items() if key not in SEEDS}
    numbers = {key: value for key, value in values.items() if key not in arrays}
    result = {"labels": labels, "runs": [record.run_id for record in group], **scope, **numbers}
    return store.save_evaluation(key, result=result, arrays=arrays, provenance=collect(study=study))


def _scope(record: Record) -> dict[str, str]:
    """Return which half of the images a run's numbers are about; nothing where it is all of them."""
    part = record.result.get("rows_measured", "all")
    return {} if part == "all" else {"rows_measured": part}
