"""The laws of the theory as one table from the records of the claims: formula, exponent, hypothesis, largest error."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from theory.claims import attacks, scaling
from theory.claims.boundary import RANDOM_START, random_start_errors, row_of
from theory.claims.bounds import OVERLAP, S_0
from theory.claims.scaling import boundary_errors, worst_exponent
from theory.claims.surplus import ratio_errors

Row = dict[str, Any]
Rows = list[Row]


@dataclass(frozen=True)
class Law:
    """One law and the claim whose record measures it.

    Attributes:
        claim: identifier of the claim.
        title: what it is about.
        order: the order parameter; the quantity depends on nothing else.
        formula: the law.
        exponent: takes the rows of the record and returns a measured exponent or value with its interval.
        error: takes the rows and returns the largest error of the formula and the number of measurements.
        figure: where it is drawn.
        own: the hypothesis of a law that is no claim of the paper, which has no answer.
    """

    claim: str
    title: str
    order: str
    formula: str
    exponent: Callable[[Rows], str]
    error: Callable[[Rows], str]
    figure: str
    own: str = ""


def _between(row: Row, name: str = "exponent", digits: int = 3) -> str:
    value, low, high = (row.get(key) for key in (name, f"{name}_low", f"{name}_high"))
    return "–" if value is None else f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def _largest(errors: Sequence[float]) -> str:
    return f"{max(errors):.0%} ({len(errors)})" if errors else "–"


def _mean_field(rows: Rows) -> list[float]:
    return [abs(ours / found - 1) for row in rows if row.get("predicted")
            for ours, found in zip(row["predicted"], row["boundary"], strict=True) if ours and found]  # fmt: skip


def _crossing(rows: Rows) -> list[float]:
    return [abs(law / found - 1) for row in rows for law, found in
            zip(row.get("crossover", ()), row["boundary_strength"], strict=False) if law and found]  # fmt: skip


def _survival(rows: Rows) -> str:
    gaps = [abs(row["survive_retain_match"] - row["predicted_retain_match"]) for row in rows
            if row["survive_retain_match"] is not None and row["predicted_retain_match"] is not None]  # fmt: skip
    return f"{max(gaps):.3f} ({len(gaps)})"


def _of(rows: Rows, **values: Any) -> Row:
    return next(row for row in rows if all(row.get(name) == value for name, value in values.items()))


def _at_equal_forgetting(unit: str, rows: Rows) -> str:
    parts = [f"{attacks.told(rows, 'sgd', name)} {name}" for name in ("pretrained", "retrained", "SGD", "SAM 0.1")]
    return f"{unit} {', '.join(parts)}"


LAWS = (
    Law("lemma-3.1-activation", "Survival under the perturbation", "V / V_c",
        "a retain neuron with j = y stays active iff V > V_c = rho sigma_p sqrt(d) r_i / \\|r\\|_active",
        lambda rows: "–", _survival, "fig-theory-survival"),
    Law("lemma-3.1-sgd-on-forget", "Noise memory of F at equal forgetting", "zeta_F of neurons j = -y",
        "SAM at rho_th leaves none where SGD leaves some",
        lambda rows: "ratio " + _between(_of(rows, pretrain="sgd", d=4000, rho_scale=1.0), "memory_ratio", 2),
        lambda rows: "–", ""),
    Law("theorem-3.2-sgd-boundary", "Boundary of SGD", "s = \\|phi\\| / ((P-1) sigma_p (d/n)^(1/4))",
        f"s* = {S_0}, or by the mean field",
        lambda rows: f"d: {_between(rows[0])}; n: {_between(rows[1])}",
        lambda rows: f"mean field {_largest(_mean_field(rows))}", "fig-theory-phase"),
    Law("theorem-3.2-sgd-boundary", "Crossover to the random start", "r, start noise over learned noise",
        f"s* = {S_0} (1 + r^2 / (1 + (m-1) a))^(1/4), a = {OVERLAP}",
        lambda rows: "d at sigma_0 ~ d^(-1/2): " + ", ".join(
            f"{value:.2f}" for value in row_of(rows, "pretrained, sigma_0 ~ d^(-1/2), to d = 1e7")["local_exponent"]
            if value is not None),
        lambda rows: _largest(_crossing(rows)), "fig-theory-phase", "SGD trains to a small loss, whatever the start."),
    Law("theorem-3.3-sam-boundary", "Boundary of a trained SAM network", "\\|phi\\|",
        "\\|phi\\|* <= constant", lambda rows: f"d: {_between(rows[0])}", lambda rows: "–",
        "fig-theory-phase"),
    Law("theorem-3.3-sam-boundary", "Boundary of the random start", "eta N \\|phi\\|^2 / (4 m)",
        "\\|phi\\|*^2 = 4 m 1.28 (P-1) sigma_p sigma_0 sqrt(d) sqrt((1 - 1/pi) / m) / (eta N)",
        lambda rows: "d: " + _between(row_of(rows, f"{RANDOM_START}100 epochs, eta fixed")),
        lambda rows: _largest([*random_start_errors(rows).values()]), "fig-theory-phase",
        "SAM runs for so few epochs that the loss is still large."),
    Law("lemma-3.4-surplus-difference", "Signal surplus of SAM", "Y = eta N \\|phi\\|^2 / (4 m), X",
        "kappa_SAM = f(2Y), kappa_SGD = f(2Y + X) 2Y / (2Y + X), f(z) + e^f(z) = 1 + z",
        lambda rows: "\\|phi\\|: " + _between(_of(rows, stage="pretraining", d=4000, epochs=100, branch="linear")),
        lambda rows: f"ratio {_largest(ratio_errors(rows))}", "fig-theory-surplus"),
    Law("lemma-3.4-alpha-gap", "Gap of the thresholds of alpha", "odds alpha / (1 - alpha)",
        "odds gap <= C sqrt(d / n)",
        lambda rows: "C = " + _between(max(rows, key=lambda row: row["sup"] or 0.0), "sup", 2), lambda rows: "–",
        "fig-theory-alpha"),
    Law("sharp-minmax", "Boundary of sharpness maximization", "s at equal forgetting",
        "s* of the forget part is above that of SGD",
        lambda rows: "; ".join(
            f"+{_between(_of(rows, pretrain='sgd', rule=rule), 'shift', 2)} at {rule.split()[-1]} rho_th"
            for rule in ("sharpness maximization 0.1", "sharpness maximization 1")),
        lambda rows: "–", ""),
    Law("scaling", "Boundary along a path in d", "a, b, c: sigma_0 ~ d^(-a), epochs ~ d^b, n ~ d^c",
        "\\|phi\\|* ~ d^x; SGD: x = max((1-c)/4, 3/4 - (a+c)/2); SAM: b/2 less",
        lambda rows: "x is off by at most " + " and ".join(
            f"{worst_exponent(rows, rule):.2f} ({rule.upper()})" for rule in ("sgd", "sam")),
        lambda rows: f"mean field {_largest([error for row in rows for error in boundary_errors(row)])}",
        "fig-theory-scaling", "eta ~ 1/d; a is in [1/2, 1], b and c in [0, 1/2]."),
    Law("membership", "Membership attack on F", "margin y f of forget and fresh images",
        "AUC = mean over F of P(fresh margin < y_i f_i)", partial(_at_equal_forgetting, "AUC"),
        lambda rows: f"quadrature {max(row['quadrature'] or 0.0 for row in rows if 'quadrature' in row):.4f}",
        "fig-theory-attacks", "Forget error .25; s = .5, alpha = .7, pretrained by SGD."),
    Law("relearning", "Relearning of F", "epochs of gradient descent on F alone", "until no forget image is wrong",
        partial(_at_equal_forgetting, "epochs"), lambda rows: "–", "fig-theory-attacks",
        "Forget error .25; s = .5, alpha = .7, pretrained by SGD."),
)  # fmt: skip


# The sections below the table: names of measurements, and the function that writes their text.
SECTIONS = ((("scaling",), scaling.scaling_section), (("membership", "relearning"), attacks.attacks_section))


def page(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the table of all laws whose claim has a result, as Markdown.

    Args:
        results: claim identifier to the result of its record.
    """
    head = (
        "claim",
        "answer",
        "order parameter",
        "formula",
        "exponent or value",
        "hypothesis",
        "largest error",
        "figure",
    )
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for law in LAWS:
        if result := results.get(law.claim):
            said = ("–", law.own) if law.own else (result["answer"], result["hypothesis"])
            entries = (law.title, said[0], law.order, law.formula, law.exponent(result["rows"]), said[1],
                       law.error(result["rows"]), law.figure)  # fmt: skip
            lines.append(f"| {' | '.join(entries)} |")
    seeds = sorted({result["seeds"] for name, result in results.items() if name in {law.claim for law in LAWS}})
    more = [section(*(results[name] for name in names)) for names, section in SECTIONS if {*names} <= {*results}]
    return "\n".join([TITLE.format(seeds=" or ".join(map(str, seeds))), *lines, "", NOTES, *more])


