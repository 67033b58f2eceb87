"""How the boundary of benign overfitting scales when start, epochs and samples follow the dimension.

With `sigma_0 ~ d^-a`, `epochs ~ d^b`, `n ~ d^c` and `eta ~ 1/d` the boundary moves as `|phi|* ~ d^x`. The exponent x is
computed in three ways at the corners of a box in (a, b, c): derived from the closed forms of `theory/predict.py` (see
`TEXT`), from the mean field, and by simulation. None is fitted to another.
"""

from collections.abc import Mapping, Sequence
from itertools import product
from textwrap import wrap
from typing import Any, NamedTuple

import numpy as np

from theory.claims.boundary import BEFORE, Axis, Boundaries
from theory.claims.claim import ClaimResult, Runs, TheoryClaim, spread
from theory.config import ClaimConfig, TheoryConfig
from theory.predict import boundary
from theory.stats import slope
from theory.tables import rounded

MIDDLE = 4000  # the dimension at which every line has the epochs and samples of the default
DIMENSIONS = (1000, 4000, 16000, 64000)
FAR = (400_000, 4_000_000)  # where the mean field alone goes
RULES = ("sgd", "sam")
# sigma_0 sqrt(d) at the middle, by a: the start exceeds learned noise at a = 1/2, and falls below it at a = 1.
STARTS = {0.5: 1.0, 1.0: 0.1}


class Corner(NamedTuple):
    """Exponents of the start, `sigma_0 ~ d^-a`, of the epochs, `~ d^b`, and of the samples, `n ~ d^c`."""

    a: float
    b: float
    c: float

    def exponent(self, rule: str) -> float:
        """Return the exponent of d in |phi|* for a in [1/2, 1] and b, c in [0, 1/2].

        SGD: the larger of `(1 - c) / 4`, where learned noise decides, and `3/4 - (a + c) / 2`, where the start does.
        SAM: `b / 2` less, as it learns signal throughout training but hardly any noise.
        """
        of_noise = max((1 - self.c) / 4, 0.75 - (self.a + self.c) / 2)
        return of_noise if rule == "sgd" else of_noise - self.b / 2

    def follow(self, setting: TheoryConfig) -> TheoryConfig:
        """Return the setting with the start, the epochs and the samples that belong to its dimension."""
        times = setting.d / MIDDLE
        n = round(setting.n * times**self.c)
        return setting.changed(n=n, n_forget=n // 5, pretrain_epochs=round(setting.pretrain_epochs * times**self.b),
                               sigma_0_scale=STARTS[self.a] * times ** (0.5 - self.a))  # fmt: skip


CORNERS = tuple(Corner(*place) for place in product(STARTS, (0.0, 0.5), (0.0, 0.5)))


def _line(rule: str, corner: Corner, dimensions: Sequence[int]) -> Axis:
    return Axis(BEFORE.changed(pretrain=rule), f"{rule}, a = {corner.a:g}, b = {corner.b:g}, c = {corner.c:g}",
                tuple({"d": d} for d in dimensions), corner.follow)  # fmt: skip


PLACES = tuple(product(RULES, CORNERS))
LINES = Boundaries([_line(rule, corner, DIMENSIONS) for rule, corner in PLACES])


def mean_field(line: Axis) -> list[float]:
    """Return |phi|* of the mean field along a line, NaN where it has no boundary."""
    settings = [line.at(place, 1.0) for place in range(len(line.axis))]
    return [boundary(setting) * setting.signal_unit for setting in settings]


