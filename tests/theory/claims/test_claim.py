"""Claims: the listing, the answer by intervals, the record, and that nothing is computed twice."""

import json
from functools import cache
from pathlib import Path

import pytest
from scipy.stats import t

from repro.base.errors import ConfigError
from repro.records.published import PublishedStudy
from repro.records.store import Store
from tests.theory.claims.synthetic import sides
from theory.claims import claim as claims
from theory.claims import trajectories
from theory.claims.claim import CLAIMS, MEASUREMENTS, Part, judge, load_claim, run_claims, shown, simulate_grid
from theory.config import ClaimConfig, TheoryConfig
from theory.stats import NOTHING, Estimate, mean_interval, simultaneous

QUICK = "lemma-3.1-activation"
ROOT = Path(__file__).parents[3]
PUBLISHED = cache(lambda: [record for name in ("claims", "measurements")
                           for record in PublishedStudy(ROOT / "results" / f"{name}.parquet").records()])  # fmt: skip
CONFIG = ClaimConfig(claim="x", seeds=40)
IN, OUT, WIDE = Estimate(0.0, -0.1, 0.1), Estimate(2.0, 1.9, 2.1), Estimate(0.9, 0.5, 1.3)


def judged(*estimates: Estimate):
    parts = {name: Part(estimate, -1.0, 1.0, "off the grid") for name, estimate in zip("abcd", estimates, strict=False)}
    return judge(parts, "a", CONFIG, rows=[], sentence="so it is")


@pytest.mark.parametrize(
    "estimates, answer, regime",
    [
        ((IN, IN), "yes", "holds: a (0); b (0)"),
        ((IN, OUT), "only where", "holds: a (0). fails: b (2)"),
        ((IN, WIDE), "only where", "holds: a (0). undecided: b (0.9)"),
        ((OUT, WIDE), "the opposite", "fails: a (2). undecided: b (0.9)"),
        ((WIDE, NOTHING), "open", "undecided: a (0.9); b (off the grid)"),
        ((OUT, OUT), "the opposite", "fails: a (2); b (2)"),
    ],
)
def test_intervals_decide_and_what_is_off_the_grid_decides_nothing(estimates, answer, regime):
    finding = judged(*estimates)
    assert (finding.answer, finding.regime) == (answer, regime)
    assert finding.sentence == "so it is"
    assert finding.estimate == estimates[0]  # of the part that was named


def test_what_lies_beyond_the_hypothesis_decides_nothing_and_stands_apart():
    parts = {"a": Part(IN, -1.0, 1.0), "b": Part(OUT, -1.0, 1.0, inside=False)}
    finding = judge(parts, "a", CONFIG, rows=[], sentence="")
    assert (finding.answer, finding.regime, finding.beyond) == ("yes", "holds: a (0)", "fails: b (2)")
    assert [row["inside"] for row in finding.parts] == [True, False]


def test_a_difference_within_the_margin_is_none():
    small = Part(Estimate(0.001, -0.002, 0.004), high=0.0, margin=0.01)
    assert (small.word(1, 40), Part(small.estimate, high=0.0).word(1, 40)) == ("no difference", "open")
    assert Part(Estimate(-0.2, -0.3, -0.1), high=0.0, margin=0.01).word(1, 40) == "yes"
    finding = judge({"a": small, "b": small}, "a", CONFIG, rows=[], sentence="")
    assert finding.answer == "no difference"


def test_intervals_must_hold_together_so_that_one_of_many_is_wider():
    near = Estimate(0.8, 0.61, 0.99)  # by itself inside [-1, 1]
    assert sides(judged(near)) == {"a": 1}
    assert sides(judged(near, IN, IN)) == {"a": 0, "b": 1, "c": 1}
    wide = simultaneous(Estimate(0.0, -1.0, 2.0), 10, 40)
    ratio = t.ppf(1 - 0.025 / 10, 39) / t.ppf(0.975, 39)
    assert (wide.low, wide.high) == (pytest.approx(-ratio), pytest.approx(2 * ratio))
    assert simultaneous(IN, 1, 40) == pytest.approx(IN)


def test_where_few_of_the_seeds_have_a_value_their_number_says_how_much_wider():
    few = mean_interval([-1.0, -1.1, -0.9] + [float("nan")] * 37)  # of 40 seeds three forgot as much as they had to
    wide = simultaneous(few, 20, 40)
    assert wide.low == pytest.approx(-1 - t.ppf(1 - 0.025 / 20, 2) * 0.1 / 3**0.5)
    assert (few.high, wide.high) == (pytest.approx(-0.752, abs=1e-3), pytest.approx(0.153, abs=1e-3))
    assert [Part(few, high=0.0).side(parts, 40) for parts in (1, 20)] == [1, 0]


def test_an_interval_wholly_below_or_above_the_region_fails_and_one_across_its_border_decides_nothing():
    for estimate, side in (
        (Estimate(-2, -2.1, -1.9), -1),
        (OUT, -1),
        (WIDE, 0),
        (Estimate(-1, -1.2, -0.8), 0),
        (IN, 1),
    ):
        assert Part(estimate, -1.0, 1.0).side(1, 40) == side
    assert Part(OUT, low=1.0).side(1, 40) == 1
    assert Part(OUT, high=1.0).side(1, 40) == -1
    assert Part(Estimate(0.5, None, None), 0.0, 1.0).side(1, 40) == 0


