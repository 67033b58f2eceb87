"""Claims: the listing, the verdict, the record, and that nothing is computed twice."""

import json

import pytest

from repro.records.errors import ConfigError
from theory.claims import claim as claims
from theory.claims.claim import CLAIMS, judge, load_claim, run_claims, simulate_grid
from theory.config import ClaimConfig, TheoryConfig
from theory.stats import NOTHING, Estimate

QUICK = "lemma-3.1-activation"


@pytest.mark.parametrize(
    "parts, verdict, regime",
    [
        ({"a": True, "b": True}, "holds", "holds: a; b"),
        ({"a": True, "b": False}, "holds in a regime", "holds: a. fails: b"),
        ({"a": False, "b": False}, "contradicted", "fails: a; b"),
    ],
)
def test_a_claim_holds_only_if_all_its_parts_do(parts, verdict, regime):
    finding = judge(parts, NOTHING, [])
    assert (finding.verdict, finding.regime) == (verdict, regime)


def test_a_table_is_rounded_to_four_digits_and_the_estimate_is_not():
    finding = judge({"a": True}, Estimate(0.123456, 0.1, 0.2), [{"x": 0.123456, "y": float("nan"), "z": "text"}])
    assert finding.rows == [{"x": 0.1235, "y": None, "z": "text"}]
    assert finding.estimate.value == 0.123456


@pytest.mark.parametrize("name", CLAIMS)
def test_every_listed_claim_has_words_and_a_grid(name):
    claim = load_claim(name)
    assert claim.title
    assert claim.statement
    assert claim.quantity
    assert all(isinstance(cell, TheoryConfig) for cell in claim.grid().values())


def test_every_claim_that_a_module_defines_is_listed():
    modules = {name: load_claim(name) for name in CLAIMS}
    assert len({claim.title for claim in modules.values()}) == len(CLAIMS)


def test_an_unknown_claim_names_the_nearest(store):
    with pytest.raises(ConfigError, match=r"lemma-3\.1-activation"):
        run_claims(store, names=["lemma-3.1-activations"], seeds=2)


def test_every_cell_of_a_grid_runs_on_the_seeds_asked_for():
    claim = load_claim(QUICK)
    runs = simulate_grid(claim, ClaimConfig(claim=QUICK, seeds=3, first_seed=5))
    assert set(runs) == set(claim.grid())
    for name, cell in claim.grid().items():
        assert runs[name].seeds.tolist() == [5, 6, 7]
        assert runs[name].config == cell.changed(seeds=3, first_seed=5)


def test_a_claim_writes_one_complete_record_and_runs_once(store):
    record = run_claims(store, seeds=2, names=[QUICK])[0]
    result = record.result
    assert result["claim"] == QUICK
    assert result["seeds"] == 2
    assert result["estimate"] == pytest.approx(1.0, abs=0.01)  # SAM's perturbation switches all of them off
    assert result["interval"][0] <= result["estimate"] <= result["interval"][1]
    assert result["command"] == f"repro theory claims {QUICK} --seeds 2"
    assert len(json.dumps(result, indent=1)) < 50_000
    assert run_claims(store, seeds=2, names=[QUICK])[0].provenance == record.provenance
    other = run_claims(store, seeds=2, first_seed=7, names=[QUICK])[0]
    assert other.run_id != record.run_id
    assert other.result["rows"] != result["rows"]


def test_a_record_from_elsewhere_is_not_checked_again(store, tmp_path):
    record = run_claims(store, seeds=2, names=[QUICK])[0]
    elsewhere = type(store)(tmp_path / "empty")
    assert run_claims(elsewhere, seeds=2, names=[QUICK], known=[record]) == [record]
    assert list(elsewhere.records("theory_claim")) == []


def test_two_claims_of_one_grid_share_its_runs(store, monkeypatch):
    names, run = [QUICK, "lemma-3.4-surplus-ratio", "lemma-3.4-surplus-difference"], []
    monkeypatch.setattr(
        claims, "simulate_grid", lambda claim, config: run.append(claim) or simulate_grid(claim, config)
    )
    records = run_claims(store, seeds=2, names=names)
    assert run == [load_claim(name) for name in names[:2]]
    assert [record.result["claim"] for record in records] == names
    assert records[2].result["estimate"] == pytest.approx(2.0, abs=0.25)