def analyse(runs: Runs, config: ClaimConfig) -> ClaimResult:
    """Return the exponent of every line three times: derived, of the mean field, and simulated with its interval."""
    rows, estimates = [], []
    for k, (rule, corner) in enumerate(PLACES):
        found, near, far = LINES.measure(runs, k), mean_field(LINES.lines[k]), mean_field(_line(rule, corner, FAR))
        estimates.append(found.exponent(config))
        row = {"rule": rule, **corner._asdict(), "derived": corner.exponent(rule)}
        row |= {"mean_field": slope(np.log(DIMENSIONS), np.log(near)),
                "mean_field_far": float(np.diff(np.log(far))[0] / np.diff(np.log(FAR))[0])}  # fmt: skip
        row |= spread("exponent", estimates[-1]) | {"predicted": near, "predicted_far": far}
        told = found.row(config.seeds)
        rows.append(row | {name: told[name] for name in ("axis", "boundary", "boundary_strength", "start_there")})
    rows = [{name: rounded(value) for name, value in row.items()} for row in rows]
    return ClaimResult("", "", estimate=estimates[0], rows=rows, sentence=_sentence(rows))


def boundary_errors(row: Mapping[str, Any]) -> list[float]:
    """Return the relative errors of the mean field's boundaries."""
    return [abs(ours / found - 1) for ours, found in zip(row["predicted"], row["boundary"], strict=True)
            if ours and found]  # fmt: skip


def worst_exponent(rows: Sequence[Mapping[str, Any]], rule: str) -> float:
    """Return the largest distance of the derived exponent of a rule from a simulated one."""
    return max(abs(row["exponent"] - row["derived"]) for row in rows
               if row["rule"] == rule and row["exponent"] is not None)  # fmt: skip


def _sentence(rows: Sequence[Mapping[str, Any]]) -> str:
    parts = []
    for rule in RULES:
        own = [row for row in rows if row["rule"] == rule and None not in (row["exponent"], row["mean_field"])]
        if own:
            worst = max(own, key=lambda row: abs(row["exponent"] - row["mean_field"]))
            errors = [error for row in own for error in boundary_errors(row)]
            parts.append(
                f"{rule.upper()}: the simulated exponent is that of the mean field to "
                f"{np.median([abs(row['exponent'] - row['mean_field']) for row in own]):.3f} (median of {len(own)} "
                f"corners) and to {abs(worst['exponent'] - worst['mean_field']):.3f} at worst (a = {worst['a']:g}, b = "
                f"{worst['b']:g}, c = {worst['c']:g}); boundaries to {max(errors):.0%} at worst"
            )
    return "; ".join(parts) + "."


CLAIMS = {
    "scaling": TheoryClaim(
        "How the boundary scales", "", "",
        "slope of log |phi*| (test error 0.1) on log d, SGD-pretrained network, a = 1/2, b = c = 0",
        "The start: where it is small enough that learned noise decides, epochs no longer matter to SGD's boundary.",
        LINES.grid, analyse,
    ),
}  # fmt: skip


def scaling_section(result: Mapping[str, Any]) -> str:
    """Return the derivation and the table of exponents as Markdown.

    Args:
        result: of the record of this measurement.
    """
    head = ("rule", "a", "b", "c", "derived", "mean field", "simulated", "mean field far out", "largest error",
            "start / learned noise")  # fmt: skip
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for row in result["rows"]:
        place = [row["rule"].upper(), *(f"{row[name]:g}" for name in Corner._fields)]
        numbers = [_digits(row[name]) for name in ("derived", "mean_field", "exponent", "mean_field_far")]
        if row["exponent_low"] is not None:
            numbers[2] += f" [{_digits(row['exponent_low'])}, {_digits(row['exponent_high'])}]"
        errors, starts = boundary_errors(row), [ratio for ratio in row["start_there"] if ratio is not None]
        told = [f"{max(errors):.0%}" if errors else "–", f"{starts[0]:.1f} to {starts[-1]:.1f}" if starts else "–"]
        lines.append(f"| {' | '.join([*place, *numbers, *told])} |")
    middle = f"d = {min(DIMENSIONS):,} to {max(DIMENSIONS):,}"
    return TEXT.format(seeds=result["seeds"], near=middle, far=f"d = {FAR[0]:,} to {FAR[1]:,}",
                       starts="; ".join(f"{size:g} for a = {a:g}" for a, size in STARTS.items()), middle=MIDDLE,
                       table="\n".join(lines), told="\n".join(wrap(_disagreement(result["rows"]), 118)))  # fmt: skip


