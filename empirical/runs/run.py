"""One run from config to record: its stages trained, its metrics measured, whatever of it is not there yet."""

import re
from dataclasses import replace
from typing import Any

import torch

from empirical.metrics.evaluation import measured
from empirical.registry import names
from empirical.runs.cell import check_cell
from empirical.runs.evaluations import Overflowed, measure
from empirical.runs.experiment import Experiment
from empirical.runs.imports import memorization_facts
from empirical.runs.workspace import Workspace
from empirical.settings.keys import absent_metrics, complete
from empirical.settings.run_config import RunConfig, Runtime
from repro.base.errors import OutOfMemoryError_
from repro.records.claims import in_turn
from repro.records.identity import run_id
from repro.records.record import Record
from repro.records.store import Store
from repro.records.weights import same_weights


def run(config: RunConfig, store: Store, runtime: Runtime | None = None, workspace: Workspace | None = None) -> Record:
    """Return the record of a run: from the store if it is there, otherwise computed and kept.

    A finished run that lacks a metric is measured, not trained, as long as the weights of its models are kept.

    Args:
        config: what to run.
        store: where records, evaluations and trained stages live.
        runtime: device, data folder, engine; taken from the workspace when that is given.
        workspace: shared state of consecutive runs.

    Raises:
        ConfigError: when method and rule do not go together; nothing is computed then.
        MissingDataError: when the data set is not there.
        OutOfMemoryError_: when the device has too little memory.
    """
    workspace = workspace or Workspace(store, runtime or Runtime())
    config = workspace.identified(config)
    return _finished(config, workspace) or compute(config, workspace)[0]


def _finished(config: RunConfig, workspace: Workspace) -> Record | None:
    """Return the finished run with every metric, if the first process finds it."""
    found = workspace.store.find(workspace.runtime.kind, config)
    there = workspace.group.tell(lambda: found is not None and complete(found, config))
    return found if there else None


def compute(config: RunConfig, workspace: Workspace) -> tuple[Record, bool]:
    """Return the record of a run that was not there, and whether it was computed now: another process may have come.

    Args:
        config: what to run, with the digest of its data.
        workspace: store, device and shared state.

    Raises:
        Held: when the run, or a stage of it, is in another process's hands and the workspace is not patient.
    """
    check_cell(config)
    store, kind = workspace.store, workspace.runtime.kind
    workspace.group.parts(config.batch_parts)  # refused before any work
    store.ensure_writable()
    workspace.take_device(portable=config.portable)
    with workspace.claim(run_id(kind, config)):
        if done := _finished(config, workspace):
            return done, False
        found = store.find(kind, config)
        known = found if found and found.status != "failed" else None
        experiment = Experiment(_on_the_same_images(config, known), workspace)
        if workspace.group.size == 1:
            return _compute(config, experiment, workspace, known), True
        _ = experiment.unlearned, experiment.retrained if experiment.has_reference else None
        experiment.workspace = workspace.alone()  # all have trained; the first measures and writes
        identity = workspace.group.tell(lambda: _compute(config, experiment, workspace, known).run_id)
        return store.load(identity), True


