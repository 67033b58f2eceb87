"""What two processes compute together, for test_together: `python -m tests.empirical.together FOLDER RANK SIZE`."""

import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn

from empirical.methods.forget import NegGrad, Scrub
from empirical.methods.relabel import RandomLabel
from empirical.methods.retain import Finetune, L1Sparse
from empirical.models.network import Network
from empirical.models.resnet import Classifier
from empirical.training.checkpoint import Pauses
from empirical.training.loop import Log, fit
from empirical.training.rules import RuleContext, build_rule
from empirical.training.together import ALONE, Processes
from repro.base.ending import Stopped
from repro.records.stages import Checkpoints
from tests.empirical.tiny import CLASSES, make_network, make_stage, original

METHODS: dict[str, Any] = {
    "finetune": Finetune(), "neggrad": NegGrad(0.8), "random_label": RandomLabel(), "scrub": Scrub(ascent_epochs=6),
    "l1_sparse": L1Sparse(0.001, 0, 6),
}  # fmt: skip
CASES = [
    ("finetune", "sgd"), ("neggrad", "sgd"), ("neggrad", "asam-0.5"), ("neggrad", "minmax-asam-0.5"),
    ("neggrad", "retain-sam-0.1"), ("random_label", "sam-0.1"), ("scrub", "sam-0.1"), ("l1_sparse", "masked-sam-0.1"),
]  # fmt: skip
EPOCHS = 6  # of three steps, on batches of seven, seven and six


def plain_network() -> Network:
    """Return a network that normalizes nothing."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        body = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Tanh(), nn.Flatten())
        return Network(Classifier(body, 12, CLASSES).double(), (0.5,), (2.0,))


NETWORKS: dict[str, Callable[[], Network]] = {"normalized": original, "plain": plain_network}


def trained(
    kind: str, method: str, label: str, *, parts: int = 2, group: Processes = ALONE, pauses: Pauses | None = None,
    epochs: int = EPOCHS, start: Callable[[], Network] | None = None, **recipe: Any,
) -> tuple[dict[str, torch.Tensor], Log]:  # fmt: skip
    """Return the weights and statistics after 18 steps, and the log; `start` takes the place of the kind's network."""
    network = (start or NETWORKS[kind])()
    generator = torch.Generator().manual_seed(4)
    mask = [torch.rand(weight.shape, generator=generator) < 0.5 for weight in network.parameters()]
    rule = build_rule(label, RuleContext(lambda: mask))
    stage = make_stage(METHODS[method], rule, batch_size=7, epochs=epochs, batch_parts=parts, **recipe)
    log = fit(network, replace(stage, group=group), pauses=pauses)
    return {name: tensor.clone() for name, tensor in network.model.state_dict().items()}, log


def interrupted(group: Processes, folder: Path) -> tuple[dict[str, torch.Tensor], Log]:
    """Return what is trained in two attempts: the second process alone hears a signal after the eighth step."""

    class Hears(Pauses):
        heard = 0

        def __call__(self, state: Callable[[], bytes], **more: Any) -> None:
            self.heard += 1
            if self.heard == 8 and group.rank == 1:
                self.ending.came = signal.SIGTERM
            super().__call__(state, **more)

    kept = Checkpoints(folder / f"states of {group.rank}")
    pauses = Hears(kept, seconds=1e9)
    with pytest.raises(Stopped, match="SIGTERM"):
        trained("normalized", "neggrad", "asam-0.5", group=group, pauses=pauses)
    dist.barrier()
    assert len(kept.numbers()) == (1 if group.first else 0), "one process writes"
    return trained("normalized", "neggrad", "asam-0.5", group=group, pauses=Pauses(kept, seconds=1e9))


def main(folder: Path, rank: int, size: int) -> None:
    """Train every case as one of `size` processes and keep what came out."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=size)
    group = Processes(rank, size)
    found: dict[str, Any] = {}
    for kind in NETWORKS:
        for method, label in CASES:
            found[f"{kind} {method} {label}"] = trained(kind, method, label, group=group)
    found["local"] = trained("plain", "neggrad", "asam-0.5", group=group, perturbation="local")
    found["four parts"] = trained("normalized", "neggrad", "minmax-asam-0.5", group=group, parts=4)
    found["apart"] = trained("normalized", "neggrad", "sgd", group=group, start=lambda: make_network(rank))
    found["interrupted"] = interrupted(group, folder)
    torch.save({name: (state, vars(log)) for name, (state, log) in found.items()}, folder / f"{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