def _disagreement(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return where mean field and simulation differ, in words."""
    there = [row for row in rows if row["exponent_low"] is not None and row["mean_field"] is not None]
    inside = sum(row["exponent_low"] <= row["mean_field"] <= row["exponent_high"] for row in there)
    off = [abs(row["exponent"] - row["mean_field"]) for row in there]
    ratios = [ours / found for row in there for ours, found in zip(row["predicted"], row["boundary"], strict=True)
              if ours and found]  # fmt: skip
    if not ratios:
        return "No corner has both exponents."
    return (
        f"Differences between mean field and simulation: the exponent of the mean field lies inside the interval at "
        f"{inside} of {len(there)} corners. It is off by {np.median(off):.3f} (median) and {max(off):.3f} (largest). "
        f"Its boundary is {min(ratios):.2f} to {max(ratios):.2f} times the simulated one."
    )


def _digits(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


TEXT = """## How the boundary scales

Let the start follow `sigma_0 ~ d^(-a)`, the epochs of pretraining `d^b` and the samples `n ~ d^c`. The learning rate
follows 1/d, and the batch size is fixed. How does `|phi|*`, the signal at test error 0.1, move with d? For a from 1/2
to 1 and b and c from 0 to 1/2:

1. *Drives.* The steps N are epochs times n / B, so `N ~ d^(b+c)`. Then `Y ~ |phi|^2 d^(b+c-1)` and `X ~ d^b`.
2. *What SGD learns.* The output f grows as log X, which has no power of d. So does V. Near the boundary Y is below X
   (step 4), and `kappa = f 2Y / (2Y + X) ~ Y / X ~ |phi|^2 d^(c-1)`.
3. *Noise of a test output.* Learned noise is `V sqrt(n/d) ~ d^((c-1)/2)`. The noise of the start is
   `sigma_0 sqrt(d) ~ d^(1/2-a)`.
4. *Boundary of SGD.* The signal must outgrow the larger noise: `|phi|^2 d^(c-1) ~ d^max((c-1)/2, 1/2-a)`. So the
   exponent of `|phi|*` is the larger of `(1-c)/4` and `3/4 - (a+c)/2`. The start decides if `a + c/2 < 1`. Epochs
   enter only through log X. If learned noise decides, log X cancels; if the start decides, it lowers the exponent by
   about `b / (2f)`.
5. *Boundary of SAM.* At rho_th SAM learns signal as if there were no noise: `f + e^f = 1 + 2Y` and `kappa = f`. At the
   boundary kappa does not grow with d, so `kappa ~ Y ~ |phi|^2 d^(b+c-1)`. SAM learns little noise. We assume that V is
   constant in d and in epochs, so that the powers of step 3 remain. The signal must outgrow the same noise. So each
   exponent is `b/2` smaller than for SGD: more epochs lower SAM's boundary, but not SGD's.

A first version of step 5 ignored the noise that SAM learns, and gave `3/4 - (a+b+c)/2` everywhere. The mean field at
large d contradicted it at a = 1, c = 1/2, where the noise of the start is as small as the learned noise. The constant V
is not derived. The last column supports it if a = 1 or b = 0, but not at a = b = 1/2: there SAM's V grows about as
d^0.2. In those corners the start decides, and no exponent depends on V.

The table compares the derived exponent with the mean field and with the exact simulation, over {near}.
All rows have the default epochs and samples at d = {middle}, and `sigma_0 sqrt(d)` there is {starts}.
Simulated exponents have 95 % bootstrap intervals over {seeds} seeds. Nothing is fitted to these results. At larger d
({far}) the mean field alone shows the remaining corrections to the powers.
The largest error compares the mean field's `|phi|*` with the simulated one. The last column is r at the boundary, at
the first and the last d at which every seed has learned noise. Far above 1 the start alone decides, far below 1 learned
noise does.

{table}

{told}
"""
