"""What a claim is, and how it is checked: its grid of cells is simulated, its one analysis gives the verdict."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

from repro.records.identity import run_id
from repro.records.provenance import collect
from repro.records.record import Record
from repro.records.settings import choose
from repro.records.store import Store
from theory.config import ClaimConfig, TheoryConfig
from theory.stats import NOTHING, Estimate

if TYPE_CHECKING:
    from theory.engine import Trajectory

KIND = "theory_claim"
HOLDS, REGIME, CONTRADICTED = "holds", "holds in a regime", "contradicted"
# Name to module; imported when checked, so that listing the claims costs no numba.
CLAIMS = {
    "lemma-3.1-activation": "activation",
    "lemma-3.1-sgd-on-forget": "activation",
    "theorem-3.2-sgd-boundary": "boundary",
    "theorem-3.3-sam-boundary": "boundary",
    "theorem-3.3-matched-forgetting": "comparison",
    "lemma-3.4-surplus-ratio": "surplus",
    "lemma-3.4-surplus-difference": "surplus",
    "lemma-3.4-alpha-tolerance": "alpha",
    "lemma-3.4-alpha-gap": "alpha",
    "random-labels": "comparison",
    "sharp-minmax": "comparison",
}
Grid = dict[Any, TheoryConfig]  # from what its analysis calls a cell to the cell
Runs = Mapping[Any, "Trajectory"]  # the same names, simulated


@dataclass(frozen=True)
class Finding:
    """What the simulation says about a claim.

    Attributes:
        verdict: "holds", "holds in a regime" or "contradicted".
        regime: where it holds and where it fails.
        estimate: the claim's central number, with a 95 % interval.
        rows: the table behind it.
    """

    verdict: str
    regime: str
    estimate: Estimate = NOTHING
    rows: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Claim:
    """A statement of the paper, the cells that test it, and their analysis.

    Attributes:
        title: short name.
        statement: what the paper says, as far as public notes word it.
        quantity: what the estimate is.
        grid: the cells, without their seeds; claims that share the function share its runs.
        analyse: from the simulated cells to a finding; the first seed also seeds a bootstrap.
        oracle: whether the analysis compares with the model retrained on R.
    """

    title: str
    statement: str
    quantity: str
    grid: Callable[[], Grid]
    analyse: Callable[[Runs, ClaimConfig], Finding]
    oracle: bool = True


def run_claims(
    store: Store, *, seeds: int = 40, names: Sequence[str] | None = None, first_seed: int = 0,
    known: Sequence[Record] = (),
) -> list[Record]:  # fmt: skip
    """Return the record of every claim, checking those that neither the store nor `known` has.

    Args:
        store: where new records are kept.
        seeds: independent seeds of every cell.
        names: claims to check; all by default.
        first_seed: first seed; another one repeats every check on fresh draws.
        known: records from elsewhere, such as committed ones; the same identity is not checked again.

    Raises:
        ConfigError: for an unknown claim, with the nearest name.
    """
    chosen = [choose("claim", name, CLAIMS) for name in names or CLAIMS]
    configs = [ClaimConfig(claim=name, seeds=seeds, first_seed=first_seed) for name in chosen]
    store.ensure_writable()
    elsewhere = {record.run_id: record for record in known}
    records, grid, runs = [], None, {}
    for config in configs:
        record = store.find(KIND, config) or elsewhere.get(run_id(KIND, config))
        if record is None:
            claim, begin = load_claim(config.claim), time.perf_counter()
            if claim.grid is not grid:  # else the claim before read the same cells
                grid, runs = claim.grid, simulate_grid(claim, config)
            result = _result(config, claim, claim.analyse(runs, config))
            provenance = collect(study="claims", seconds=round(time.perf_counter() - begin, 2))
            record = store.save(KIND, config, result=result, provenance=provenance)
        records.append(record)
    return records


def load_claim(name: str) -> Claim:
    """Return a claim by name, importing its module."""
    return import_module(f"theory.claims.{CLAIMS[choose('claim', name, CLAIMS)]}").CLAIMS[name]


def simulate_grid(claim: Claim, config: ClaimConfig) -> Runs:
    """Return the trajectory of every cell of a claim on the seeds of a config, by its name in the grid."""
    from theory.engine import simulate_many

    grid = {name: cell.changed(seeds=config.seeds, first_seed=config.first_seed) for name, cell in claim.grid().items()}
    cells = list(dict.fromkeys(grid.values()))  # two names may stand for one cell
    runs = dict(zip(cells, simulate_many(cells, description=claim.title, oracle=claim.oracle), strict=True))
    return {name: runs[cell] for name, cell in grid.items()}


def judge(parts: Mapping[str, bool], estimate: Estimate, rows: list[dict[str, Any]]) -> Finding:
    """Return the finding of a claim made of parts: it holds if all do, is contradicted if none does.

    Args:
        parts: from a regime, in words, to whether the statement holds there.
        estimate: the central number.
        rows: the table behind it; numbers are rounded to four digits.
    """
    good = [name for name, holds in parts.items() if holds]
    bad = [name for name, holds in parts.items() if not holds]
    verdict = HOLDS if not bad else REGIME if good else CONTRADICTED
    texts = ["holds: " + "; ".join(good)] * bool(good) + ["fails: " + "; ".join(bad)] * bool(bad)
    rounded = [{name: _round(value) for name, value in row.items()} for row in rows]
    return Finding(verdict, ". ".join(texts), estimate, rounded)


def spread(name: str, estimate: Estimate) -> dict[str, float | None]:
    """Return an estimate as three table columns."""
    return {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}


def _round(value: Any) -> Any:
    if not isinstance(value, float):
        return value
    return float(f"{value:.4g}") if value == value else None


def _result(config: ClaimConfig, claim: Claim, finding: Finding) -> dict[str, Any]:
    return {
        "claim": config.claim,
        "title": claim.title,
        "statement": claim.statement,
        "quantity": claim.quantity,
        "verdict": finding.verdict,
        "regime": finding.regime,
        "estimate": finding.estimate.value,
        "interval": [finding.estimate.low, finding.estimate.high],
        "seeds": config.seeds,
        "rows": finding.rows,
        "command": f"repro theory claims {config.claim} --seeds {config.seeds}",
    }
