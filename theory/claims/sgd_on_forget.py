"""The reading of Lemma 3.1 that SAM acts like SGD on the forget set."""

import numpy as np

from theory import matching
from theory.claims.finding import Claim, ClaimConfig, Finding, judge, spread
from theory.config import TheoryConfig
from theory.engine import simulate_many
from theory.stats import Estimate, mean_interval

RULES = ("SGD", "SAM 0.1", "SAM 1")
SAME_SPEED = 1.25  # epochs to forget may differ by a quarter before "acts like SGD" fails
STARTS = {"initialization": ("sgd", 0, 0), "SGD-pretrained": ("sgd", 100, 10)}


def check(config: ClaimConfig) -> Finding:
    """Compare epochs to reach forget error 0.5 (alpha = 0.7, s = 0.5), and which forget neurons stay active."""
    base = TheoryConfig(alpha=0.7, seeds=config.seeds, first_seed=config.first_seed)
    rows, parts = [], {}
    for start, (pretrain, epochs, at) in STARTS.items():
        estimate = _survival(base.changed(pretrain=pretrain, pretrain_epochs=epochs, unlearn="sam", rho_scale=1.0,
                                          epochs=at), at)  # fmt: skip
        rows.append({"measured": "active F, j = -y, that stay active at W + eps", "start": start, "epoch": at}
                    | spread("value", estimate))  # fmt: skip
        parts[f"forget neurons with j = -y stay active ({start}, epoch {at})"] = estimate.above(0.8)
    speeds = {}
    for pretrain in ("sgd", "sam"):
        cells = [matching.until_forgotten(base, pretrain=pretrain, **matching.RULES[rule]) for rule in RULES]
        runs = dict(zip(RULES, simulate_many(cells, description="SGD on F"), strict=True))
        for rule, run in runs.items():
            ratio = _speed_ratio(run, runs["SGD"])
            speeds[pretrain, rule] = ratio
            row = {"measured": "epochs to forget error 0.5, relative to SGD", "start": f"pretrained {pretrain}"}
            row |= {"rule": rule, "reached": float(matching.reached(run).mean())}
            rows.append(row | spread("value", ratio))
        for rule in RULES[1:]:
            same = speeds[pretrain, rule].below(SAME_SPEED) and speeds[pretrain, rule].above(1 / SAME_SPEED)
            parts[f"{rule} forgets as fast as SGD (pretrained {pretrain})"] = same
    return judge(parts, speeds["sgd", "SAM 0.1"], rows)


def _survival(cell: TheoryConfig, epoch: int) -> Estimate:
    run = simulate_many([cell], description="SGD on F")[0]
    column = run.epochs.tolist().index(epoch)
    active = run.metrics["active_forget_oppose"][:, column]
    near = run.metrics["active_forget_oppose_perturbed"][:, column]
    return mean_interval(np.divide(near, active, out=np.full_like(active, np.nan), where=active > 0.0))


def _speed_ratio(run, reference) -> Estimate:
    """Return the geometric mean ratio of epochs to the forget level, over the seeds both rules bring there."""
    logs = mean_interval(np.log(matching.at_epoch(run) / matching.at_epoch(reference)))
    return Estimate(*(None if value is None else float(np.exp(value)) for value in logs))


CLAIM = Claim(
    "SAM acts like SGD on F",
    "SAM abandons denoising on F and overfits it about as SGD does",
    "epochs SAM (0.1 rho_th) needs to reach forget error 0.5, relative to SGD, SGD-pretrained network",
    check,
)
