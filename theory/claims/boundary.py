"""Theorems 3.2 and 3.3: where test error crosses 0.1 in signal strength, and how that boundary moves with d and n."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from theory.bounds import sam_boundary, sgd_boundary
from theory.claims.claim import Claim, Finding, Grid, Runs, judge, spread
from theory.config import ClaimConfig, TheoryConfig, fixed_clock, linear_clock, scaled_clock
from theory.stats import Estimate, bootstrap, crossing, slope

STRENGTHS = tuple(float(s) for s in np.round(np.geomspace(0.04, 3.6, 14), 4))
D_AXIS = tuple({"d": d} for d in (1000, 2000, 4000, 8000, 16000))
WIDE_AXIS = [{"d": d} for d in (1000, 4000, 16000, 64000)]
N_AXIS = [{"n": n, "n_forget": n // 5, "d": 16000} for n in (20, 40, 80, 160)]
TOLERANCE = 0.05  # how far an exponent may lie from the theorem's
# 100 epochs of pretraining and of NegGrad unless a line says otherwise, measured at the ends only.
BASE = TheoryConfig(alpha=0.7, epochs=100, checkpoint_every=1000, directions=256)


@dataclass(frozen=True)
class Line:
    """One boundary to find: the cell, what varies, and the part of the claim that its exponent decides.

    Attributes:
        cell: the setting.
        stage: what is measured, in words.
        part: the statement about the exponent, in words.
        axis: at least three points, such as `{"d": 1000}`; the first setting of each is what varies.
        clock: how learning rate and epochs follow d.
    """

    cell: TheoryConfig
    stage: str
    part: str
    axis: Sequence[dict] = D_AXIS
    clock: Callable[[TheoryConfig], TheoryConfig] = fixed_clock

    @property
    def labels(self) -> dict:
        """Return the columns that tell its row from others: the stage, what varies, and at which d unless d varies."""
        along, *_ = self.axis[0]
        return {"stage": self.stage, "along": along} | ({} if along == "d" else {"d": self.axis[0]["d"]})


@dataclass(frozen=True)
class Boundary:
    """The boundary measured along one axis.

    Attributes:
        axis: values of d or n, shape `(A,)`.
        norms: |phi| at each value and strength, shape `(A, S)`.
        errors: test errors, shape `(A, S, seeds)`.
        forget: forget errors, same shape.
    """

    axis: np.ndarray
    norms: np.ndarray
    errors: np.ndarray
    forget: np.ndarray

    def thresholds(self, seeds: np.ndarray) -> np.ndarray:
        """Return |phi*|, where the mean test error over `seeds` falls below 0.1, shape `(A,)`; NaN off the grid."""
        means = self.errors[:, :, seeds].mean(axis=2)
        return np.array([crossing(norm, mean) for norm, mean in zip(self.norms, means, strict=True)])

    def exponent(self, first_seed: int) -> Estimate:
        """Return the slope of log |phi*| on the log of the axis, with a bootstrap interval over seeds."""
        fit = lambda seeds: slope(np.log(self.axis), np.log(self.thresholds(seeds)))  # noqa: E731
        return bootstrap(fit, self.errors.shape[2], np.random.default_rng(first_seed), repeats=400)

    def row(self) -> dict:
        """Return |phi*| along the axis, in units of strength too, and the forget error of the cell nearest to it."""
        found = self.thresholds(np.arange(self.errors.shape[2]))
        near = [float(self.forget[i, np.argmin(np.abs(np.log(self.norms[i] / norm)))].mean())
                if np.isfinite(norm) else np.nan for i, norm in enumerate(found)]  # fmt: skip
        unit = self.norms[:, 0] / STRENGTHS[0]
        columns = {"boundary": found, "forget_error_there": near, "boundary_strength": found / unit}
        digits = {name: [float(f"{value:.4g}") if np.isfinite(value) else None for value in values]
                  for name, values in columns.items()}  # fmt: skip
        return {"axis": self.axis.tolist()} | digits


@dataclass(frozen=True)
class BoundaryTest:
    """A theorem about the boundary: the lines along which it is found, and how their exponents must compare.

    Attributes:
        lines: the first is the one whose exponent stands for the claim.
        bound: the theorem's boundary of a cell, up to a constant.
        agrees: from a fitted exponent and the theorem's to whether the theorem's holds.
        text: how a fitted exponent is written.
    """

    lines: Sequence[Line]
    bound: Callable[[TheoryConfig], float]
    agrees: Callable[[float, float], bool]
    text: str

    def grid(self) -> Grid:
        """Return every line's cells, named (line, place on the axis, signal strength)."""
        return {(k, i, s): line.clock(line.cell.changed(signal_strength=s, **point))
                for k, line in enumerate(self.lines) for i, point in enumerate(line.axis)
                for s in STRENGTHS}  # fmt: skip

    def measure(self, runs: Runs, k: int) -> Boundary:
        """Return the boundary along line `k`."""
        line = [[runs[k, i, s] for s in STRENGTHS] for i in range(len(self.lines[k].axis))]
        values = np.array([next(iter(point.values())) for point in self.lines[k].axis])
        norms = np.array([[run.config.signal_norm for run in row] for row in line])
        test, forget = (np.array([[run.final(name) for run in row] for row in line])
                        for name in ("test_error", "forget_error"))  # fmt: skip
        return Boundary(values, norms, test, forget)

    def analyse(self, runs: Runs, config: ClaimConfig) -> Finding:
        """Fit each line's exponent and compare it with that of the theorem's expression along the same axis."""
        parts, rows, exponents = {}, [], []
        for k, line in enumerate(self.lines):
            found = self.measure(runs, k)
            fitted = found.exponent(config.first_seed)
            stated = slope(np.log(found.axis), np.log([self.bound(line.cell.changed(**point)) for point in line.axis]))
            text = "off the grid" if fitted.value is None else self.text.format(fitted.value)
            holds = fitted.value is not None and self.agrees(fitted.value, stated)
            parts[f"{line.part}, {line.stage} ({text})"] = holds
            rows.append(line.labels | found.row() | spread("exponent", fitted))
            exponents.append(fitted)
        return judge(parts, exponents[0], rows)


