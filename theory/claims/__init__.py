"""The paper's theoretical claims, one a file: each runs its sweep, fits what the claim states and gives a verdict."""

import time
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from repro.records.identity import run_id
from repro.records.provenance import collect
from repro.records.record import Record
from repro.records.settings import choose
from repro.records.store import Store
from theory.claims.finding import ClaimConfig

if TYPE_CHECKING:
    from theory.claims.finding import Claim

KIND = "theory_claim"
# Name to module; imported when checked, so that listing the claims costs no numba.
CLAIMS = {
    "lemma-3.1-activation": "theory.claims.activation",
    "lemma-3.1-sgd-on-forget": "theory.claims.sgd_on_forget",
    "theorem-3.2-sgd-boundary": "theory.claims.sgd_boundary",
    "theorem-3.3-sam-boundary": "theory.claims.sam_boundary",
    "theorem-3.3-matched-forgetting": "theory.claims.matched_forgetting",
    "lemma-3.4-surplus-ratio": "theory.claims.surplus_ratio",
    "lemma-3.4-surplus-difference": "theory.claims.surplus_difference",
    "lemma-3.4-alpha-tolerance": "theory.claims.alpha_tolerance",
    "lemma-3.4-alpha-gap": "theory.claims.alpha_gap",
    "random-labels": "theory.claims.random_labels",
    "sharp-minmax": "theory.claims.sharp_minmax",
}


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
    found = {record.run_id: record for record in known}
    return [store.find(KIND, config) or found.get(run_id(KIND, config)) or _check(config, store) for config in configs]


def load_claim(name: str) -> "Claim":
    """Return a claim by name, importing its module."""
    return import_module(CLAIMS[choose("claim", name, CLAIMS)]).CLAIM


def _check(config: ClaimConfig, store: Store) -> Record:
    claim, begin = load_claim(config.claim), time.perf_counter()
    finding = claim.check(config)
    result = {
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
    provenance = collect(study="claims", seconds=round(time.perf_counter() - begin, 2))
    return store.save(KIND, config, result=result, provenance=provenance)
