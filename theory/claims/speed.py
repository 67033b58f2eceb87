"""Whether SAM acts like SGD on F: how fast it forgets and unlearns noise, by dimension and radius."""

import numpy as np

from theory.claims.activation import KEPT, share_of
from theory.claims.claim import Claim, Finding, Grid, Part, Runs, judge, shown, spread
from theory.claims.comparison import until_forgotten
from theory.config import ClaimConfig, TheoryConfig
from theory.engine import Trajectory
from theory.stats import Estimate, mean_interval

SAME = 1.25  # a ratio of speeds may differ from 1 by a quarter either way before "acts like SGD" fails
RADII = (0.1, 0.3, 1.0)  # of SAM, in units of rho_th
DIMENSIONS = (1000, 4000, 16000, 64000, 1000000)
FIRST = 3  # epochs in which the growth of zeta on F is compared
BASE = TheoryConfig(alpha=0.7, directions=64)
# pretraining rule and dimension
SETTINGS = [*(("sgd", d) for d in DIMENSIONS), ("sam", 4000)]
# where the forget neurons with j = -y are looked at: pretraining rule and epochs, and the epoch of unlearning
KEPT_AT = {"initialization": (("sgd", 0), 0), "SGD-pretrained": (("sgd", 100), 10)}


def grid(runs: Runs) -> Grid:
    """Return each rule until it has forgotten and over the first epochs, and SAM from two starts.

    Named (pretraining, d, radius, "forgotten" or "first"), radius 0 being SGD, and by start.
    """
    cells: Grid = {}
    for pretrain, d in SETTINGS:
        for radius in (0.0, *RADII):
            rule = {"unlearn": "sam", "rho_scale": radius} if radius else {"unlearn": "sgd"}
            cell = BASE.changed(pretrain=pretrain, d=d, **rule)
            cells[pretrain, d, radius, "forgotten"] = until_forgotten(cell)
            cells[pretrain, d, radius, "first"] = cell.changed(epochs=FIRST, checkpoint_every=FIRST)
    for start, ((rule, before), epoch) in KEPT_AT.items():
        cells[start] = BASE.changed(pretrain=rule, pretrain_epochs=before, unlearn="sam", rho_scale=1.0, epochs=epoch)
    return cells


def analyse(runs: Runs, config: ClaimConfig) -> Finding:
    """Compare epochs to forget error 0.5 and the first growth of zeta on F with SGD's, and which F neurons stay."""
    parts, rows, ratios = {}, [], {}
    for pretrain, d in SETTINGS:
        for radius in RADII:
            key = (pretrain, d, radius)
            ours, sgd = runs[*key, "forgotten"], runs[pretrain, d, 0.0, "forgotten"]
            epochs = ratio(ours.epochs_needed, sgd.epochs_needed)
            growth = ratio(_growth(runs[*key, "first"]), _growth(runs[pretrain, d, 0.0, "first"]))
            ratios[key] = epochs, growth
            row = {"pretrain": pretrain, "d": d, "rho_scale": radius}
            row["reached"] = float(runs[*key, "forgotten"].reached.mean())
            rows.append(row | spread("epochs_ratio", epochs) | spread("zeta_ratio", growth))
            at = f"SAM {radius:g}, d = {d:g}, pretrained {pretrain}"
            parts[f"epochs to forget as SGD's, {at}"] = Part(epochs, 1 / SAME, SAME, "never forgets")
            parts[f"growth of zeta on F as SGD's, {at}"] = Part(growth, 1 / SAME, SAME)
    for start, (_, epoch) in KEPT_AT.items():
        kept = mean_interval(share_of(runs[start], "forget_oppose", epoch))
        rows.append({"start": start, "epoch": epoch} | spread("survive_forget_oppose", kept))
        parts[f"F, j = -y stays active, {start}, epoch {epoch}"] = Part(kept, low=KEPT, why="none active")
    headline = "epochs to forget as SGD's, SAM 0.1, d = 4000, pretrained sgd"
    sentence = (
        f"At a tenth of rho_th SAM needs {shown(ratios['sgd', 1000, 0.1][0])} times SGD's epochs to forget at d = 1000 "
        f"and {shown(ratios['sgd', 1000000, 0.1][0])} times at d = 1e6, its noise memory of F growing "
        f"{shown(ratios['sgd', 4000, 0.1][1])} times as fast in the first {FIRST} epochs; at rho_th it needs "
        f"{shown(ratios['sgd', 4000, 1.0][0])} times at d = 4000 and {shown(ratios['sgd', 1000000, 1.0][0])} at "
        "d = 1e6."
    )
    return judge(parts, headline, config, rows=rows, sentence=sentence)


def _growth(run: Trajectory) -> np.ndarray:
    """Return how far zeta on F (j = y) fell in the first epochs, shape `(seeds,)`."""
    zeta = run.metrics["zeta_forget"]
    return zeta[:, 0] - zeta[:, -1]


def ratio(values: np.ndarray, reference: np.ndarray) -> Estimate:
    """Return the geometric mean ratio over the seeds where both are positive, with its 95 % interval."""
    both = (values > 0) & (reference > 0)
    logs = mean_interval(np.log(values[both] / reference[both]))
    value, low, high = (None if end is None else float(np.exp(end)) for end in logs[:3])
    return Estimate(value, low, high, logs.seeds)


CLAIMS = {
    "lemma-3.1-sgd-on-forget": Claim(
        "SAM acts like SGD on F",
        "SAM abandons denoising on F and overfits it about as SGD does",
        "epochs SAM (0.1 rho_th) needs to reach forget error 0.5, relative to SGD, d = 4000, SGD-pretrained network",
        "Radius and dimension: the ratio falls towards 1 as d grows and the radius shrinks, and grows with the radius.",
        grid, analyse,
    ),
}  # fmt: skip
