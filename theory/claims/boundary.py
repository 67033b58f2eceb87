"""Theorems 3.2 and 3.3: where test error crosses 0.1 in signal strength, and how that boundary moves with d and n.

A boundary depends on the clock (how learning rate and epochs follow d), on the size of the random start, and on what is
equal after unlearning. So each theorem is checked along several lines. Lines inside its hypothesis decide; others lie
beyond it. Theorem 3.3 follows the schedule of Chen et al. 2023, SAM for T1 ~ d epochs, then SGD until the loss is
small.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from theory.claims.bounds import crossover_strength, random_start_boundary, sam_boundary, sgd_boundary
from theory.claims.claim import ClaimResult, Grid, Part, Runs, TheoryClaim, judge, over_seeds, shown, spread
from theory.config import ClaimConfig, TheoryConfig, default_clock, fixed_clock, linear_clock, scaled_clock
from theory.engine import Trajectory
from theory.predict import boundary
from theory.stats import Estimate, crossing, slope
from theory.tables import rounded

STRENGTHS = tuple(float(s) for s in np.round(np.geomspace(0.04, 3.6, 14), 4))
STRIDE = 3  # every third strength is simulated first, then all between the two around the boundary
D_AXIS = tuple({"d": d} for d in (1000, 2000, 4000, 8000, 16000))
WIDE_AXIS = tuple({"d": d} for d in (1000, 4000, 16000, 64000))
FAR_AXIS = tuple({"d": 10**power} for power in range(3, 8))
N_AXIS = tuple({"n": n, "n_forget": n // 5, "d": 16000} for n in (20, 40, 80, 160))
FEWEST = 3  # points of an axis: fewer have no exponent
TOLERANCE = 0.05  # how far an exponent may lie from the theorem's
LEVEL = 0.1  # test error at the boundary
# 100 epochs of pretraining and of NegGrad unless a line says otherwise, measured at the ends only.
BASE = TheoryConfig(alpha=0.7, epochs=100, checkpoint_every=1000, directions=256)
FORGOTTEN, PATIENCE = 0.25, 400  # forget error at which rules are compared, and epochs in which it must be reached
SMALL_LOSS, SGD_EPOCHS = 0.01, 1000  # where the second phase of Chen et al. ends, and its most epochs


@dataclass(frozen=True)
class Axis:
    """One boundary to find: the setting, what varies, and the clock.

    Attributes:
        setting: the setting at every place, except for the axis and the strength.
        stage: what is measured, in words.
        axis: points such as `{"d": 1000}`; the first setting of each is what varies.
        clock: how learning rate, epochs and the start follow d.
        inside: whether it lies inside the theorem's hypothesis.
    """

    setting: TheoryConfig
    stage: str
    axis: Sequence[dict] = D_AXIS
    clock: Callable[[TheoryConfig], TheoryConfig] = default_clock
    inside: bool = True

    @property
    def along(self) -> str:
        """Return what varies."""
        return next(iter(self.axis[0]))

    @property
    def labels(self) -> dict:
        """Return the columns that identify its row: the stage, what varies, and d if it is fixed."""
        fixed = {} if self.along == "d" else {"d": self.axis[0]["d"]}
        return {"stage": self.stage, "along": self.along, "inside": self.inside} | fixed

    def at(self, point: int, strength: float) -> TheoryConfig:
        """Return the setting at a place on the axis and a signal strength."""
        return self.clock(self.setting.changed(signal_strength=strength, **self.axis[point]))


def two_phases(setting: TheoryConfig) -> TheoryConfig:
    """Return the setting pretrained as Chen et al. 2023 do: SAM for T1 ~ d epochs, then SGD until the loss is 0.01.

    T1 is 100 epochs at d = 4000, with eta ~ 1/d.
    """
    first = linear_clock(setting).pretrain_epochs
    return setting.changed(pretrain=f"sam:{first}, sgd", pretrain_epochs=first + SGD_EPOCHS,
                           pretrain_stop_loss=SMALL_LOSS, checkpoint_every=5)  # fmt: skip


def small_start(setting: TheoryConfig) -> TheoryConfig:
    """Return the setting with a start that shrinks as `sigma_0 ~ d^(-3/4)`, in place of the usual d^(-1/2)."""
    return setting.changed(sigma_0_scale=setting.sigma_0_scale * (setting.d / 1000) ** -0.25)


def forgotten(setting: TheoryConfig) -> TheoryConfig:
    """Return the setting unlearned until its forget error is 0.25, for as many epochs as that takes."""
    return setting.changed(epochs=PATIENCE, stop_forget_error=FORGOTTEN, checkpoint_every=5)


def start_share(run: Trajectory) -> np.ndarray:
    """Return start noise over learned noise of a pretrained network's neuron, shape `(seeds,)`.

    Both are lengths of weights across the signal: `sigma_0 sqrt(d)`, and the root of what remains of `|w|^2` without
    the signal's `kappa^2 / |phi|^2`. NaN if nothing was learned from noise.
    """
    config, last = run.config, {name: values[:, -1] for name, values in run.pretrain.items()}
    start, kappa = config.sigma_0**2 * config.d, last["kappa_retain"] + last["kappa_forget"]
    learned = last["weight_norm"] ** 2 / (2 * config.m) - start - (kappa / config.signal_norm) ** 2
    return np.sqrt(np.divide(start, learned, out=np.full_like(learned, np.nan), where=learned > 0.0))


@dataclass(frozen=True)
class Point:
    """What was measured at one place of an axis.

    Attributes:
        strengths: simulated, increasing, shape `(S,)`.
        unit: |phi| at strength 1.
        errors: test errors, shape `(S, seeds)`; NaN for a seed that did not reach the forget error of the comparison.
        more: other numbers there, each of the same shape.
    """

    strengths: np.ndarray
    unit: float
    errors: np.ndarray
    more: dict[str, np.ndarray]

    def threshold(self, seeds: np.ndarray, *, censored: bool = False) -> float:
        """Return s*, where the mean test error over `seeds` falls below 0.1; NaN off the grid.

        A strength at which fewer than half of the seeds are comparable does not count. If the error never falls so far,
        `censored` returns the largest strength, a lower bound of s*.
        """
        chosen = self.errors[:, seeds]
        there = np.isfinite(chosen).mean(axis=1) >= 0.5
        if there.sum() < 2:
            return float("nan")
        means, strengths = np.nanmean(chosen[there], axis=1), self.strengths[there]
        if censored and not np.any(means < LEVEL):
            return float(strengths[-1])
        return crossing(strengths, means, LEVEL)


@dataclass(frozen=True)
class Boundaries:
    """The search for simulated boundaries along several lines."""

    lines: Sequence[Axis]

    def grid(self, runs: Runs) -> Grid:
        """Return every line's settings, named (line, place on the axis, signal strength).

        Every third strength comes first, then those between the neighbours of the boundary.
        """
        return {(k, i, s): line.at(i, s) for k, line in enumerate(self.lines) for i in range(len(line.axis))
                for s in self._strengths(runs, k, i)}  # fmt: skip

    def _strengths(self, runs: Runs, k: int, i: int) -> Sequence[float]:
        coarse = STRENGTHS[::STRIDE]
        if (k, i, coarse[-1]) not in runs:
            return coarse
        point = self.point(runs, k, i, coarse)
        found = point.threshold(np.arange(point.errors.shape[1]))
        if not np.isfinite(found):
            return STRENGTHS
        place = int(np.searchsorted(coarse, found)) * STRIDE
        return STRENGTHS[place - STRIDE + 1 : place]

    def point(self, runs: Runs, k: int, i: int, strengths: Sequence[float] = STRENGTHS) -> Point:
        """Return what was measured at a place of line `k`, at those strengths that were simulated."""
        there = {s: runs[k, i, s] for s in strengths if (k, i, s) in runs}
        matched = self.lines[k].setting.stop_forget_error is not None
        more = {
            "forget_error": [run.final("forget_error") for run in there.values()],
            "loss": [run.pretrain["retain_loss"][:, -1] for run in there.values()],
            "compared": [np.isfinite(run.final("test_error", matched=matched)) for run in there.values()],
            "start": [start_share(run) for run in there.values()],
        }
        unit = next(iter(there.values())).config.signal_unit
        errors = np.array([run.final("test_error", matched=matched) for run in there.values()])
        return Point(np.array(list(there)), unit, errors, {name: np.array(values) for name, values in more.items()})

    def measure(self, runs: Runs, k: int) -> "Boundary":
        """Return the boundary along line `k`."""
        line = self.lines[k]
        return Boundary(np.array([point[line.along] for point in line.axis]),
                        [self.point(runs, k, i) for i in range(len(line.axis))])  # fmt: skip


@dataclass(frozen=True)
class Boundary:
    """The boundary measured along one axis: its values, and a point each."""

    axis: np.ndarray
    points: Sequence[Point]

    def norms(self, seeds: np.ndarray) -> np.ndarray:
        """Return |phi*| at each point, shape `(A,)`."""
        return np.array([point.unit * point.threshold(seeds) for point in self.points])

    def exponent(self, config: ClaimConfig) -> Estimate:
        """Return the slope of log |phi*| on the log of the axis, with a bootstrap interval over seeds."""
        fit = lambda chosen: slope(np.log(self.axis), np.log(self.norms(chosen)))  # noqa: E731
        return over_seeds(fit, config)

    def row(self, seeds: int) -> dict:
        """Return |phi*| along the axis, also in units of strength, its local exponents, and other numbers near it.

        Columns `_there` are means at the strength nearest to the boundary: forget error, training loss, the share of
        seeds compared, and start noise over learned noise.
        """
        norms = self.norms(np.arange(seeds))
        strengths = norms / np.array([point.unit for point in self.points])
        found = {"boundary": norms, "boundary_strength": strengths,
                 "local_exponent": np.diff(np.log(norms)) / np.diff(np.log(self.axis))}  # fmt: skip
        near = [int(np.argmin(np.abs(np.log(point.strengths / s)))) if np.isfinite(s) else None
                for point, s in zip(self.points, strengths, strict=True)]  # fmt: skip
        for name in self.points[0].more:
            found[f"{name}_there"] = [np.nan if at is None else np.mean(point.more[name][at])
                                      for point, at in zip(self.points, near, strict=True)]  # fmt: skip
        return {"axis": self.axis.tolist()} | {name: rounded(values) for name, values in found.items()}


@dataclass(frozen=True)
class BoundaryTest(Boundaries):
    """A theorem about the boundary: the lines along which it is found, and where their exponents must lie.

    Attributes:
        lines: the first has the typical setting, whose exponent stands for the claim.
        bound: the theorem's boundary of a setting, up to a constant.
        upper: whether the exponent may be lower than that of the theorem.
        predicted: the boundary |phi*| without simulating, for settings that are not unlearned; None if there is none.
        sentence: from the rows of the table to what may be quoted.
    """

    bound: Callable[[TheoryConfig], float]
    upper: bool
    predicted: Callable[[TheoryConfig], float]
    sentence: Callable[[list[dict]], str]

    def stated(self, line: Axis) -> float:
        """Return the exponent of the theorem's expression along a line."""
        values = [point[line.along] for point in line.axis]
        return slope(np.log(values), np.log([self.bound(line.setting.changed(**point)) for point in line.axis]))

    def analyse(self, runs: Runs, config: ClaimConfig) -> ClaimResult:
        """Fit each line's exponent and compare it with the exponent of the theorem's expression along the same axis."""
        parts, rows = {}, []
        for k, line in enumerate(self.lines):
            found, stated = self.measure(runs, k), self.stated(line)
            row = line.labels | found.row(config.seeds)
            if len(line.axis) >= FEWEST:
                fitted = found.exponent(config)
                low = float("-inf") if self.upper else stated - TOLERANCE
                parts[self._part_name(line)] = Part(fitted, low, stated + TOLERANCE, "off the grid", line.inside)
                row |= spread("exponent", fitted)
            if line.setting.epochs == 0 and line.clock is not two_phases:
                row["predicted"] = rounded([self.predicted(line.at(i, 1.0)) for i in range(len(line.axis))])
            if line.setting.epochs == 0 and not self.upper:
                row["crossover"] = rounded([np.nan if ratio is None else crossover_strength(ratio, line.setting.m)
                                           for ratio in row["start_there"]])  # fmt: skip
            rows.append(row)
        return judge(parts, self._part_name(self.lines[0]), config, rows=rows, sentence=self.sentence(rows))

    @staticmethod
    def _part_name(line: Axis) -> str:
        return f"exponent of {line.along}, {line.stage}"


