"""Checkpoints: the state of a stage between two steps, as bytes; a resumed stage takes the same steps, bit for bit.

Batches, labels and augmentation follow from `(seed, epoch)`, and masks from the model that the stage starts with. So a
checkpoint holds: weights and buffers, the optimizers' moments, the place in the schedule, the losses of the current
epoch, the log, and torch's random generators, which models with dropout use.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import safetensors
import torch
from safetensors.torch import load, save
from torch import Tensor

from empirical.training.together import ALONE, Processes
from repro.base.ending import Ending, Stopped
from repro.records.stages import Checkpoints

VERSION = 1


@dataclass
class Pauses:
    """Decides when a stage writes a checkpoint and when it ends early.

    Attributes:
        checkpoints: place of the checkpoints.
        seconds: time between two checkpoints, in seconds; epochs: also write after so many epochs (0: never).
        deadline: when to end, in seconds since 1970, or None.
        only_copy: whether the weights are stored nowhere else; then the end of a long stage is written too.
        ending: receives the signals that end work early.
        written: time spent writing, in seconds.
    """

    checkpoints: Checkpoints
    seconds: float = 300.0
    epochs: int = 0
    deadline: float | None = None
    only_copy: bool = False
    ending: Ending = field(default_factory=Ending.here)
    written: float = 0.0
    _last: float = field(default_factory=time.monotonic)

    def __call__(self, state: Callable[[], bytes], *, epochs: int = 0, group: Processes = ALONE) -> None:
        """Write a checkpoint if it is time.

        Args:
            state: returns the state.
            epochs: number of finished epochs at the end of an epoch; 0 within an epoch.
            group: the processes that train together: the first writes, and all end if one of them receives a signal.

        Raises:
            Stopped: after writing, if a signal came or the time is up.
        """
        heard = self.ending.reason(self.deadline)
        told = group.most(-1 if heard is None else heard)
        reason = None if told < 0 else told
        due = bool(self.epochs and epochs and epochs % self.epochs == 0)
        if reason is None and not due and time.monotonic() - self._last < self.seconds:
            return
        started = time.monotonic()
        if group.first:
            self.checkpoints.write(state())
        self._last = time.monotonic()
        self.written += self._last - started
        if reason is not None:
            raise Stopped(reason)

    def finish(self, state: Callable[[], bytes], seconds: float) -> None:
        """Write the end of a stage, if it took longer than `seconds` and its weights are stored nowhere else."""
        if self.only_copy and seconds >= self.seconds:
            self.checkpoints.write(state())


def to_bytes(model: torch.nn.Module, optimizers: list[torch.optim.Optimizer], losses: list[Tensor], said: Any) -> bytes:
    """Return a state as safetensors bytes.

    Args:
        model, optimizers: model and optimizers between two steps.
        losses: losses of the current epoch, 0-dimensional tensors.
        said: the rest of the state, as JSON values.
    """
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    for place, optimizer in enumerate(optimizers):
        for number, weight in enumerate(_weights(optimizer)):
            moments = optimizer.state.get(weight, {})
            tensors |= {f"optimizer.{place}.{number}.{n}": one for n, one in moments.items() if one is not None}
    tensors |= {"generator.cpu": torch.get_rng_state()}
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        tensors |= {"generator.cuda": torch.cuda.get_rng_state()}
    if losses:
        tensors |= {"losses": torch.stack(losses)}
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    return save(whole, metadata={"state": json.dumps({"version": VERSION, "said": said})})


def from_bytes(
    data: bytes, model: torch.nn.Module, optimizers: list[torch.optim.Optimizer], device: torch.device
) -> tuple[list[Tensor], Any]:
    """Load a state into model and optimizers, in their memory layout; return its losses and the rest."""
    tensors = load(data)
    said = described(data)
    own = {name.removeprefix("model."): one for name, one in tensors.items() if name.startswith("model.")}
    model.load_state_dict(own, strict=True)
    for place, optimizer in enumerate(optimizers):
        for number, weight in enumerate(_weights(optimizer)):
            start = f"optimizer.{place}.{number}."
            found = {name.removeprefix(start): one for name, one in tensors.items() if name.startswith(start)}
            for name, one in found.items():
                like = torch.empty_like(weight, dtype=one.dtype) if one.shape == weight.shape else one.to(weight.device)
                optimizer.state[weight][name] = like.copy_(one).detach()
    torch.set_rng_state(tensors["generator.cpu"])
    if "generator.cuda" in tensors and device.type == "cuda":
        torch.cuda.set_rng_state(tensors["generator.cuda"], device)
    losses = tensors.get("losses")
    return [] if losses is None else list(losses.to(device).unbind()), said["said"]


def described(data: bytes) -> dict[str, Any]:
    """Return the metadata of a state; empty if the bytes are no state of this version."""
    try:
        size = int.from_bytes(data[:8], "little")
        found = json.loads(json.loads(data[8 : 8 + size])["__metadata__"]["state"])
    except (ValueError, KeyError, TypeError, safetensors.SafetensorError):
        return {}
    return found if isinstance(found, dict) and found.get("version") == VERSION else {}


def _weights(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [weight for group in optimizer.param_groups for weight in group["params"]]
