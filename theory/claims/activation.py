"""Lemma 3.1: which noise neurons the SAM perturbation switches off, and the threshold that decides it.

A second claim compares random labels with NegGrad in the same networks: is the joint sign pattern the same?

A neuron survives if it is active at W *and* at W + eps; a share at W + eps alone would also count neurons that the
perturbation switches on. One number decides it: the depth V / V_c, the preactivation over the survival threshold of
`theory.steps.dynamics.probe`. A radius in units of rho_th depends on sqrt(m) / P and on the batch size instead.
"""

from itertools import product

import numpy as np

from theory.claims.claim import ClaimResult, Grid, Part, Runs, TheoryClaim, judge, shown, spread
from theory.config import ClaimConfig, TheoryConfig
from theory.engine import Trajectory
from theory.measures.metrics import SIDES
from theory.stats import mean_interval

SWITCHED_OFF, STAYS = 0.5, 0.8  # "deactivates" means at least half, "leaves active" at least four fifths
# start: pretraining rule and its epochs
STARTS = {"SGD-pretrained": ("sgd", 100), "SAM-pretrained": ("sam", 100), "initialization": ("sgd", 0)}
RADII = (0.1, 0.3, 1.0, 3.0, 10.0)  # of the probe, in units of rho_th
JUDGED = (0.1, 1.0, 3.0)
SAME = 0.05  # difference of two shares that counts as none
EPOCHS = (0, 10)
GROUPS = tuple(f"{side}_{sign}" for side in SIDES for sign in ("match", "oppose"))


def share_of(run: Trajectory, group: str, epoch: int, what: str = "_joint") -> np.ndarray:
    """Return the share of active neurons that survive the perturbation, or are predicted to, shape `(seeds,)`.

    Args:
        run: unlearning with SAM.
        group: side and sign, such as "retain_match" (noise of retain samples, neurons with `j = y`).
        epoch: a checkpoint.
        what: "_joint", active at W and at W + eps, or "_predicted", active and deeper than the survival threshold.
    """
    column = run.epochs.tolist().index(epoch)
    active, stay = (run.metrics[f"active_{group}{where}"][:, column] for where in ("", what))
    return np.divide(stay, active, out=np.full_like(active, np.nan), where=active > 0.0)


def grid(runs: Runs) -> Grid:
    """Return ten epochs of SAM unlearning at full radius from each start, probed at each radius, named (start, radius).

    alpha = 0.7 and s = 0.5.
    """
    base = TheoryConfig(alpha=0.7, unlearn="sam", rho_scale=1.0, epochs=max(EPOCHS), checkpoint_every=10, directions=64)
    return {(start, radius): base.changed(pretrain=STARTS[start][0], pretrain_epochs=STARTS[start][1],
                                          probe_rho_scale=radius)
            for start, radius in product(STARTS, RADII)}  # fmt: skip


def analyse(runs: Runs, config: ClaimConfig) -> ClaimResult:
    """Measure the joint shares before and during SAM unlearning, and those of the threshold; the answer uses those
    before."""
    parts, rows = {}, []
    for (start, radius), run in runs.items():
        rows += [_row(run, start, radius, epoch) for epoch in EPOCHS]
        if radius in JUDGED:
            off, stay = (mean_interval(share) for share in (1 - share_of(run, "retain_match", 0),
                                                            share_of(run, "forget_match", 0)))  # fmt: skip
            parts[_off(start, radius)] = Part(off, low=SWITCHED_OFF, inside=radius == 1.0)
            stays = f"F, j = y stays active, {start}, {radius:g} rho_th"
            parts[stays] = Part(stay, low=STAYS, inside=radius == 1.0)
    return judge(parts, _off("SGD-pretrained", 1.0), config, rows=rows, sentence=_sentence(runs))


def _off(start: str, radius: float) -> str:
    return f"R, j = y switched off, {start}, {radius:g} rho_th"


def _row(run: Trajectory, start: str, radius: float, epoch: int) -> dict:
    """Return active, surviving and predicted shares of every group, and the depth below which neurons switch off."""
    row: dict = {"start": start, "epoch": epoch, "rho_scale": radius}
    column = run.epochs.tolist().index(epoch)
    for group in GROUPS:
        row[f"active_{group}"] = float(np.mean(run.metrics[f"active_{group}"][:, column]))
        row |= spread(f"survive_{group}", mean_interval(share_of(run, group, epoch)))
        row[f"predicted_{group}"] = mean_interval(share_of(run, group, epoch, "_predicted")).value
    row |= spread("depth", mean_interval(run.metrics["depth_retain_match"][:, column]))
    row["radius_in_V_over_V_c"] = None if not row["depth"] else 1 / row["depth"]
    return {name: float("nan") if value is None else value for name, value in row.items()}