def mean_field_boundary(setting: TheoryConfig) -> float:
    """Return |phi*| of SGD pretraining by the mean field."""
    return boundary(setting) * setting.signal_unit


BEFORE, START = BASE.changed(epochs=0), BASE.changed(epochs=0, pretrain="sam")
RANDOM_START = "pretrained by SAM, "  # prefix of the lines on the random start


def _sgd_lines() -> list[Axis]:
    """Return the lines of Theorem 3.2: before unlearning, along d and n, with a start that shrinks fast enough and one
    that does not, at equal forget error, and after equal epochs in both clocks.
    """  # fmt: skip
    long = BEFORE.changed(pretrain_epochs=1000)
    return [
        Axis(BEFORE, "pretrained, eta ~ 1/d"),
        Axis(BEFORE, "pretrained, eta ~ 1/d", N_AXIS),
        Axis(long, "pretrained, sigma_0 ~ d^(-3/4), 1000 epochs", FAR_AXIS, small_start),
        Axis(forgotten(BASE), "at forget error .25, eta ~ 1/d"),
        Axis(BEFORE, "pretrained, sigma_0 ~ d^(-1/2), to d = 1e7", FAR_AXIS, inside=False),
        Axis(BASE, "after 100 epochs, eta ~ 1/d", inside=False),
        Axis(BEFORE, "pretrained, eta fixed", D_AXIS, fixed_clock),
        Axis(BASE, "after 100 epochs, eta fixed", D_AXIS, fixed_clock, inside=False),
    ]


