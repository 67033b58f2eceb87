"""Theory claims: judged by the parts inside their hypothesis, the others a second sentence."""

from typing import Any

import pytest

from figures.answers.theory import CLAIMS, HYPOTHESES, judged, surplus, word_of
from figures.tables.records import Given, Records, Studies
from repro.records.store import Store
from repro.statistics.answers import NO_DIFFERENCE, ONLY_WHERE, OPEN, OPPOSITE, YES

NAME = "lemma-3.4-surplus-difference"


@pytest.mark.parametrize(
    ("sides", "word"), [([1, 1], YES), ([1, 0], ONLY_WHERE), ([1, -1], ONLY_WHERE), ([-1, 0], OPPOSITE), ([0], OPEN)]
)
def test_a_word_follows_from_the_sides(sides: list[int], word: str) -> None:
    assert word_of(sides) == word


def claim(store: Store, parts: list[dict[str, Any]], name: str = NAME, **more: Any) -> Studies:
    ends = {"estimate": 2.0, "estimate_low": 1.9, "estimate_high": 2.1}
    result = {
        "claim": name,
        "title": "a claim",
        "verdict": "holds",
        "rows": [],
        "seeds": 5,
        "estimate": 2.0,
        "interval": [1.9, 2.1],
        "quantity": "exponent",
        "parts": [ends | one for one in parts],
    } | more
    store.save("theory_claim", {"claim": name, "parts": len(parts)}, result=result)
    return Given(Records(store.records()))


def test_what_lies_beyond_the_hypothesis_has_no_vote(store: Store) -> None:
    studies = claim(store, [{"part": "linear, d = 10", "side": 1}, {"part": "saturated, d = 10", "side": -1}])
    said = judged(NAME, studies)
    assert said.word == YES
    assert "Beyond the hypothesis it holds in 0 of 1 cases." in said.beyond
    assert said.sentences[-1] == "Exponent: 2 [1.9, 2.1]."


def test_a_part_that_says_itself_where_it_lies_is_believed(store: Store) -> None:
    studies = claim(
        store, [{"part": "linear", "side": -1, "inside": False}, {"part": "else", "side": 1, "inside": True}]
    )
    assert judged(NAME, studies).word == YES


def test_a_record_that_says_its_answer_and_hypothesis_is_believed(store: Store) -> None:
    said = judged(NAME, claim(store, [{"part": "linear", "side": -1}], answer=NO_DIFFERENCE, hypothesis="n is large."))
    assert said.word == NO_DIFFERENCE
    assert "Hypothesis: n is large." in said.beyond


def test_the_ratio_stands_beside_the_difference(store: Store) -> None:
    claim(store, [{"part": "linear", "side": 1}])
    studies = claim(store, [{"part": "linear", "side": -1}], "lemma-3.4-surplus-ratio")
    said = surplus(studies)
    assert said.word == YES
    assert "as a ratio" in said.beyond[-1]
    assert len(said.runs) == 2


def test_every_committed_record_is_judged_inside_a_hypothesis_that_has_parts(committed: Studies) -> None:
    assert {one.key for one in CLAIMS} == set(HYPOTHESES)
    for one in CLAIMS:
        said = one.judge(committed)
        assert said.effects, one.name
        assert said.runs, one.name
