"""Lemma 3.1: which noise neurons the SAM perturbation switches off."""

import numpy as np

from theory.claims.finding import Claim, ClaimConfig, Finding, judge, spread
from theory.coefficients import SIDES
from theory.config import TheoryConfig
from theory.engine import simulate_many
from theory.stats import mean_interval
from theory.trajectory import Trajectory

STARTS = {"initialization": ("sgd", 0), "SAM-pretrained": ("sam", 100), "SGD-pretrained": ("sgd", 100)}
EPOCHS = (0, 10)
SWITCHED_OFF, KEPT = 0.5, 0.8  # "deactivates" means at least half, "leaves active" at least four fifths


def check(config: ClaimConfig) -> Finding:
    """Measure active shares at W and W + eps (full radius, alpha = 0.7, s = 0.5), before and during SAM unlearning."""
    base = TheoryConfig(alpha=0.7, unlearn="sam", rho_scale=1.0, epochs=max(EPOCHS), seeds=config.seeds,
                        first_seed=config.first_seed)  # fmt: skip
    cells = [base.changed(pretrain=pretrain, pretrain_epochs=epochs) for pretrain, epochs in STARTS.values()]
    found = dict(zip(STARTS, simulate_many(cells, description="Lemma 3.1"), strict=True))
    rows = [_row(start, epoch, run) for start, run in found.items() for epoch in EPOCHS]
    parts = {}
    for start, run in found.items():
        off, kept = 1 - _survival(run, "retain_match", 0), _survival(run, "forget_match", 0)
        parts[f"{start} network, epoch 0"] = bool(np.mean(off) >= SWITCHED_OFF and np.mean(kept) >= KEPT)
    estimate = mean_interval(1 - _survival(found["SAM-pretrained"], "retain_match", 0))
    return judge(parts, estimate, rows)


def _survival(run: Trajectory, group: str, epoch: int) -> np.ndarray:
    """Return the share of active neurons that stay active at W + eps, shape `(seeds,)`."""
    column = run.epochs.tolist().index(epoch)
    active = run.metrics[f"active_{group}"][:, column]
    return np.divide(run.metrics[f"active_{group}_perturbed"][:, column], active, out=np.full_like(active, np.nan),
                     where=active > 0.0)  # fmt: skip


def _row(start: str, epoch: int, run: Trajectory) -> dict:
    column = run.epochs.tolist().index(epoch)
    row = {"start": start, "epoch": epoch}
    for side in SIDES:
        for sign in ("match", "oppose"):
            for where in ("", "_perturbed"):
                name = f"active_{side}_{sign}{where}"
                row |= spread(name, mean_interval(run.metrics[name][:, column]))
    return row


CLAIM = Claim(
    "Lemma 3.1: activation pattern",
    "the SAM perturbation deactivates the noise neurons of retain samples but leaves those of forget samples active "
    "under NegGrad",
    "share of active retain noise neurons (j = y) that the perturbation switches off, SAM-pretrained network",
    check,
)