def test_a_table_is_rounded_to_four_digits_and_the_estimate_is_not():
    rows = [{"x": 0.123456, "y": float("nan"), "z": "text", "w": float("inf")}]
    finding = judge({"a": Part(Estimate(0.123456, 0.1, 0.2))}, "a", CONFIG, rows=rows, sentence="")
    assert finding.rows == [{"x": 0.1235, "y": None, "z": "text", "w": None}]
    assert finding.estimate.value == 0.123456
    assert finding.parts == [{"part": "a", "estimate": 0.1235, "estimate_low": 0.1, "estimate_high": 0.2,
                              "claimed_low": None, "claimed_high": None, "side": 1, "word": "yes",
                              "inside": True}]  # fmt: skip


def test_a_sentence_quotes_an_estimate_with_both_ends_of_its_interval():
    assert shown(Estimate(0.12345, -0.1, 0.21)) == "0.123 [-0.1, 0.21]"
    assert shown(Estimate(12.345, 11.1, 13.33), 2) == "12 [11, 13]"
    assert (shown(Estimate(0.5, None, None)), shown(NOTHING)) == ("0.5", "not measured")


@pytest.mark.parametrize("name", [*CLAIMS, *MEASUREMENTS])
def test_a_claim_has_words_and_runs_the_cells_that_its_published_record_names(name):
    """An id of a cell holds every setting of it, and whether a model was retrained beside it."""
    claim = load_claim(name)
    words = (claim.title, claim.statement, claim.quantity, claim.change, claim.hypothesis)
    assert all(text.strip() for text in (words if name in CLAIMS else words[:1]))
    (record,) = [one for one in PUBLISHED() if one.result["claim"] == name]
    seeds = {setting: record.config[setting] for setting in ("seeds", "first_seed")}
    first_round = claim.grid({}).values()
    assert {trajectories.setting_id(cell.changed(**seeds), claim.oracle) for cell in first_round} <= {
        *record.result["cells"]
    }


def test_no_two_claims_have_one_title():
    assert len({load_claim(name).title for name in CLAIMS}) == len(CLAIMS)


def test_an_unknown_claim_names_the_nearest(store):
    with pytest.raises(ConfigError, match=r"lemma-3\.1-activation"):
        run_claims(store, names=["lemma-3.1-activations"], seeds=2)


def test_every_cell_of_a_grid_runs_on_the_seeds_asked_for(store):
    claim = load_claim(QUICK)
    runs = simulate_grid(claim, ClaimConfig(claim=QUICK, seeds=3, first_seed=5), store)
    assert set(runs) == set(claim.grid({}))
    for name, cell in claim.grid({}).items():
        assert runs[name].seeds.tolist() == [5, 6, 7]
        assert runs[name].config == cell.changed(seeds=3, first_seed=5)


def test_a_grid_is_asked_again_until_it_wants_no_more(store, monkeypatch):
    base = TheoryConfig(d=300, n=12, n_forget=3, m=3, pretrain_epochs=1, epochs=0, directions=64)
    asked = []

    def grid(runs):
        asked.append(sorted(runs))
        return {alpha: base.changed(alpha=alpha) for alpha in (0.5, 0.6, 0.7)[: len(asked)]}

    claim = claims.TheoryClaim("t", "s", "h", "q", "c", grid, lambda runs, config: judged(IN))
    runs = simulate_grid(claim, ClaimConfig(claim="x", seeds=2), store)
    assert asked == [[], [0.5], [0.5, 0.6], [0.5, 0.6, 0.7]]
    assert list(runs) == [0.5, 0.6, 0.7]


def test_a_record_holds_the_analysis_names_its_cells_and_is_made_once(store, monkeypatch):
    (record,) = run_claims(store, names=[QUICK], seeds=3)
    result = json.loads(json.dumps(record.result))
    assert (result["claim"], result["seeds"]) == (QUICK, 3)
    assert record.config["version"] == claims.VERSION
    assert result["answer"] == "only where"
    assert result["hypothesis"] == load_claim(QUICK).hypothesis
    assert result["sentence"]
    assert result["change"] == load_claim(QUICK).change
    kept = {path.name for path in (store.root / "cells" / "runs").iterdir()}
    assert set(result["cells"]) == kept
    assert len(kept) == len(load_claim(QUICK).grid({}))
    monkeypatch.setattr(claims, "_check", None)  # would be called to check again
    assert run_claims(store, names=[QUICK], seeds=3)[0].provenance == record.provenance
    other = Store(store.root.parent / "other")
    assert run_claims(other, names=[QUICK], seeds=3, known=[record]) == [record]
    assert result["command"] == f"repro theory claims {QUICK} --seeds 3"


def test_the_command_of_a_claim_on_fresh_draws_makes_the_same_record():
    claim = load_claim(QUICK)
    again = claims._result(ClaimConfig(claim=QUICK, seeds=3, first_seed=5), claim, judged(IN))
    assert again["command"] == f"repro theory claims {QUICK} --seeds 3 --first-seed 5"


def test_another_version_of_the_analyses_reads_the_same_cells(store, monkeypatch):
    (first,) = run_claims(store, names=[QUICK], seeds=2)
    monkeypatch.setattr(claims, "VERSION", claims.VERSION + 1)
    monkeypatch.setattr(trajectories, "simulate_many", None)  # would be called for a cell that is not there
    (second,) = run_claims(store, names=[QUICK], seeds=2)
    assert second.run_id != first.run_id
    assert second.result == first.result
