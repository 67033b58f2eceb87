"""Claims: records, verdict logic, and the quick ones from end to end."""

import json

import numpy as np
import pytest

from repro.records.errors import ConfigError
from theory.claims import CLAIMS, load_claim, run_claims
from theory.claims.boundary import Boundary
from theory.claims.finding import ClaimConfig, judge
from theory.claims.surplus import NORMS, Surplus
from theory.stats import NOTHING, Estimate


@pytest.mark.parametrize(
    "parts, verdict",
    [
        ({"a": True, "b": True}, "holds"),
        ({"a": True, "b": False}, "holds in a regime"),
        ({"a": False, "b": False}, "contradicted"),
    ],
)
def test_a_claim_holds_only_if_all_its_parts_do(parts, verdict):
    finding = judge(parts, NOTHING, [])
    assert finding.verdict == verdict
    assert all(part in finding.regime for part in parts)


def test_every_claim_is_listed_with_its_statement():
    for name in CLAIMS:
        claim = load_claim(name)
        assert claim.title
        assert claim.statement
        assert claim.quantity


def test_an_unknown_claim_names_the_nearest(store):
    with pytest.raises(ConfigError, match=r"lemma-3\.1-activation"):
        run_claims(store, names=["lemma-3.1-activations"], seeds=2)


def test_quick_claims_write_one_complete_record_each_and_run_once(store):
    names = ["lemma-3.1-activation", "random-labels"]
    records = run_claims(store, seeds=4, names=names)
    assert [record.result["claim"] for record in records] == names
    for record in records:
        result = record.result
        assert result["verdict"] in ("holds", "holds in a regime", "contradicted")
        assert result["seeds"] == 4
        assert len(result["interval"]) == 2
        assert len(json.dumps(result, indent=1)) < 50_000
        assert f"repro theory claims {result['claim']}" in result["command"]
    assert [r.provenance for r in run_claims(store, seeds=4, names=names)] == [r.provenance for r in records]


def test_sam_switches_off_retain_noise_neurons_of_a_sam_pretrained_network(store):
    record = run_claims(store, seeds=4, names=["lemma-3.1-activation"])[0]
    row = next(r for r in record.result["rows"] if r["start"] == "SAM-pretrained" and r["epoch"] == 0)
    assert row["active_retain_match"] > 0.7
    assert row["active_retain_match_perturbed"] < 0.05
    assert row["active_forget_match_perturbed"] > 0.7


def power_law(exponent: float) -> Boundary:
    """Return a boundary |phi*| = 2 axis^exponent: the error crosses 0.1 exactly there, for every seed."""
    axis = np.array([100.0, 200.0, 400.0, 800.0])
    strengths = np.geomspace(0.5, 200.0, 30)
    distance = np.log(strengths[None, :] / (2 * axis[:, None] ** exponent))
    errors = np.repeat(np.clip(0.1 - 0.02 * distance, 0, 0.5)[:, :, None], 5, axis=2)
    return Boundary(axis, np.repeat(strengths[None, :], 4, axis=0), errors, np.zeros_like(errors))


@pytest.mark.parametrize("exponent", [0.0, 0.25, 0.5])
def test_the_fitted_exponent_is_that_of_a_power_law_boundary(exponent):
    found = power_law(exponent).exponent(ClaimConfig(claim="x", seeds=5))
    assert found.value == pytest.approx(exponent, abs=1e-6)


def test_surplus_exponents_are_those_of_power_laws():
    norms = np.array(NORMS)[:, None, None]
    sgd = np.repeat(np.repeat(norms**1.5, 2, axis=1), 6, axis=2)
    found = Surplus("x", sgd, 3 * sgd * norms**0.5)
    config = ClaimConfig(claim="x", seeds=6)
    assert found.exponent("ratio", 10, config).value == pytest.approx(0.5)
    assert found.exponent("sam", 100, config).value == pytest.approx(2.0)


def test_an_estimate_compares_by_its_whole_interval():
    estimate = Estimate(1.0, 0.8, 1.2)
    assert estimate.excludes(1.3)
    assert not estimate.excludes(1.1)
    assert estimate.below(1.3)
    assert not estimate.below(1.1)
    assert not NOTHING.below(0.0)
