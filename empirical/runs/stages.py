"""A stage: trained once and stored, or read from there; what its network is made of."""

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
from empirical.runs.resources import Resources
from empirical.settings.keys import StageKey
from empirical.settings.rule_labels import parse_rule_schedule
from empirical.settings.run_config import RunConfig
from empirical.training.batches import row_sets
from empirical.training.checkpoint import Pauses
from empirical.training.loop import Observe, fit
from empirical.training.rules import RuleContext, build_rule
from empirical.training.step import Stage
from repro.base.ending import Stopped
from repro.base.errors import IntegrityError
from repro.records.identity import derive_seed

FACTS = ("seconds", "gradient_evaluations", "peak_memory_bytes", "diverged_at", "epochs", "seconds_mask", "ran")


@dataclass(frozen=True)
class Trained:
    """A trained stage.

    Attributes:
        stage_id: identity of the stage.
        network: the trained model on the device.
        checksum: of its weights, see `checksum_of`; None in a process that trained for another one to keep.
        facts: seconds, gradient evaluations, peak memory (the stage's on a GPU, the process's on a CPU), epochs,
            divergence, seconds of the mask, and how its steps really ran; None where a stored stage does not say.
    """

    stage_id: str
    network: Network
    facts: dict[str, Any]
    checksum: str | None = None


def train_afresh(config: RunConfig, resources: Resources, key: StageKey, rows: np.ndarray) -> Trained:
    """Return a model trained on some rows from fresh weights, by the rules, hyperparameters and seeds of its key."""
    number = key.number if key.stage == "subset" else key.unlearn_seed
    seed = derive_seed(key.seed, key.stage, *([number] if number or key.stage == "subset" else []))
    with resources.lease(key.id):
        images = resources.images(config)
        network = build_network(config, images, seed=seed, device=resources.device)
        if known := read_stage(resources, key, network):
            return known
        held = resources.train_images(config)
        schedule = parse_rule_schedule(key.rule, key.hyperparameters.epochs)
        rule, *later = (build_rule(label, RuleContext(list)) for label, _ in schedule)
        begins = itertools.accumulate(epochs for _, epochs in schedule[:-1])
        stage = Stage(
            Retrain(), rule, row_sets(images, key.hyperparameters, rows, rows[:0], device=resources.device),
            key.hyperparameters, held, augmentation(config, held.dtype), seed,
            later=dict(zip(begins, later, strict=True)), group=resources.group,
        )  # fmt: skip
        return train_stage(resources, key, network, stage)


def read_stage(resources: Resources, key: StageKey, network: Network) -> Trained | None:
    """Return a stage that the store has, its weights loaded into a network; None if it has none, or damaged ones."""
    found = resources.group.broadcast(lambda: resources.store.stages.read(key.id))
    if found is None:
        return None
    known, facts = found
    return Trained(
        key.id, restore(network, known, key.id), {name: facts.get(name) for name in FACTS}, checksum_of(known)
    )


def train_stage(
    resources: Resources, key: StageKey, network: Network, stage: Stage, *, keep: bool = True,
    observe: Observe | None = None,
) -> Trained:  # fmt: skip
    """Train a network in place, from the checkpoint of an interrupted attempt if there is one, and keep its weights.

    Args:
        resources: the store and the device; the caller holds the lease of the stage.
        key: what the stage depends on; its id is the name in the store.
        network: the network before the first step.
        stage: what it is trained on and how.
        keep: whether the weights are stored.
        observe: looks at the network during training. What it sees is stored with the stage but does not identify it:
            a stage that was trained without an observer has no such rows.

    Raises:
        Stopped: after a signal or at the deadline, when a checkpoint is written.
    """
    if on_gpu := resources.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(resources.device)
    runtime = resources.runtime
    pauses = Pauses(
        resources.store.stages.checkpoints(key.id), runtime.checkpoint_seconds, runtime.checkpoint_epochs,
        deadline=resources.deadline, only_copy=not keep,
    )  # fmt: skip
    log = fit(network, stage, resources.engine(stage.images), observe=observe, pauses=pauses)
    used = torch.cuda.max_memory_allocated(resources.device) if on_gpu else peak_memory()
    values = (log.seconds, log.gradient_evaluations, used, log.diverged_at, log.epochs, stage.mask_seconds, log.ran)
    facts: dict[str, Any] = dict(zip(FACTS, values, strict=True))
    made = save(weights(network)) if resources.group.first else None
    if keep and made is not None:
        provenance = resources.provenance(**facts, resumed=log.resumed, seconds_preparing=log.seconds_preparing)
        resources.store.stages.save(key, made, provenance)
        pauses.checkpoints.clear()
    if pauses.ending.came is not None:
        raise Stopped(pauses.ending.came)  # it came during the last steps, and waited for the stage to be stored
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