def _sam_lines() -> list[Axis]:
    """Return the lines of Theorem 3.3: trained in two phases; beyond it at fixed epochs, and the random start alone."""
    base = BASE.changed(pretrain="sam")
    starts = (
        {"d": 500},
        {"d": 64000},
        *({"d": d, "sigma_0_scale": 0.03} for d in (1000, 4000, 64000)),
        *(
            {"d": 4000, name: value}
            for name, value in (
                ("sigma_0_scale", 0.3),
                ("pretrain_epochs", 30),
                ("pretrain_epochs", 300),
                ("m", 40),
                ("patches", 4),
            )
        ),
    )
    text = lambda setting: ", ".join(f"{name} = {value:g}" for name, value in setting.items())  # noqa: E731
    return [
        Axis(START, "SAM for T1 ~ d, then SGD to loss .01", WIDE_AXIS, two_phases),
        Axis(forgotten(base), "the same, then SGD to forget error .25", WIDE_AXIS, two_phases),
        Axis(START, f"{RANDOM_START}100 epochs, eta fixed", D_AXIS, fixed_clock, inside=False),
        Axis(START, f"{RANDOM_START}eta ~ 1/d, epochs ~ sqrt(d)", WIDE_AXIS, scaled_clock, inside=False),
        Axis(START, f"{RANDOM_START}eta ~ 1/d, epochs ~ d", WIDE_AXIS, linear_clock, inside=False),
        *(Axis(START, f"{RANDOM_START}{text(setting)}", (setting,), inside=False) for setting in starts),
        Axis(base.changed(unlearn="sam", rho_scale=0.1), "after 100 epochs of SAM 0.1, eta fixed", D_AXIS, fixed_clock,
             inside=False),
        Axis(base, "after 100 epochs of SGD, eta fixed", D_AXIS, fixed_clock, inside=False),
    ]  # fmt: skip