TITLE = """# Laws

Each row is a law of the two-layer network, and how well it holds. `repro theory laws` writes this page from the
records of `repro theory claims`, measured on {seeds} seeds.

- The answer says whether the paper's claim holds inside its hypothesis. A law that is no claim of the paper has none.
- The exponent or value is measured in the typical setting; its 95 % interval is in brackets.
- The largest error is relative; the number of boundaries or settings is in brackets. For survival it is a difference of
  two shares.
"""
NOTES = """## Notation

| symbol | meaning |
|---|---|
| d, n, m, P | dimension, samples, neurons of each sign, patches |
| \\|phi\\|, s | length of the signal; the same in units of (P-1) sigma_p (d/n)^(1/4) |
| eta, N, rho | learning rate, steps of pretraining, radius of SAM |
| sigma_0, sigma_p | standard deviation of an initial weight, of a noise coordinate |
| kappa, zeta | signal and noise that a neuron has learned; F is the forget set, R the retain set |
| V, r_i | preactivation of a noise patch; residual of sample i, weighted as in the batch |
| Y, X | signal drive; noise drive X = eta N a (P-1)^2 sigma_p^2 d / (n m), with a = 0.6 |

## Which start Theorem 3.2 needs

A test output is wrong if its noise exceeds the signal. Learned noise has the standard deviation
V sqrt(a n / (2 d)) for each neuron, which falls as d^(-1/2). The noise of the random start has sigma_0 sigma_p sqrt(d).
Their ratio r grows as sigma_0 d. The boundary is constant in s while r is small. Beyond r of about 2 it grows as
sqrt(r): at sigma_0 ~ d^(-1/2) and fixed epochs, \\|phi\\|* then grows as d^(1/2). So the theorem needs
sigma_0 = O(1 / d) for all d. With sigma_0 ~ d^(-3/4) it holds as long as r is below 2.

## What ASAM is

ASAM measures its perturbation in units of the weights: eps_a = rho' |w_a|^2 g_a / sqrt(sum_b |w_b|^2 |g_b|^2) for
each neuron a. This is the largest ascent of the linearized loss under sum_a |eps_a|^2 / |w_a|^2 <= rho'^2. It lies in
the span of signals and noise, so the reduced state follows it exactly.

1. If every neuron has the length c, the sums cancel: eps = c rho' g / |g|. ASAM is SAM at radius c rho'.
2. At the random start |w_a| = sigma_0 sqrt(d) (1 + O(d^(-1/2))). So ASAM at rho' = rho / (sigma_0 sqrt(d)) is SAM at
   radius rho, up to d^(-1/2). This rho' is the unit of `rho_scale` for ASAM.
3. ASAM by entry scales by |w_ai|. Its move of a preactivation is sum_i w_ai^2 g_ai xi_i. At the random start the
   squares are independent of data, with mean sigma_0^2. So by the law of large numbers it is sigma_0^2 times SAM's,
   up to d^(-1/2), for data that are spread over all coordinates. The radius is then rho / sigma_0.
4. After training the neurons differ in length, and ASAM perturbs the longer ones more.
"""