def _sgd_lines() -> list[Line]:
    """Return the lines of Theorem 3.2: before unlearning, after 30 and 100 epochs of SGD NegGrad, and along n."""
    pretrained, in_d = BASE.changed(epochs=0), "exponent of d is 1/4"
    return [
        Line(pretrained, "pretrained", in_d),
        Line(BASE.changed(epochs=30), "unlearned, 30 epochs", in_d),
        Line(BASE, "unlearned, 100 epochs", in_d),
        Line(pretrained, "pretrained", "exponent of n is -1/4", N_AXIS),
    ]


def _sam_lines() -> list[Line]:
    """Return the lines of Theorem 3.3: pretrained, after 100 epochs of NegGrad, and other training times."""
    base, flat = BASE.changed(pretrain="sam"), "the boundary does not grow with d"
    start, slow = base.changed(epochs=0), "pretrained, eta ~ 1/d, epochs ~ "
    return [
        Line(start, "pretrained", flat),
        Line(base.changed(unlearn="sam", rho_scale=1.0), "unlearned, SAM 1", flat),
        Line(base.changed(unlearn="sam", rho_scale=0.1), "unlearned, SAM 0.1", flat),
        Line(base, "unlearned, SGD", flat),
        Line(start.changed(pretrain_epochs=30), "pretrained, 30 epochs", flat, D_AXIS[::2]),
        Line(start.changed(pretrain_epochs=300), "pretrained, 300 epochs", flat, D_AXIS[::2]),
        Line(start, f"{slow}sqrt(d), d to 64000", flat, WIDE_AXIS, scaled_clock),
        Line(start, f"{slow}d, d to 64000", flat, WIDE_AXIS, linear_clock),
    ]


SGD = BoundaryTest(_sgd_lines(), sgd_boundary, lambda fit, stated: abs(fit - stated) <= TOLERANCE, "{:.3f}")
SAM = BoundaryTest(_sam_lines(), sam_boundary, lambda fit, stated: fit <= stated + TOLERANCE, "exponent {:.3f}")
CLAIMS = {
    "theorem-3.2-sgd-boundary": Claim(
        "Theorem 3.2: boundary of SGD",
        "benign overfitting iff |phi| >= C1 d^(1/4) n^(-1/4) P sigma_p, else test error >= 0.1",
        "slope of log |phi*| (test error 0.1) on log d, SGD-pretrained network",
        SGD.grid, SGD.analyse, oracle=False,
    ),
    "theorem-3.3-sam-boundary": Claim(
        "Theorem 3.3: boundary of SAM",
        "low test error already for |phi| >= Omega(1), given enough retain signal",
        "slope of log |phi*| (test error 0.1) on log d, SAM-pretrained network",
        SAM.grid, SAM.analyse, oracle=False,
    ),
}  # fmt: skip
