"""A stage: trained once and kept in the store, or read from there; what its network is made of."""

import hashlib
import itertools
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from empirical.augmentation.augment import augmentation
from empirical.data.images import ImageSet
from empirical.methods.retain import Retrain
from empirical.models.network import Network, drawing_from
from empirical.registry import load as load_registered
from empirical.runs.workspace import Workspace
from empirical.settings.keys import StageKey
from empirical.settings.rule_labels import parse_legs
from empirical.settings.run_config import RunConfig
from empirical.training.batches import row_sets
from empirical.training.loop import Log, Observe, fit
from empirical.training.rules import RuleContext, build_rule
from empirical.training.step import Stage
from repro.base.ending import Stopped
from repro.base.errors import IntegrityError

FACTS = ("seconds", "gradient_evaluations", "peak_memory_bytes", "diverged_at", "epochs", "seconds_mask", "ran")


@dataclass(frozen=True)
class Trained:
    """A trained stage.

    Attributes:
        stage_id: identity of the stage.
        network: the trained model on the device.
        checksum: of its weights, see `checksum_of`; None in a process that trained for another one to keep.
        facts: seconds, gradient evaluations, peak memory, epochs, divergence, seconds of the mask, and how its steps
            really ran; None where a stage that was kept does not say.
    """

    stage_id: str
    network: Network
    facts: dict[str, Any]
    checksum: str | None = None


def train_afresh(config: RunConfig, workspace: Workspace, key: StageKey, rows: np.ndarray, seed: int) -> Trained:
    """Return a model trained on some rows from fresh weights, by the rules and hyperparameters of its key."""
    with workspace.lease(key.id):
        images = workspace.dataset(config)
        network = build_network(config, images, seed=seed, device=workspace.device)
        if known := read_stage(workspace, key, network):
            return known
        held = workspace.train_images(config)
        legs = parse_legs(key.rule, key.hyperparameters.epochs)
        rule, *later = (build_rule(label, RuleContext(list)) for label, _ in legs)
        begins = itertools.accumulate(epochs for _, epochs in legs[:-1])
        stage = Stage(
            Retrain(), rule, row_sets(images, key.hyperparameters, rows, rows[:0], device=workspace.device),
            key.hyperparameters, held, augmentation(config, held.dtype), seed,
            later=dict(zip(begins, later, strict=True)), group=workspace.group,
        )  # fmt: skip
        return train_stage(workspace, key, network, stage)


def read_stage(workspace: Workspace, key: StageKey, network: Network) -> Trained | None:
    """Return a stage that the store has, its weights loaded into a network; None if it has none, or damaged ones."""
    found = workspace.group.tell(lambda: workspace.store.stages.read(key.id))
    if found is None:
        return None
    known, facts = found
    return Trained(
        key.id, restore(network, known, key.id), {name: facts.get(name) for name in FACTS}, checksum_of(known)
    )


def train_stage(
    workspace: Workspace, key: StageKey, network: Network, stage: Stage, *, keep: bool = True,
    observe: Observe | None = None,
) -> Trained:  # fmt: skip
    """Train a network in place, from the checkpoint of an interrupted attempt if there is one, and keep its weights.

    Args:
        workspace: the store and the device; the caller holds the lease of the stage.
        key: what the stage depends on; its id is the name in the store.
        network: the network before the first step.
        stage: what it is trained on and how.
        keep: whether the weights are kept.
        observe: looks at the network during training. What it sees is kept with the stage but does not identify it:
            a stage that was trained without an observer has no such rows.

    Raises:
        Stopped: after a signal or at the deadline, when a checkpoint is written.
    """
    if workspace.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(workspace.device)
    pauses = workspace.pauses(key.id, keep=keep)
    log = fit(network, stage, workspace.engine(stage.images), observe=observe, pauses=pauses)
    facts = _facts(log, workspace.device, stage.mask_seconds)
    made = save(weights(network)) if workspace.group.first else None
    if keep and made is not None:
        provenance = workspace.provenance(**facts, resumed=log.resumed, seconds_preparing=log.seconds_preparing)
        workspace.store.stages.save(key, made, provenance)
        pauses.kept.clear()
    if pauses.ending.came is not None:
        raise Stopped(pauses.ending.came)  # it came during the last steps, and waited for the stage to be kept
    return Trained(key.id, network, facts, None if made is None else checksum_of(made))


def checksum_of(known: bytes) -> str:
    """Return the checksum of stored weights: the first 16 hex digits of the sha256 of their safetensors file."""
    return hashlib.sha256(known).hexdigest()[:16]


def weights(network: Network) -> dict[str, Tensor]:
    """Return the weights and buffers of a network, on the CPU."""
    return {name: tensor.detach().cpu().contiguous() for name, tensor in network.model.state_dict().items()}


def restore(network: Network, known: bytes, stage_id: str) -> Network:
    """Load stored weights (safetensors bytes) into a network.

    Raises:
        IntegrityError: when they belong to another architecture; the message names the first difference.
    """
    try:
        network.model.load_state_dict(load(known), strict=True)
    except (RuntimeError, ValueError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:200]
        raise IntegrityError(f"model {stage_id}: weights do not fit this architecture ({reason})") from error
    return network


def _facts(log: Log, device: torch.device, mask_seconds: float) -> dict[str, Any]:
    """Return what a log says about a stage; memory is the stage's on a GPU, resident in the process on a CPU."""
    on_gpu = device.type == "cuda"
    used = torch.cuda.max_memory_allocated(device) if on_gpu else peak_memory()
    values = (log.seconds, log.gradient_evaluations, used, log.diverged_at, log.epochs, mask_seconds, log.ran)
    return dict(zip(FACTS, values, strict=True))


def peak_memory() -> int | None:
    """Return the most memory this process has held, in bytes; None where the system does not say (Windows)."""
    try:
        import resource
    except ImportError:
        return None
    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, Linux kibibytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def build_network(config: RunConfig, images: ImageSet, *, seed: int, device: torch.device) -> Network:
    """Return a freshly initialized network; the same seed gives the same weights on every device."""
    with drawing_from(seed):
        model = load_registered("models", config.model)(images.image_shape, images.classes)
    if config.precision == "fp64":
        model = model.double()
    model = model.to(device).to(memory_format=torch.channels_last)  # the layout tensor cores and oneDNN compute in
    twice = config.fidelity.normalizes_twice(config.dataset)
    return Network(model, images.mean, images.std, precision=config.precision, normalize_twice=twice)
