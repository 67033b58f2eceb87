"""Trained stages: train a network, keep its weights; the same stage is never trained twice."""

import json
import resource
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from empirical.models.network import Network
from empirical.runs.workspace import Workspace
from empirical.training.loop import Log, Stage, fit
from repro.records.errors import IntegrityError
from repro.records.store import run_id


@dataclass(frozen=True)
class Trained:
    """A trained stage.

    Attributes:
        stage_id: identity of the stage.
        network: the trained model on the device.
        facts: seconds, gradient evaluations, epochs, divergence.
    """

    stage_id: str
    network: Network
    facts: dict[str, Any]


def trained(
    workspace: Workspace, identity: dict[str, Any], *,
    start: Callable[[], Network], stage: Callable[[Network], Stage], keep: bool = True,
) -> Trained:  # fmt: skip
    """Return the stage of an identity: from the store, or trained now from `start()` and kept.

    Another process that asks for the same stage waits for this one.
    """
    stage_id = run_id("model", identity)
    store = workspace.store
    with store.lock(stage_id):
        network = start()
        folder = store.find_model(identity)
        if folder is not None:
            return Trained(stage_id, restore(network, folder), read_facts(folder))
        if workspace.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(workspace.device)
        facts = summarize(fit(network, stage(network), workspace.runtime.engine), workspace)
        if keep:
            provenance = {**workspace.provenance(), **facts}
            store.save_model(identity, save(weights(network)), provenance)
    return Trained(stage_id, network, facts)


def weights(network: Network) -> dict[str, Tensor]:
    """Return the weights and buffers of a network, on the CPU."""
    return {name: tensor.detach().cpu().contiguous() for name, tensor in network.model.state_dict().items()}


def restore(network: Network, folder: Path) -> Network:
    """Load stored weights into a network.

    Raises:
        IntegrityError: when they are damaged or belong to another architecture; the message names the first difference.
    """
    try:
        network.model.load_state_dict(load_file(folder / "weights.safetensors"), strict=True)
    except (RuntimeError, OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise IntegrityError(f"model {folder.name}: weights do not fit this architecture ({reason})") from error
    except Exception as error:
        if type(error).__name__ != "SafetensorError":
            raise
        raise IntegrityError(f"model {folder.name}: damaged ({error}); delete its folder and run again") from error
    return network


def summarize(log: Log, workspace: Workspace) -> dict[str, Any]:
    """Return what a log says about the cost of a stage."""
    return {
        "seconds": log.seconds,
        "gradient_evaluations": log.gradient_evaluations,
        "peak_memory_bytes": peak_memory(workspace.device),
        "diverged_at": log.diverged_at,
        "epochs": log.epochs,
    }


def peak_memory(device: torch.device) -> int:
    """Return the most memory in use: allocated by the stage on a GPU, resident in the process on a CPU, in bytes."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def read_facts(folder: Path) -> dict[str, Any]:
    """Return the stored facts of a stage."""
    provenance = json.loads((folder / "provenance.json").read_text())
    names = ("seconds", "gradient_evaluations", "peak_memory_bytes", "diverged_at", "epochs")
    return {name: provenance[name] for name in names}
