"""Trained stages: build a network, train it, keep its weights; the same stage is never trained twice."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save
from torch import Tensor

from empirical.augment import PLANS, Augment
from empirical.batches import Rows
from empirical.config import RunConfig
from empirical.data import ImageSet
from empirical.network import Network
from empirical.registry import load
from empirical.train import Log, Stage, fit
from empirical.workspace import Workspace
from repro.errors import IntegrityError
from repro.provenance import collect
from repro.store import run_id


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


def build_network(config: RunConfig, images: ImageSet, *, seed: int, device: torch.device) -> Network:
    """Return a freshly initialized network; the same seed gives the same weights on every device."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = load("models", config.model)(images.image_shape, images.classes)
    if config.precision == "fp64":
        model = model.double()
    if device.type == "cuda":
        model = model.to(memory_format=torch.channels_last)
    twice = config.fidelity.double_normalize and config.dataset in ("tiny-imagenet", "imagenet", "tinyimagenet100")
    return Network(
        model.to(device), images.mean, images.std, precision=config.precision, normalize_twice=twice
    )


def augmentation(config: RunConfig) -> Augment:
    """Return the training augmentation; D2 adds RandAugment."""
    plan = PLANS[config.augment]
    return Augment(plan.padding, plan.flip, (2, 15)) if config.fidelity.randaugment else plan


def rows(index: np.ndarray, images: ImageSet, batch_size: int, *, forget: bool, device: torch.device) -> Rows:
    """Return training rows with their true labels, on the device."""
    where = torch.from_numpy(np.ascontiguousarray(index))
    flags = torch.full((len(index),), forget)
    return Rows(where.to(device), images.train_labels[where].to(device), flags.to(device), batch_size)


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
        facts = summarize(fit(network, stage(network)), workspace)
        if keep:
            provenance = {**collect(study=workspace.runtime.study, device=workspace.device_name), **facts}
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
    """Return the most memory in use so far: allocated on a GPU, resident on a CPU, in bytes."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def read_facts(folder: Path) -> dict[str, Any]:
    """Return the stored facts of a stage."""
    import json

    provenance = json.loads((folder / "provenance.json").read_text())
    names = ("seconds", "gradient_evaluations", "peak_memory_bytes", "diverged_at", "epochs")
    return {name: provenance[name] for name in names}
