"""What a claim is, and what checking it yields."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from repro.records.settings import check, setting
from theory.stats import NOTHING, Estimate

HOLDS, REGIME, CONTRADICTED = "holds", "holds in a regime", "contradicted"


@dataclass(frozen=True)
class ClaimConfig:
    """Identity of one check: which claim, on which seeds.

    Raises:
        ConfigError: naming the field, its value and the allowed range.
    """

    claim: str = setting("", "Identifier of the claim")
    seeds: int = setting(20, "Independent seeds of every cell", unit="count", low=2)
    first_seed: int = setting(0, "First seed", low=0)

    def __post_init__(self) -> None:
        check(self)


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
    """A statement of the paper and the function that checks it.

    Attributes:
        title: short name.
        statement: what the paper says, as far as public notes word it.
        quantity: what the estimate is.
        check: from a config to a finding.
    """

    title: str
    statement: str
    quantity: str
    check: Callable[[ClaimConfig], Finding]


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
    return Finding(verdict, ". ".join(texts), estimate, [_rounded(row) for row in rows])


def spread(name: str, estimate: Estimate) -> dict[str, float | None]:
    """Return an estimate as three table columns."""
    return {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}


def _rounded(row: dict[str, Any]) -> dict[str, Any]:
    return {name: _round(value) for name, value in row.items()}


def _round(value: Any) -> Any:
    if not isinstance(value, float):
        return value
    return float(f"{value:.4g}") if value == value else None