def row_of(rows: Sequence[dict], stage: str) -> dict:
    """Return the row of a stage along d."""
    return next(row for row in rows if row["stage"] == stage and row["along"] == "d")


def _exponent(row: dict) -> str:
    return shown(Estimate(*(row[name] for name in ("exponent", "exponent_low", "exponent_high"))))


def _sgd_sentence(rows: list[dict]) -> str:
    usual, _, small, equal, far, epochs, _, fixed = rows
    local = ", ".join("-" if value is None else f"{value:.2f}" for value in far["local_exponent"])
    return (
        f"While learned noise exceeds start noise, SGD's boundary moves as d to the power {_exponent(usual)} before "
        f"unlearning and {_exponent(equal)} at equal forgetting, and as n to the power {_exponent(rows[1])} (stated: "
        f"1/4 and -1/4). With sigma_0 ~ d^(-1/2) and fixed epochs the start takes over: the local power of d is "
        f"{local} from d = 1e3 to 1e7; with sigma_0 ~ d^(-3/4) it is {_exponent(small)} over the same range. After 100 "
        f"epochs of NegGrad it follows the clock: {_exponent(epochs)} at eta ~ 1/d, {_exponent(fixed)} at fixed eta."
    )


def random_start_errors(rows: Sequence[dict]) -> dict[str, float]:
    """Return the relative errors of the closed form of the random start, by setting."""
    return {f"{row['stage'].removeprefix(RANDOM_START)}, {row['along']} = {at:g}": abs(ours / found - 1)
            for row in rows if row["stage"].startswith(RANDOM_START)
            for at, ours, found in zip(row["axis"], row["predicted"], row["boundary"], strict=True)
            if ours and found}  # fmt: skip


