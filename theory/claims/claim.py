"""What a claim is and how it is checked: its settings are simulated and stored, and its analysis gives the answer."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from repro.base.settings import choose
from repro.records.identity import run_id
from repro.records.provenance import collect
from repro.records.record import Record
from repro.records.store import Store
from theory.config import ClaimConfig, TheoryConfig
from theory.stats import NOTHING, Estimate, bootstrap, simultaneous
from theory.tables import rounded

if TYPE_CHECKING:
    from theory.engine import Trajectory

KIND = "theory_claim"
MEASUREMENT = "theory_measurement"  # checked like a claim, but the paper states nothing, so there is no answer
# Version of the analyses: raise it when one of them or the engine changes. Stored trajectories stay valid, so that
# checking again takes seconds.
VERSION = 5
# Name to module; a module is imported when its claim is checked, so that listing claims needs no numba.
CLAIMS = {
    "lemma-3.1-activation": "activation",
    "lemma-3.1-sgd-on-forget": "speed",
    "theorem-3.2-sgd-boundary": "boundary",
    "theorem-3.3-sam-boundary": "boundary",
    "theorem-3.3-matched-forgetting": "comparison",
    "lemma-3.4-surplus-difference": "surplus",
    "lemma-3.4-alpha-tolerance": "alpha",
    "lemma-3.4-alpha-gap": "alpha",
    "random-labels": "activation",
    "sharp-minmax": "comparison",
    "tug-of-war": "tow",
}
MEASUREMENTS = {"scaling": "scaling", "membership": "attacks", "relearning": "attacks"}
EVERYTHING = CLAIMS | MEASUREMENTS
Grid = dict[Any, TheoryConfig]  # from the name in its analysis to the setting
Runs = Mapping[Any, "Trajectory"]  # the same names, simulated


@dataclass(frozen=True)
class Part:
    """One statement of a claim on a setting or a line of settings: an estimate, and the region that the claim states.

    Attributes:
        estimate: with its own 95 % interval; an estimate without a value decides nothing.
        low, high: the claimed region without its ends: a difference of exactly 0 is neither lower nor higher.
        why: why there is no value, such as "off the grid".
        inside: whether it lies inside the claim's hypothesis; parts beyond it decide nothing.
        margin: the largest size that counts as no difference, where the claim is about the sign of one.
    """

    estimate: Estimate
    low: float = float("-inf")
    high: float = float("inf")
    why: str = "no interval"
    inside: bool = True
    margin: float | None = None

    def side(self, parts: int, seeds: int) -> int:
        """Return +1 if the whole interval lies in the claimed region, -1 if it lies outside, else 0.

        Args:
            parts: number of intervals that must hold together; seeds: independent seeds of this one.
        """
        wide = simultaneous(self.estimate, parts, seeds)
        if wide.low is None or wide.high is None:
            return 0
        return int(self.low < wide.low and wide.high < self.high) - int(wide.high < self.low or wide.low > self.high)

    def word(self, parts: int, seeds: int) -> str:
        """Return its answer: yes or the opposite by its side, no difference if it lies within the margin, else open.

        Args:
            parts, seeds: as in `side`.
        """
        from repro.statistics.answers import BY_SIDE, NO_DIFFERENCE

        wide, side = simultaneous(self.estimate, parts, seeds), self.side(parts, seeds)
        if self.margin is not None and wide.above(-self.margin) and wide.below(self.margin):
            return NO_DIFFERENCE
        return BY_SIDE[side]

    def text(self) -> str:
        """Return its number, or why there is none."""
        return self.why if self.estimate.value is None else f"{self.estimate.value:.3g}"


@dataclass(frozen=True)
class ClaimResult:
    """The result of checking a claim by simulation.

    Attributes:
        answer: yes, only where, no difference, the opposite or open, inside the claim's hypothesis.
        regime: the settings inside the hypothesis at which it holds, fails, or is undecided.
        beyond: the same beyond the hypothesis.
        estimate: the number of the typical setting, with its own 95 % interval.
        parts: one row for each part: name, estimate, interval, claimed region, side, and whether it is inside.
        rows: the table behind it.
        sentence: what a reader may quote.
    """

    answer: str
    regime: str
    beyond: str = ""
    estimate: Estimate = NOTHING
    parts: list[dict[str, Any]] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    sentence: str = ""


@dataclass(frozen=True)
class TheoryClaim:
    """A statement of the paper, the settings that test it, and their analysis.

    Attributes:
        title: short name.
        statement: what the paper says, as far as public notes word it.
        hypothesis: what the paper assumes there, as far as public notes word it; the answer is judged inside it.
        quantity: what the estimate is.
        change: what would change the answer.
        grid: returns the settings wanted, without seeds, given the runs so far. It is called until it wants no more, so
            that a threshold can be narrowed down. Claims and sweeps with the same setting share its trajectory.
        analyse: turns the simulated settings into a result; the first seed also seeds a bootstrap.
        oracle: whether the analysis compares with the model retrained on R.
    """

    title: str
    statement: str
    hypothesis: str
    quantity: str
    change: str
    grid: Callable[[Runs], Grid]
    analyse: Callable[[Runs, ClaimConfig], ClaimResult]
    oracle: bool = False


def run_claims(
    store: Store, *, seeds: int = 40, names: Sequence[str] | None = None, first_seed: int = 0,
    known: Sequence[Record] = (), workers: int = 1,
) -> list[Record]:  # fmt: skip
    """Return the record of every claim, checking those that neither the store nor `known` has.

    Args:
        store: where new records and trajectories are written; finished ones stay if the run is stopped.
        seeds: independent seeds of every setting.
        names: claims and measurements to check; all by default.
        first_seed: first seed; another value repeats every check on fresh draws.
        known: records from elsewhere, such as published ones, which are not checked again.
        workers: processes that simulate settings.

    Raises:
        ConfigError: for an unknown claim, with the nearest name.
    """
    chosen = [choose("claim", name, EVERYTHING) for name in names or EVERYTHING]
    configs = [ClaimConfig(claim=name, version=VERSION, seeds=seeds, first_seed=first_seed) for name in chosen]
    store.ensure_writable()
    elsewhere = {record.run_id: record for record in known}
    records = []
    for config in configs:
        kind = kind_of(config.claim)
        record = store.find(kind, config) or elsewhere.get(run_id(kind, config))
        records.append(record or _check(config, store, workers))
    return records


def _check(config: ClaimConfig, store: Store, workers: int) -> Record:
    from theory.claims.trajectories import setting_id

    claim, begin, cpu = load_claim(config.claim), time.perf_counter(), time.process_time()
    runs = simulate_grid(claim, config, store, workers=workers)
    result = _result(config, claim, claim.analyse(runs, config))
    result["cells"] = sorted({setting_id(run.config, claim.oracle) for run in runs.values()})
    seconds, spent = round(time.perf_counter() - begin, 2), round(time.process_time() - cpu, 2)
    provenance = collect(study="claims", seconds=seconds, cpu_seconds=spent)
    return store.save(kind_of(config.claim), config, result=result, provenance=provenance)


def kind_of(name: str) -> str:
    """Return the kind of the record of a claim, or of a measurement."""
    return MEASUREMENT if name in MEASUREMENTS else KIND


def load_claim(name: str) -> TheoryClaim:
    """Return a claim or measurement by name, importing its module."""
    return import_module(f"theory.claims.{EVERYTHING[choose('claim', name, EVERYTHING)]}").CLAIMS[name]


def simulate_grid(claim: TheoryClaim, config: ClaimConfig, store: Store, *, workers: int = 1) -> Runs:
    """Return the trajectory of every setting of a claim on the seeds of a config, by its name in the grid."""
    from theory.claims.trajectories import run_settings

    runs: dict[Any, Trajectory] = {}
    while new := {name: setting.changed(seeds=config.seeds, first_seed=config.first_seed)
                  for name, setting in claim.grid(runs).items() if name not in runs}:  # fmt: skip
        found = run_settings(new.values(), store, oracle=claim.oracle, label=f"claim {config.claim}", workers=workers)
        runs |= {name: found[setting] for name, setting in new.items()}
    return runs


def judge(
    parts: Mapping[str, Part], typical: str, config: ClaimConfig, *, rows: list[dict[str, Any]], sentence: str
) -> ClaimResult:
    """Return the result of a claim with several parts, by intervals that hold together at 95 % (Bonferroni).

    Args:
        parts: name of a setting or line to its part.
        typical: name of the part of the typical setting, whose estimate stands for the claim.
        config: seeds.
        rows: the table behind it; numbers are rounded to four digits.
        sentence: what a reader may quote.
    """
    from repro.statistics.answers import common_word

    several = {inside: sum(part.estimate.low is not None for part in parts.values() if part.inside == inside)
               for inside in (True, False)}  # fmt: skip
    table, words, told = [], [], {True: ([], []), False: ([], [])}
    for name, part in parts.items():
        count = several[part.inside]
        side, word = part.side(count, config.seeds), part.word(count, config.seeds)
        table.append({"part": name, **spread("estimate", part.estimate), "claimed_low": part.low,
                      "claimed_high": part.high, "side": side, "word": word, "inside": part.inside})  # fmt: skip
        words += [word] * part.inside
        told[part.inside][0].append(f"{name} ({part.text()})")
        told[part.inside][1].append(side)
    table, rows = ([{name: rounded(value) for name, value in row.items()} for row in some] for some in (table, rows))
    where, beyond = (regime(*told[inside]) for inside in (True, False))
    return ClaimResult(common_word(words), where, beyond, parts[typical].estimate, table, rows, sentence)


def regime(names: Sequence[str], sides: Sequence[int]) -> str:
    """Return where a claim holds, fails and is undecided: the names of the parts.

    Args:
        names: of the parts; sides: +1, -1 or 0 of each.
    """
    lists = {word: [name for name, side in zip(names, sides, strict=True) if side == place]
             for word, place in (("holds", 1), ("fails", -1), ("undecided", 0))}  # fmt: skip
    return ". ".join(f"{word}: {'; '.join(parts)}" for word, parts in lists.items() if parts)


def over_seeds(statistic: Callable[[np.ndarray], float], config: ClaimConfig) -> Estimate:
    """Return a statistic of the seeds of a claim, given as an index array, with its bootstrap interval."""
    return bootstrap(statistic, config.seeds, np.random.default_rng(config.first_seed))


def over_pairs(
    statistic: Callable[[np.ndarray, np.ndarray], float], values: np.ndarray, reference: np.ndarray, config: ClaimConfig
) -> Estimate:
    """Return a statistic of two measurements over the seeds that have both, with its bootstrap interval.

    Nothing if fewer than half of the seeds have both.

    Args:
        statistic: from the chosen seeds of both.
        values, reference: shape `(seeds,)`; NaN where a seed has none.
        config: seeds.
    """
    pairs = np.stack([values, reference])
    pairs = pairs[:, np.isfinite(pairs).all(axis=0)]
    if pairs.shape[1] < config.seeds / 2:
        return NOTHING
    return bootstrap(lambda chosen: float(statistic(*pairs[:, chosen])), pairs.shape[1],
                     np.random.default_rng(config.first_seed))  # fmt: skip


def spread(name: str, estimate: Estimate) -> dict[str, float | None]:
    """Return an estimate as three table columns."""
    return {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}


def shown(estimate: Estimate, digits: int = 3) -> str:
    """Return an estimate with its 95 % interval, as a sentence quotes it."""
    if estimate.value is None:
        return "not measured"
    between = "" if estimate.low is None else f" [{estimate.low:.{digits}g}, {estimate.high:.{digits}g}]"
    return f"{estimate.value:.{digits}g}{between}"


def _result(config: ClaimConfig, claim: TheoryClaim, found: ClaimResult) -> dict[str, Any]:
    first = f" --first-seed {config.first_seed}" if config.first_seed else ""
    return {
        "claim": config.claim,
        "title": claim.title,
        "statement": claim.statement,
        "hypothesis": claim.hypothesis,
        "quantity": claim.quantity,
        "answer": found.answer,
        "sentence": found.sentence,
        "beyond": found.beyond,
        "change": claim.change,
        "regime": found.regime,
        "estimate": found.estimate.value,
        "interval": [found.estimate.low, found.estimate.high],
        "seeds": config.seeds,
        "parts": found.parts,
        "rows": found.rows,
        "command": f"repro theory claims {config.claim} --seeds {config.seeds}{first}",
    }
