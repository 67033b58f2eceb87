"""The paper's own score in the theory: tug of war (ToW) with the retrained model, at each rule's best epoch."""

from itertools import product

import numpy as np

from repro.statistics.spread import tug_of_war
from theory.claims.claim import ClaimResult, Grid, Part, Runs, TheoryClaim, judge, shown, spread
from theory.claims.comparison import PRETRAINS, RULES
from theory.config import ClaimConfig, TheoryConfig
from theory.engine import Trajectory
from theory.stats import mean_interval

COMPARED = ("SGD", "SAM 0.1", "SAM 1", "ASAM 0.1", "retain-only SAM 0.1", "MinMax 0.1")
BEFORE = (*PRETRAINS, "asam")
STRENGTHS, ALPHAS = (0.25, 0.5, 1.0, 2.0), (0.5, 0.7, 0.9)
TYPICAL = {"s": 0.5, "alpha": 0.7}
MARGIN = 0.01  # difference in ToW that counts as none
SETS = ("retain", "forget", "test")


def tow_curve(run: Trajectory) -> np.ndarray:
    """Return ToW with the model retrained on R at every checkpoint, shape `(seeds, checkpoints)`, in [0, 1]."""
    ours = 1 - np.stack([run.metrics[f"{name}_error"] for name in SETS], axis=-1)
    reference = 1 - np.stack([run.retrained[f"{name}_error"] for name in SETS], axis=-1)
    return tug_of_war(ours, reference[:, None])


def at_best_epoch(curve: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return each seed's ToW at the checkpoint that is best on average over the other seeds, and its place.

    The best epoch of a seed is unknown in advance; choosing it on the seed itself would count noise as success.

    Args:
        curve: shape `(seeds, checkpoints)`, at least two seeds.
    """
    others = (curve.sum(axis=0) - curve) / (len(curve) - 1)
    places = others.argmax(axis=1)
    return curve[np.arange(len(curve)), places], places


def grid(runs: Runs) -> Grid:
    """Return 200 epochs of NegGrad by each rule after each pretraining, named (pretraining, s, alpha, rule)."""
    base = TheoryConfig(directions=256)
    return {(before, s, alpha, rule): base.changed(pretrain=before, signal_strength=s, alpha=alpha, **RULES[rule])
            for before, s, alpha, rule in product(BEFORE, STRENGTHS, ALPHAS, COMPARED)}  # fmt: skip


def analyse(runs: Runs, config: ClaimConfig) -> ClaimResult:
    """Compare every rule's ToW at its best epoch with SGD's on the same seeds."""
    parts, rows = {}, []
    for before, s, alpha in product(BEFORE, STRENGTHS, ALPHAS):
        sgd = at_best_epoch(tow_curve(runs[before, s, alpha, "SGD"]))[0]
        for rule in COMPARED:
            run = runs[before, s, alpha, rule]
            curve = tow_curve(run)
            best, places = at_best_epoch(curve)
            gain = mean_interval(best - sgd)
            if rule != "SGD":
                passed = np.median(places) < curve.shape[1] - 1  # else it may still rise
                inside = bool(rule == "SAM 0.1" and before in PRETRAINS and passed)
                parts[_part_name(rule, before, s, alpha)] = Part(gain, low=0.0, inside=inside, margin=MARGIN)
            row = {"pretrain": before, "signal_strength": s, "alpha": alpha, "rule": rule}
            row |= spread("tow", mean_interval(best)) | spread("minus_sgd", gain)
            row |= {"epoch": float(np.median(run.epochs[places])), "untouched": float(curve[:, 0].mean()),
                    "epochs": run.epochs.tolist(), "curve": np.round(curve.mean(axis=0), 4).tolist()}  # fmt: skip
            rows.append(row)
    return judge(parts, _part_name("SAM 0.1", "sgd", *TYPICAL.values()), config, rows=rows, sentence=_sentence(parts))


def _part_name(rule: str, before: str, s: float, alpha: float) -> str:
    return f"{rule}, pretrained {before}, s = {s:g}, alpha = {alpha:g}"


def _sentence(parts: dict[str, Part]) -> str:
    after = {(rule, before): shown(parts[_part_name(rule, before, *TYPICAL.values())].estimate)
             for rule in COMPARED[1:] for before in PRETRAINS}  # fmt: skip
    more = "; ".join(f"{rule} {after[rule, 'sgd']} and {after[rule, 'sam']}" for rule in COMPARED[2:])
    return (
        f"At its best epoch, chosen on other seeds, ToW of SAM at a tenth of rho_th minus that of SGD is "
        f"{after['SAM 0.1', 'sgd']} after SGD pretraining and {after['SAM 0.1', 'sam']} after SAM (s = .5, alpha = "
        f".7). The other rules, after SGD and after SAM: {more}."
    )


CLAIMS = {
    "tug-of-war": TheoryClaim(
        "ToW in theory",
        "SAM unlearns better than SGD by ToW, whatever the pretraining",
        "Each rule is at its best epoch, and has passed it within 200 epochs.",
        "ToW of SAM (0.1 rho_th) minus SGD, each at its best epoch chosen on other seeds, SGD-pretrained, s = 0.5, "
        "alpha = 0.7",
        "The pretraining and the strength of the signal: where the retrained model has no forget error, the pretrained "
        "model is already close to it and no rule has anything to gain.",
        grid, analyse, oracle=True,
    ),
}  # fmt: skip
