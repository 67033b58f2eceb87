"""One run from config to record: prepare its data, train its models, measure them, write the record."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch

from empirical.registry import names
from empirical.runs.evaluations import Overflowed, measure_metrics
from empirical.runs.experiment import Experiment, Models, make_experiment, train_models
from empirical.runs.resources import Resources
from empirical.runs.subset_models import memorization_facts
from empirical.runs.unlearning import check_run
from empirical.settings.keys import absent_metrics, complete
from empirical.settings.run_config import RunConfig, Runtime
from repro.base.errors import OutOfMemoryError_
from repro.records.identity import run_id
from repro.records.record import Record
from repro.records.stages import same_weights
from repro.records.store import Store


def run(config: RunConfig, store: Store, runtime: Runtime | None = None, resources: Resources | None = None) -> Record:
    """Return the record of a run: from the store if it is there, otherwise computed and stored.

    A finished run that lacks a metric is measured, not trained, as long as the weights of its models are stored.

    Args:
        config: what to run.
        store: where records, evaluations and trained stages live.
        runtime: device, data folder, engine; taken from `resources` if those are given.
        resources: shared state of consecutive runs.

    Raises:
        ConfigError: when method and rule do not go together; nothing is computed then.
        MissingDataError: when the data set is not there.
        OutOfMemoryError_: when the device has too little memory.
    """
    resources = resources or Resources(store, runtime or Runtime())
    config = resources.identified(config)
    return _finished(config, resources) or compute_run(config, resources)[0]


def _finished(config: RunConfig, resources: Resources) -> Record | None:
    """Return the finished run with every metric, if the first process finds it."""
    found = resources.store.find(resources.runtime.kind, config)
    there = resources.group.broadcast(lambda: found is not None and complete(found, config))
    return found if there else None


def compute_run(config: RunConfig, resources: Resources) -> tuple[Record, bool]:
    """Compute a run; return its record, and whether this process computed it (another one may have done it meanwhile).

    It prepares the data, trains the models, measures them, and writes the record last. Processes that train together
    train every model; then the first one measures and writes. The config has the digest of its data.

    Raises:
        Held: when another process computes the run or one of its stages and `resources.patient` is False.
    """
    check_run(config)
    store, kind, group = resources.store, resources.runtime.kind, resources.group
    group.own_parts(config.batch_parts)  # refused before any work
    store.ensure_writable()
    resources.take_device(portable=config.portable)
    with resources.lease(run_id(kind, config)), memory_named(config):
        if done := _finished(config, resources):
            return done, False
        found = store.find(kind, config)
        known = found if found and found.status != "failed" else None
        experiment = make_experiment(_with_metrics_to_repeat(config, known), resources)
        models = train_models(experiment)
        identity = group.broadcast(lambda: _measure_and_record(config, experiment, models, known).run_id)
        return store.load(identity), True


def _measure_and_record(config: RunConfig, experiment: Experiment, models: Models, known: Record | None) -> Record:
    """Measure the models of a run and write its record, in one process.

    Args:
        config: what was asked for.
        experiment: the same, with the metrics that a record on other images has to measure again.
        models: what was trained, or found.
        known: the record that lacked a metric, if there is one.
    """
    resources, facts = experiment.resources, models.unlearned.facts
    alone = replace(experiment, resources=resources.alone())
    diverged: dict[str, int] | None = facts["diverged_at"]
    evaluations: dict[str, str] = {}
    overflowed: dict[str, Any] = {}
    if not diverged:
        try:
            evaluations = measure_metrics(alone, models)
        except Overflowed as error:
            diverged, overflowed = {"epoch": len(facts["epochs"]), "step": 0}, {"overflowed": error.models}
    result = _facts(alone, models) | ({"diverged_at": diverged} if diverged else {}) | overflowed
    provenance = resources.provenance(**{name: facts[name] for name in ("seconds", "peak_memory_bytes", "ran")})
    rows = _epochs(facts["epochs"], config.rows_measured)
    if known and same_weights(known.result["parents"], result["parents"]):  # measured again, but not trained again
        provenance, result["seconds_mask"] = known.provenance, known.result["seconds_mask"]
        config = replace(config, metrics=tuple(dict.fromkeys((*known.config["metrics"], *config.metrics))))
        if known.config.get("trajectory") and not config.trajectory:  # it was not recorded this time
            config, rows = replace(config, trajectory=True), _epochs(known.epochs(), config.rows_measured)
    record = resources.store.save(
        resources.runtime.kind, config, result=result, status="diverged" if diverged else "ok",
        epochs=rows, provenance=provenance, evaluations=evaluations,
    )  # fmt: skip
    # Weights that are not stored ended in a checkpoint.
    resources.store.stages.checkpoints(models.unlearned.stage_id).clear()
    return record


@contextmanager
def memory_named(config: RunConfig) -> Iterator[None]:
    """Turn an error that means that memory ran out inside the block into one line with a remedy.

    Raises:
        OutOfMemoryError_: naming the largest batch that was tried.
    """
    try:
        yield
    except (torch.cuda.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if (lack := lack_of_memory(error)) is None:
            raise
        asked = re.search(r"allocate ([\d.]+ ?\w+)", str(lack))
        request = f"a request of {asked[1]} failed" if asked else "a request failed"
        name = max(("batch_size", "pretrain_batch_size"), key=lambda name: getattr(config, name))
        parts = f" in batch_parts = {config.batch_parts}" if config.batch_parts > 1 else ""
        tried = f"the largest batch tried is {name} = {getattr(config, name)}{parts}"
        line = f"out of memory: {request}; {tried}; try a smaller one, or more batch_parts"
        raise OutOfMemoryError_(line) from error


def lack_of_memory(error: BaseException) -> BaseException | None:
    """Return the error, or the one that led to it, that says that memory ran out, on a device or on the CPU.

    The end of a graph capture raises another error over it.
    """
    found: BaseException | None = error
    while found is not None:
        said = str(found)
        exhausted = isinstance(found, torch.cuda.OutOfMemoryError | MemoryError)
        if exhausted or "DefaultCPUAllocator" in said or "not enough memory" in said:
            return found
        found = found.__cause__ or found.__context__
    return None


def _with_metrics_to_repeat(config: RunConfig, found: Record | None) -> RunConfig:
    """Return the config with the metrics that a finished run has on other images. They are measured again."""
    if found is None or found.result.get("rows_measured", "all") == config.rows_measured:
        return config
    there = [name for name in found.result.get("evaluations", {}) if name in names("metrics")]
    return replace(config, metrics=tuple(dict.fromkeys((*config.metrics, *there))))


def _epochs(rows: list[dict[str, Any]], part: str) -> list[dict[str, Any]]:
    """Return a stage's rows without accuracies on other images than `part`, which an earlier run may have recorded."""
    other = [row for row in rows if any(seen["rows_measured"] != part for seen in row.get("accuracies", []))]
    return [{name: row[name] for name in row if name != "accuracies"} if row in other else row for row in rows]


def _facts(experiment: Experiment, models: Models) -> dict[str, Any]:
    """Return the facts of a run's record besides its metrics: labels, parents, sizes and costs."""
    config, facts = experiment.config, models.unlearned.facts
    retrained = models.retrained.facts if models.retrained else {}
    absent = absent_metrics(config)
    return {
        "labels": config.tags(),
        "parents": models.parents(experiment) | models.checksums(),
        "n_forget": len(experiment.split.forget),
        "n_retain": len(experiment.split.retain),
        **memorization_facts(config, experiment.resources),
        "data_digest": config.data,
        "parameters": models.original.network.size,
        "seconds_unlearn": facts["seconds"],
        "seconds_retrain": retrained.get("seconds"),
        "seconds_mask": facts["seconds_mask"],
        "gradient_evaluations": facts["gradient_evaluations"],
        "retrain_gradient_evaluations": retrained.get("gradient_evaluations"),
        "peak_memory_bytes": facts["peak_memory_bytes"],
        **({"absent_metrics": absent} if absent else {}),
    }
