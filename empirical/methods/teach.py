"""A method that imitates two teachers: the original on what is retained, a network that never learned on the rest."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from empirical.methods.relabel import join, mean_of
from empirical.models.network import Network, fresh
from empirical.training.batches import Examples, Phase, Rows, Sets
from empirical.training.step import Logits, Start, frozen_copy
from repro.base.parts import method
from repro.base.settings import check, setting
from repro.records.identity import derive_seed


@method("bad_teacher", label="Bad Teacher", marker="h", place=10, copies=2.0)
@dataclass(frozen=True)
class BadTeacher:
    """`L = mean KL(teacher || current)` over F and a share of R, mixed (Chundawat et al. 2023).

    The teacher is the original on R and a network with fresh weights on F; both are frozen, in evaluation mode, and
    answers are softened by the temperature T. The parts split the mean of a mixed batch by row.

    The defaults are the paper's, which trains one epoch with Adam at 1e-4 and batches of 256.
    """

    retain_share: float = setting(0.3, "share of R that an epoch reads, drawn anew", low=0, high=1, open_low=True)
    temperature: float = setting(1.0, "softmax temperature", symbol="T", low=0, open_low=True)
    parts = ("all", "retain", "forget")

    def __post_init__(self) -> None:
        check(self)

    def prepare(self, start: Start) -> Network:
        """Return the network that never learned."""
        return frozen_copy(fresh(start.network, derive_seed(start.seed, "bad teacher")))

    def phases(self, sets: Sets, epoch: int, generator: torch.Generator) -> list[Phase]:
        """Return one pass over the forget set and a share of the retain set, mixed."""
        return [Phase({"mixed": join(sets.forget, share(sets.retain, self.retain_share, generator))})]

    def loss(self, part: str, batch: Mapping[str, Examples], logits: Logits) -> Tensor:
        """Return the mean over the batch of the rows that belong to `part`."""
        mixed = batch["mixed"]
        with torch.no_grad():
            stranger = logits.prepared.logits(mixed.images)
        teacher = torch.where(mixed.forget[:, None], stranger, logits.original(mixed.images))
        ours, theirs = (F.log_softmax(one / self.temperature, dim=1) for one in (logits(mixed.images), teacher))
        return mean_of(part, F.kl_div(ours, theirs, reduction="none", log_target=True).sum(1), mixed)


def share(rows: Rows, part: float, generator: torch.Generator) -> Rows:
    """Return a share of rows, at least one, drawn without replacement."""
    count = max(1, round(part * len(rows)))
    drawn = torch.randperm(len(rows), generator=generator)[:count].to(rows.index.device)
    return Rows(rows.index[drawn], rows.labels[drawn], rows.forget[drawn], rows.batch_size)
