"""Attacks on F at equal forgetting: the AUC of the membership attack, and the epochs until F is learned again.

Two measurements of the same settings. The paper states neither for the theory, so they have no answer. AUCs are means
over seeds; epochs are medians, as relearning stops after 50 epochs.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import product
from typing import Any

import numpy as np

from theory.claims.boundary import BASE, FORGOTTEN, forgotten
from theory.claims.claim import ClaimResult, Grid, Runs, TheoryClaim, over_pairs, shown, spread
from theory.claims.comparison import PRETRAINS, RULES
from theory.config import ClaimConfig
from theory.measures.attacks import MOST_EPOCHS
from theory.stats import NOTHING, Estimate, mean_interval, quadrature_error
from theory.tables import rounded

COMPARED = ("SGD", "SAM 0.1", "SAM 1", "ASAM 0.1", "MinMax 0.1")
STRENGTHS = (0.25, 0.5, 1.0)
TYPICAL = 0.5
STAGES = ("start", "pretrained", "retrained")  # of a network that no rule has unlearned
AUC, EPOCHS = "forget_auc", "relearning_epochs"
ERRORS = ("test_error", "forget_error")


def grid(runs: Runs) -> Grid:
    """Return each rule until it has forgotten a quarter of F, named (pretraining, s, rule)."""
    base = forgotten(BASE).changed(attacks=True, directions=128)
    return {(before, s, rule): base.changed(pretrain=before, signal_strength=s, **RULES[rule])
            for before, s, rule in product(PRETRAINS, STRENGTHS, COMPARED)}  # fmt: skip


def by_stage(runs: Runs, before: str, s: float, metric: str) -> dict[str, np.ndarray]:
    """Return a metric of each stage and rule, shape `(seeds,)`; NaN where a seed did not forget as much."""
    run = runs[before, s, COMPARED[0]]
    stages = run.pretrain[metric][:, 0], run.pretrain[metric][:, -1], run.retrained[metric]
    rules = {rule: runs[before, s, rule].final(metric, matched=True) for rule in COMPARED}
    return dict(zip(STAGES, stages, strict=True)) | rules


def analyse(metric: str, runs: Runs, config: ClaimConfig) -> ClaimResult:
    """Compare a metric of every stage and rule with the retrained model's, and of every rule with SGD's, seed by
    seed."""
    rows = []
    for before, s in product(PRETRAINS, STRENGTHS):
        values, errors = by_stage(runs, before, s, metric), {one: by_stage(runs, before, s, one) for one in ERRORS}
        for name, found in values.items():
            unlearned = name in COMPARED
            row = {"pretrain": before, "signal_strength": s, "stage": "unlearned" if unlearned else name,
                   "rule": name if unlearned else ""}  # fmt: skip
            row |= spread("value", typical(metric, found, 0.0 * found, config))
            row |= spread("minus_retrained", typical(metric, found, values["retrained"], config))
            row |= {error: mean_interval(by_name[name]).value for error, by_name in errors.items()}
            if metric == EPOCHS:
                row["back"] = _share_back(found)
            if unlearned:
                run = runs[before, s, name]
                row |= spread("minus_sgd", NOTHING if name == "SGD" else typical(metric, found, values["SGD"], config))
                row |= {"reached": float(run.reached.mean())}
                if metric == AUC:
                    row["quadrature"] = quadrature_error(run.final(f"{AUC}_quadrature", matched=True).tolist())
            rows.append({key: rounded(value) for key, value in row.items()})
    return ClaimResult("", "", estimate=_between(_row(rows, "sgd", "SAM 0.1"), "minus_sgd"), rows=rows,
                       sentence=_sentence(metric, rows))  # fmt: skip


def typical(metric: str, values: np.ndarray, reference: np.ndarray, config: ClaimConfig) -> Estimate:
    """Return the excess of a metric over a reference, over seeds that have both; nothing if fewer than half have.

    AUCs give the mean difference and its t-interval, epochs the difference of medians and its bootstrap interval.

    Args:
        metric: `AUC` or `EPOCHS`.
        values, reference: shape `(seeds,)`; NaN for a seed that did not forget as much.
        config: seeds.
    """
    if metric == EPOCHS:
        return over_pairs(lambda ours, other: np.median(ours) - np.median(other), values, reference, config)
    gap = values - reference
    return mean_interval(gap) if np.isfinite(gap).sum() >= config.seeds / 2 else NOTHING


def _share_back(epochs: np.ndarray) -> float:
    """Return the share of the seeds with a value that learned F again before relearning was given up."""
    finite = epochs[np.isfinite(epochs)]
    return float(np.mean(finite < MOST_EPOCHS)) if len(finite) else float("nan")


def _row(rows: Sequence[dict[str, Any]], before: str, name: str, s: float = TYPICAL) -> dict[str, Any]:
    """Return the row of a stage or rule."""
    return next(row for row in rows if (row["pretrain"], row["signal_strength"]) == (before, s)
                and name in (row["stage"], row["rule"]))  # fmt: skip


def _between(row: dict[str, Any], name: str) -> Estimate:
    return Estimate(*(row[key] for key in (name, f"{name}_low", f"{name}_high")))


def told(rows: Sequence[dict[str, Any]], before: str, name: str) -> str:
    """Return a number of a stage or rule at the typical strength, with its interval."""
    return shown(_between(_row(rows, before, name), "value"), 2)


WORDS = {
    AUC: "Probability that a forget image has a larger margin than a fresh one (means",
    EPOCHS: "Epochs of gradient descent on F until no forget image is wrong (medians",
}


def _sentence(metric: str, rows: Sequence[dict[str, Any]]) -> str:
    parts = []
    for before in PRETRAINS:
        rules = ", ".join(f"{told(rows, before, rule)} by {rule}" for rule in COMPARED)
        parts.append(
            f"pretrained by {before.upper()}, {told(rows, before, 'pretrained')} before unlearning, "
            f"{told(rows, before, 'retrained')} retrained, and at forget error {FORGOTTEN:g} {rules}"
        )
    return f"{WORDS[metric]}, s = {TYPICAL:g}, alpha = {BASE.alpha:g}): {'; '.join(parts)}."


def attacks_section(membership: Mapping[str, Any], relearning: Mapping[str, Any]) -> str:
    """Return what both attacks find at the typical strength as Markdown.

    Args:
        membership, relearning: results of the records of both measurements.
    """
    head = ("network", *(f"{what}, pretrained by {before.upper()}" for before in PRETRAINS
                         for what in ("AUC", "epochs", "forget error")))  # fmt: skip
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    names = {"start": "random start", "pretrained": "pretrained", "retrained": "retrained on R"}
    names |= {rule: f"unlearned by {rule}" for rule in COMPARED}
    for name, words in names.items():
        settings = []
        for before in PRETRAINS:
            auc, epochs = (_row(result["rows"], before, name) for result in (membership, relearning))
            if auc["value"] is None:
                settings += ["–"] * 3
                continue
            share = "" if epochs["back"] == 1.0 else f" ({epochs['back']:.0%})"
            settings += [told(membership["rows"], before, name), told(relearning["rows"], before, name) + share,
                         f"{auc['forget_error']:.2f}"]  # fmt: skip
        lines.append(f"| {' | '.join([words, *settings])} |")
    return TEXT.format(level=FORGOTTEN, s=TYPICAL, alpha=BASE.alpha, seeds=membership["seeds"], most=MOST_EPOCHS,
                       table="\n".join(lines))  # fmt: skip


TEXT = """## Attacks on F