def _sentence(runs: Runs) -> str:
    off = {start: mean_interval(1 - share_of(runs[start, 1.0], "retain_match", 0)) for start in STARTS}
    stay = [share_of(run, "forget_match", 0).mean() for run in runs.values()]
    gaps = [abs(share_of(run, "retain_match", 0).mean() - share_of(run, "retain_match", 0, "_predicted").mean())
            for run in runs.values()]  # fmt: skip
    depth = mean_interval(runs["SGD-pretrained", 1.0].metrics["depth_retain_match"][:, 0])
    return (
        "A retain neuron with j = y survives the perturbation iff V > V_c = rho sigma_p sqrt(d) r_i / |r|_active "
        f"(the surviving share is right to within {max(gaps):.3f} at any start and radius): rho_th switches off a "
        f"share {shown(off['SAM-pretrained'])} of them after SAM pretraining, {shown(off['initialization'])} at "
        f"initialization and {shown(off['SGD-pretrained'])} after SGD, whose preactivations lie {shown(depth, 2)} "
        f"times as deep as V_c; of the forget neurons with j = y at least {min(stay):.3f} stay."
    )


def label_grid(runs: Runs) -> Grid:
    """Return each start probed at rho_th before any unlearning, under both methods, named (start, method)."""
    settings = {start: setting for (start, radius), setting in grid(runs).items() if radius == 1.0}
    return {(start, method): setting.changed(epochs=0, method=method)
            for (start, setting), method in product(settings.items(), ("neggrad", "random_label"))}  # fmt: skip


def analyse_labels(runs: Runs, config: ClaimConfig) -> ClaimResult:
    """Compare the joint shares of every group under random labels with those under NegGrad, at rho_th."""
    parts, rows = {}, []
    for start, group in product(STARTS, GROUPS):
        ours, neggrad = (share_of(runs[start, method], group, 0) for method in ("random_label", "neggrad"))
        active = runs[start, "neggrad"].metrics[f"active_{group}"][:, 0]
        row = {"start": start, "group": group, "active": float(active.mean())}
        row |= spread("random_label", mean_interval(ours)) | spread("neggrad", mean_interval(neggrad))
        difference = mean_interval(ours - neggrad)
        if difference.value is not None:  # a group in which no neuron is active has no pattern
            parts[f"{group}, {start}"] = Part(difference, -SAME, SAME)
        rows.append({name: float("nan") if value is None else value for name, value in row.items()}
                    | spread("difference", difference))  # fmt: skip
    values = {name: abs(part.estimate.value or 0.0) for name, part in parts.items()}
    worst = {start: max(value for name, value in values.items() if name.endswith(start)) for start in STARTS}
    sentence = (
        f"At rho_th the perturbation under random labels leaves the same share of noise neurons active as under "
        f"NegGrad: the largest difference of a group is {worst['initialization']:.3f} at initialization, "
        f"{worst['SAM-pretrained']:.3f} after SAM pretraining and {worst['SGD-pretrained']:.3f} after SGD."
    )
    return judge(parts, "forget_match, initialization", config, rows=rows, sentence=sentence)


CLAIMS = {
    "lemma-3.1-activation": TheoryClaim(
        "Lemma 3.1: activation pattern",
        "the SAM perturbation deactivates the noise neurons of retain samples but leaves those of forget samples "
        "active under NegGrad",
        "The radius is rho_th.",
        "share of active retain noise neurons (j = y) that the perturbation of radius rho_th switches off (joint "
        "share), SGD-pretrained network",
        "A radius above the depth of the preactivations: whatever makes V smaller than V_c (SAM pretraining, a small "
        "start, a larger rho) switches the neurons off, whatever makes it larger keeps them.",
        grid, analyse,
    ),
    "random-labels": TheoryClaim(
        "Random labels",
        "the same analysis with forget labels flipped: the sign pattern of activations is that of NegGrad",
        "The radius is rho_th, the networks are those before unlearning.",
        "share of active forget noise neurons (j = y) that survive the perturbation of radius rho_th, random labels "
        "minus NegGrad, at initialization",
        "A forget set that is memorized: there the loss of a flipped label is large and that of the true one small, so "
        "the two methods weigh F differently.",
        label_grid, analyse_labels,
    ),
}  # fmt: skip