def _compute(config: RunConfig, experiment: Experiment, workspace: Workspace, found: Record | None) -> Record:
    """Train what is missing, measure, and write the run last: half a run is no run."""
    try:
        _prepare(experiment)
        facts = experiment.unlearned.facts
        diverged = facts["diverged_at"]
        evaluations = {} if diverged else measure(experiment)
        result = _facts(experiment) | ({"diverged_at": diverged} if diverged else {})
    except Overflowed as error:
        diverged, evaluations = {"epoch": len(facts["epochs"]), "step": 0}, {}
        result = _facts(experiment) | {"diverged_at": diverged, "overflowed": error.models}
    except (torch.cuda.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if not ran_out(error):
            raise
        raise OutOfMemoryError_(_too_much(config, error)) from error
    provenance = workspace.provenance(**{name: facts[name] for name in ("seconds", "peak_memory_bytes", "ran")})
    rows = _epochs(facts["epochs"], config.rows_measured)
    if found and same_weights(found.result["parents"], result["parents"]):  # measured anew, but not trained anew
        provenance, result["seconds_mask"] = found.provenance, found.result["seconds_mask"]
        config = replace(config, metrics=tuple(dict.fromkeys((*found.config["metrics"], *config.metrics))))
        if found.config.get("trajectory") and not config.trajectory:  # nobody looked on this time
            config, rows = replace(config, trajectory=True), _epochs(found.epochs(), config.rows_measured)
    record = workspace.store.save(
        workspace.runtime.kind, config, result=result, status="diverged" if diverged else "ok",
        epochs=rows, provenance=provenance, evaluations=evaluations,
    )  # fmt: skip
    workspace.store.checkpoints(experiment.unlearned.stage_id).clear()  # weights that are not kept had their end there
    return record


def _prepare(experiment: Experiment) -> None:
    """Train the models a run's unlearning is made from and held against, as far as nobody else has them in hand.

    First of all, so that no unlearning whose weights are not kept is lost to a reference that is `Held`.
    """
    images = experiment.images
    measured(experiment.config.rows_measured, experiment.split.forget, images.test_labels.numpy())  # or refused now
    roles = ["original", *(["retrained"] if experiment.has_reference else [])]
    in_turn(roles, lambda role: getattr(experiment, role), wait=experiment.workspace.patient,
            deadline=experiment.workspace.deadline)  # fmt: skip


def ran_out(error: BaseException) -> bool:
    """Return whether an error, or one that led to it, says that memory ran out, on a device or on the CPU."""
    return lack_of_memory(error) is not None


def lack_of_memory(error: BaseException) -> BaseException | None:
    """Return the error that says so: inside a capture, the end of that capture raises another one over it."""
    found: BaseException | None = error
    while found is not None:
        said = str(found)
        exhausted = isinstance(found, torch.cuda.OutOfMemoryError | MemoryError)
        if exhausted or "DefaultCPUAllocator" in said or "not enough memory" in said:
            return found
        found = found.__cause__ or found.__context__
    return None


def _too_much(config: RunConfig, error: BaseException) -> str:
    """Return what was asked for, and the largest batch that was tried."""
    asked = re.search(r"allocate ([\d.]+ ?\w+)", str(lack_of_memory(error)))
    batches = {"batch_size": config.batch_size, "pretrain_batch_size": config.pretrain_batch_size}
    name = max(batches, key=batches.__getitem__)
    request = f"a request of {asked[1]} failed" if asked else "a request failed"
    parts = config.batch_parts
    tried = f"{name} = {batches[name]}" + (f" in batch_parts = {parts}" if parts > 1 else "")
    return f"out of memory: {request}; the largest batch tried is {tried}; try a smaller one, or more batch_parts"


def _on_the_same_images(config: RunConfig, found: Record | None) -> RunConfig:
    """Return the config with every metric that a finished run has on other images: a record is about one half."""
    if found is None or found.result.get("rows_measured", "all") == config.rows_measured:
        return config
    there = [name for name in found.result.get("evaluations", {}) if name in names("metrics")]
    return replace(config, metrics=tuple(dict.fromkeys((*config.metrics, *there))))


def _epochs(rows: list[dict[str, Any]], part: str) -> list[dict[str, Any]]:
    """Return a stage's rows without accuracies of other images than those measured: it may have been trained before."""
    other = [row for row in rows if any(seen["rows_measured"] != part for seen in row.get("accuracies", []))]
    return [{name: row[name] for name in row if name != "accuracies"} if row in other else row for row in rows]


def _facts(experiment: Experiment) -> dict[str, Any]:
    """Return what a run is and what it cost; the numbers of its metrics are evaluations."""
    config, facts = experiment.config, experiment.unlearned.facts
    retrained = experiment.retrained.facts if experiment.has_reference else {}
    absent = absent_metrics(config)
    return {
        "labels": config.labels(),
        "parents": experiment.parents() | experiment.checksums(),
        "n_forget": len(experiment.split.forget),
        "n_retain": len(experiment.split.retain),
        **memorization_facts(experiment.config, experiment.workspace),
        "data_digest": config.data,
        "parameters": experiment.original.network.size,
        "seconds_unlearn": facts["seconds"],
        "seconds_retrain": retrained.get("seconds"),
        "seconds_mask": facts["seconds_mask"],
        "gradient_evaluations": facts["gradient_evaluations"],
        "retrain_gradient_evaluations": retrained.get("gradient_evaluations"),
        "peak_memory_bytes": facts["peak_memory_bytes"],
        **({"absent_metrics": absent} if absent else {}),
    }