def _sam_sentence(rows: list[dict]) -> str:
    off = random_start_errors(rows) or {"nothing on the grid": float("nan")}
    fixed = row_of(rows, f"{RANDOM_START}100 epochs, eta fixed")
    loss = min((value for value in fixed["loss_there"] if value), default=float("nan"))
    return (
        f"The signal that a network trained by SAM for T1 ~ d epochs and then by SGD to a loss of .01 needs moves as d "
        f"to the power {_exponent(rows[0])} (stated: not at all, as an upper bound). After 100 "
        f"epochs of SAM alone the power is {_exponent(fixed)} at a training loss of {loss:.2f}: that boundary is the "
        f"random start's, whose closed form is right to {np.median([*off.values()]):.0%} (median of {len(off)} "
        f"boundaries) and to {max(off.values()):.0%} at worst ({max(off, key=off.__getitem__)})."
    )


SGD = BoundaryTest(_sgd_lines(), sgd_boundary, False, mean_field_boundary, _sgd_sentence)
SAM = BoundaryTest(_sam_lines(), sam_boundary, True, random_start_boundary, _sam_sentence)
CLAIMS = {
    "theorem-3.2-sgd-boundary": TheoryClaim(
        "Theorem 3.2: boundary of SGD",
        "benign overfitting iff |phi| >= C1 d^(1/4) n^(-1/4) P sigma_p, else test error >= 0.1",
        "Learned noise exceeds the noise of the random start, and networks are compared before unlearning or at equal "
        "forgetting.",
        "slope of log |phi*| (test error 0.1) on log d, SGD-pretrained network, eta ~ 1/d",
        "A start that shrinks too slowly (sigma_0 ~ d^(-1/2) at fixed epochs and large d), or a fixed number of "
        "unlearning epochs in a clock that changes with d.",
        SGD.grid, SGD.analyse,
    ),
    "theorem-3.3-sam-boundary": TheoryClaim(
        "Theorem 3.3: boundary of SAM",
        "low test error already for |phi| >= Omega(1), given enough retain signal",
        "SAM runs for T1 ~ d epochs, then SGD until the training loss is small.",
        "slope of log |phi*| (test error 0.1) on log d, SAM for T1 ~ d epochs, then SGD until the training loss is "
        ".01, eta ~ 1/d",
        "A first phase that does not grow with d: SAM's boundary then rises with d, for the signal is learned in "
        "1 / (eta |phi|^2) epochs, which at constant |phi| and eta ~ 1/d grows as d.",
        SAM.grid, SAM.analyse,
    ),
}  # fmt: skip
