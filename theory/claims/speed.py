"""Lemma 3.1, consequence: whether SAM acts like SGD on F, by the noise memory it leaves there at equal forgetting."""

from itertools import product

import numpy as np

from theory.claims.claim import ClaimResult, Grid, Part, Runs, TheoryClaim, judge, over_pairs, shown, spread
from theory.claims.comparison import PRETRAINS, until_forgotten
from theory.config import ClaimConfig, TheoryConfig
from theory.engine import Trajectory
from theory.stats import mean_interval

SAME = 1.25  # "acts like SGD" means a memory within a quarter of SGD's
RADII = (0.1, 0.3, 1.0)  # of SAM, in units of rho_th
DIMENSIONS = (1000, 4000, 16000, 64000, 1000000)
BASE = TheoryConfig(alpha=0.7, directions=64)


def grid(runs: Runs) -> Grid:
    """Return each rule until it has forgotten half of F, named (pretraining, d, radius); radius 0 is SGD."""
    settings: Grid = {}
    for before, d, radius in product(PRETRAINS, DIMENSIONS, (0.0, *RADII)):
        rule = {"unlearn": "sam", "rho_scale": radius} if radius else {"unlearn": "sgd"}
        settings[before, d, radius] = until_forgotten(BASE.changed(pretrain=before, d=d, **rule))
    return settings


def opposing_memory(run: Trajectory) -> np.ndarray:
    """Return zeta on F of the neurons with j = -y at equal forgetting, shape `(seeds,)`; NaN where a seed forgot less.

    These neurons anti-memorize: the larger their zeta, the more F was unlearned by noise.
    """
    return run.final("zeta_forget_oppose", matched=True)


def analyse(runs: Runs, config: ClaimConfig) -> ClaimResult:
    """Compare the opposing noise memory of F at equal forgetting with SGD's; the table also has the epochs."""
    parts, rows, memory = {}, [], {}
    for before, d, radius in product(PRETRAINS, DIMENSIONS, (0.0, *RADII)):
        run, sgd = runs[before, d, radius], runs[before, d, 0.0]
        memory[before, d, radius] = mean_interval(opposing_memory(run))
        ratio = over_pairs(lambda ours, other: ours.mean() / other.mean(), opposing_memory(run), opposing_memory(sgd),
                           config)  # fmt: skip
        row = {"pretrain": before, "d": d, "rho_scale": radius, "reached": float(run.reached.mean())}
        row |= spread("opposing_memory", memory[before, d, radius]) | spread("memory_ratio", ratio)
        rows.append(row | {"epochs_ratio": mean_interval(run.epochs_needed / sgd.epochs_needed).value})
        if radius:
            parts[_part_name(before, d, radius)] = Part(ratio, 1 / SAME, SAME, "never forgets", inside=radius == 1.0)
    told = {key: shown(memory[key], 2) for key in memory}
    sentence = (
        f"At forget error .5 the neurons that anti-memorize F hold {told['sgd', 4000, 0.0]} of noise memory after SGD, "
        f"{told['sgd', 4000, 0.1]} after SAM at a tenth of rho_th and {told['sgd', 4000, 1.0]} at rho_th (pretrained "
        f"by SGD, d = 4000, alpha = .7). At d = 1e6 they hold {told['sgd', 1000000, 0.0]} after SGD and "
        f"{told['sgd', 1000000, 1.0]} after SAM at rho_th; after SAM pretraining, d = 4000, {told['sam', 4000, 0.0]} "
        f"after SGD and {told['sam', 4000, 0.1]} after SAM at a tenth."
    )
    return judge(parts, _part_name("sgd", 4000, 1.0), config, rows=rows, sentence=sentence)


def _part_name(before: str, d: int, radius: float) -> str:
    return f"opposing memory as SGD's, SAM {radius:g}, d = {d:g}, pretrained {before}"


CLAIMS = {
    "lemma-3.1-sgd-on-forget": TheoryClaim(
        "SAM acts like SGD on F",
        "SAM abandons denoising on F and overfits it about as SGD does",
        "The radius is rho_th; both rules have forgotten equally much.",
        "opposing noise memory of F (neurons j = -y) at forget error 0.5, SAM (rho_th) over SGD, d = 4000, "
        "alpha = 0.7, SGD-pretrained network (claimed: 1)",
        "The pretraining and the dimension: after SAM pretraining and at large d the memories come nearer.",
        grid, analyse,
    ),
}  # fmt: skip
