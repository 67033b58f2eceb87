"""Lemma 3.1: which noise neurons the SAM perturbation switches off, and whether SAM then acts like SGD on F."""

import numpy as np

from theory.claims.claim import Claim, Finding, Grid, Runs, judge, spread
from theory.claims.comparison import RULES, until_forgotten
from theory.config import ClaimConfig, TheoryConfig
from theory.engine import Trajectory
from theory.measure import ACTIVATION_METRICS
from theory.stats import Estimate, mean_interval

SWITCHED_OFF, KEPT = 0.5, 0.8  # "deactivates" means at least half, "leaves active" at least four fifths
SAME_SPEED = 1.25  # epochs to forget may differ by a quarter before "acts like SGD" fails
SPEED_RULES = ("SGD", "SAM 0.1", "SAM 1")
# start: pretraining rule and its epochs
STARTS = {"initialization": ("sgd", 0), "SAM-pretrained": ("sam", 100), "SGD-pretrained": ("sgd", 100)}
EPOCHS = (0, 10)
# where the forget neurons of SAM unlearning are looked at: start and epoch
KEPT_AT = {"initialization": 0, "SGD-pretrained": 10}


def survival(run: Trajectory, group: str, epoch: int) -> np.ndarray:
    """Return the share of active neurons that stay active at W + eps, shape `(seeds,)`.

    Args:
        run: unlearning with SAM.
        group: side and sign, such as "retain_match" (noise of retain samples, neurons with `j = y`).
        epoch: a checkpoint.
    """
    column = run.epochs.tolist().index(epoch)
    active, near = (run.metrics[f"active_{group}{where}"][:, column] for where in ("", "_perturbed"))
    return np.divide(near, active, out=np.full_like(active, np.nan), where=active > 0.0)


def pattern_grid() -> Grid:
    """Return SAM unlearning from each start, at full radius, alpha = 0.7 and s = 0.5."""
    base = TheoryConfig(alpha=0.7, unlearn="sam", rho_scale=1.0, epochs=max(EPOCHS))
    return {start: base.changed(pretrain=rule, pretrain_epochs=epochs) for start, (rule, epochs) in STARTS.items()}


def pattern(runs: Runs, config: ClaimConfig) -> Finding:
    """Measure active shares at W and W + eps before and during SAM unlearning; the verdict looks before it."""
    rows, parts = [], {}
    for start, run in runs.items():
        for epoch in EPOCHS:
            column = run.epochs.tolist().index(epoch)
            row = {"start": start, "epoch": epoch}
            for name in ACTIVATION_METRICS:
                row |= spread(name, mean_interval(run.metrics[name][:, column]))
            rows.append(row)
        off, kept = 1 - survival(run, "retain_match", 0), survival(run, "forget_match", 0)
        parts[f"{start} network, epoch 0"] = bool(np.mean(off) >= SWITCHED_OFF and np.mean(kept) >= KEPT)
    estimate = mean_interval(1 - survival(runs["SAM-pretrained"], "retain_match", 0))
    return judge(parts, estimate, rows)


def speed_grid() -> Grid:
    """Return SAM unlearning from two starts, and each rule until it has forgotten, named (pretraining, rule)."""
    base, cells = TheoryConfig(alpha=0.7), pattern_grid()
    found: Grid = {start: cells[start].changed(epochs=epoch) for start, epoch in KEPT_AT.items()}
    for pretrain in ("sgd", "sam"):
        for rule in SPEED_RULES:
            found[pretrain, rule] = until_forgotten(base.changed(pretrain=pretrain, **RULES[rule]))
    return found


def speed(runs: Runs, config: ClaimConfig) -> Finding:
    """Compare epochs to reach forget error 0.5 (alpha = 0.7, s = 0.5), and which forget neurons stay active."""
    rows, parts = [], {}
    for start, epoch in KEPT_AT.items():
        kept = mean_interval(survival(runs[start], "forget_oppose", epoch))
        row = {"measured": "active F, j = -y, that stay active at W + eps", "start": start, "epoch": epoch}
        rows.append(row | spread("value", kept))
        parts[f"forget neurons with j = -y stay active ({start}, epoch {epoch})"] = kept.above(KEPT)
    for pretrain in ("sgd", "sam"):
        for rule in SPEED_RULES:
            run = runs[pretrain, rule]
            ratio = speed_ratio(run, runs[pretrain, "SGD"])
            row = {"measured": "epochs to forget error 0.5, relative to SGD", "start": f"pretrained {pretrain}"}
            row |= {"rule": rule, "reached": float(run.reached.mean())}
            rows.append(row | spread("value", ratio))
            if rule != "SGD":
                same = ratio.below(SAME_SPEED) and ratio.above(1 / SAME_SPEED)
                parts[f"{rule} forgets as fast as SGD (pretrained {pretrain})"] = same
    return judge(parts, speed_ratio(runs["sgd", "SAM 0.1"], runs["sgd", "SGD"]), rows)


def speed_ratio(run: Trajectory, reference: Trajectory) -> Estimate:
    """Return the geometric mean ratio of epochs to the forget level, over the seeds both rules bring there."""
    logs = mean_interval(np.log(run.epochs_needed / reference.epochs_needed))
    return Estimate(*(None if value is None else float(np.exp(value)) for value in logs))


CLAIMS = {
    "lemma-3.1-activation": Claim(
        "Lemma 3.1: activation pattern",
        "the SAM perturbation deactivates the noise neurons of retain samples but leaves those of forget samples "
        "active under NegGrad",
        "share of active retain noise neurons (j = y) that the perturbation switches off, SAM-pretrained network",
        pattern_grid, pattern,
    ),
    "lemma-3.1-sgd-on-forget": Claim(
        "SAM acts like SGD on F",
        "SAM abandons denoising on F and overfits it about as SGD does",
        "epochs SAM (0.1 rho_th) needs to reach forget error 0.5, relative to SGD, SGD-pretrained network",
        speed_grid, speed,
    ),
}  # fmt: skip