Two attacks on networks after NegGrad, at a forget error of {level} (alpha = {alpha}, s = {s}, {seeds} seeds;
`fig-theory-attacks` has other strengths). Radii are in units of rho_th. If the retrained model has a lower forget
error, these networks have forgotten more than they should. "Not measured" means that fewer than half of the seeds
forget as much.

- *Membership* by the margin or the loss. The AUC is the probability that a forget image has a larger margin than a
  fresh image. It is exact except for a quadrature, whose error is in the record. The retrained model must have 0.5,
  which is chance. Below 0.5 forget images look worse than fresh ones, which also reveals them. An AUC near 0.5 is not
  enough: forget images far above all fresh ones may cancel others far below.
- *Relearning* by gradient descent on F alone, at the learning rate of training. The table has the median of the epochs
  until no forget image is wrong. If some seeds need more than {most} epochs, it also has the share of seeds that need
  fewer. A network that takes longer than the retrained one shows that it saw F. Its neurons may hold noise of F against
  the label, or no neuron may see some image; this was not measured.

{table}
"""


CLAIMS = {
    "membership": TheoryClaim(
        "Membership attack in theory", "", "",
        "AUC of the membership attack on F at forget error 0.25, SAM (0.1 rho_th) minus SGD, SGD-pretrained, s = 0.5, "
        "alpha = 0.7",
        "How much is forgotten: the more, the lower the margins of F.",
        grid, partial(analyse, AUC), oracle=True,
    ),
    "relearning": TheoryClaim(
        "Relearning in theory", "", "",
        "epochs of gradient descent on F until no forget image is wrong, unlearned to forget error 0.25, SAM (0.1 "
        "rho_th) minus SGD, SGD-pretrained, s = 0.5, alpha = 0.7",
        "How much is forgotten, and whether forget images lost their margin or got one against them.",
        grid, partial(analyse, EPOCHS), oracle=True,
    ),
}  # fmt: skip
