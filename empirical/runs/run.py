"""One run from config to record: pretrain, forget set, retrain, unlearn, evaluate."""

from dataclasses import dataclass
from typing import Any

import torch

from empirical.runs.cells import check_cell
from empirical.runs.evaluate import evaluate
from empirical.runs.experiment import Experiment
from empirical.runs.workspace import Workspace, use_threads
from empirical.settings.run_config import RunConfig, Runtime
from repro.records.errors import OutOfMemoryError_
from repro.records.store import Record, Store, run_id


def run(config: RunConfig, store: Store, runtime: Runtime | None = None, workspace: Workspace | None = None) -> Record:
    """Return the record of a run: from the store if it is there, otherwise computed and kept.

    Args:
        config: what to run.
        store: where records and trained stages live.
        runtime: device, data folder, engine; taken from the workspace when that is given.
        workspace: shared state of consecutive runs.

    Raises:
        ConfigError: when method and rule do not go together; nothing is computed then.
        MissingDataError: when the data set is not there.
        OutOfMemoryError_: when the device has too little memory.
    """
    workspace = workspace or Workspace(store, runtime or Runtime())
    kind = workspace.runtime.kind
    found = store.find(kind, config)
    if found:
        return found
    check_cell(config)
    store.ensure_writable()
    use_threads(workspace.runtime.threads)
    with store.lock(run_id(kind, config)):
        return store.find(kind, config) or _compute(config, workspace)


def _compute(config: RunConfig, workspace: Workspace) -> Record:
    try:
        experiment = Experiment(config, workspace)
        outcome = _outcome(config, experiment)
    except torch.cuda.OutOfMemoryError as error:
        message = f"batch_size = {config.batch_size}: the device ran out of memory; try a smaller batch ({error})"
        raise OutOfMemoryError_(message.splitlines()[0]) from error
    facts = experiment.unlearned.facts
    kind, cost = workspace.runtime.kind, {name: facts[name] for name in ("seconds", "peak_memory_bytes")}
    return workspace.store.save(
        kind, config, result=outcome.result, status=outcome.status, arrays=outcome.arrays, epochs=facts["epochs"],
        provenance=workspace.provenance(**cost),
    )  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What goes into the record."""

    status: str
    result: dict[str, Any]
    arrays: dict[str, Any]


def _outcome(config: RunConfig, experiment: Experiment) -> Outcome:
    facts = experiment.unlearned.facts
    result: dict[str, Any] = {
        "labels": config.labels(),
        "parents": experiment.parents(),
        "n_forget": len(experiment.split.forget),
        "n_retain": len(experiment.split.retain),
        "data_digest": experiment.images.digest,
        "parameters": experiment.original.network.size,
        "seconds_unlearn": facts["seconds"],
        "seconds_retrain": experiment.retrained.facts["seconds"],
        "seconds_mask": experiment.unlearning.mask_seconds,
        "gradient_evaluations": facts["gradient_evaluations"],
        "retrain_gradient_evaluations": experiment.retrained.facts["gradient_evaluations"],
        "peak_memory_bytes": facts["peak_memory_bytes"],
    }
    if facts["diverged_at"]:
        return Outcome("diverged", result | {"diverged_at": facts["diverged_at"]}, {})
    numbers, arrays = evaluate(experiment)
    return Outcome("ok", result | numbers, arrays)
