"""Theory claims: judged by the parts inside their hypothesis, the others a second sentence."""

from typing import Any

import pytest

from figures.answers.found import NOT_RUN
from figures.answers.theory import CLAIMS, judged
from figures.tables.records import Given, Records, Studies
from figures.tables.theory import claim_records
from repro.records.store import Store
from repro.statistics.answers import YES

NAME = "lemma-3.4-surplus-difference"


def claim(store: Store, parts: list[dict[str, Any]], name: str = NAME, **more: Any) -> Studies:
    ends = {"estimate": 2.0, "estimate_low": 1.9, "estimate_high": 2.1}
    result = {
        "claim": name,
        "title": "a claim",
        "answer": YES,
        "hypothesis": "Learning is linear.",
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
    studies = claim(
        store,
        [{"part": "linear, d = 10", "side": 1, "inside": True}, {"part": "saturated", "side": -1, "inside": False}],
    )
    said = judged(NAME, studies)
    assert said.word == YES
    assert "Beyond the hypothesis it holds in 0 of 1 cases." in said.beyond
    assert said.sentences[-1] == "Exponent: 2 [1.9, 2.1]."


@pytest.mark.parametrize(
    "part", ["answer", "hypothesis", "parts", "interval", "estimate", "quantity", "inside", "side"]
)
def test_a_record_of_a_version_that_says_less_is_not_run(part: str, store: Store) -> None:
    row = {"part": "linear", "side": 1, "inside": True, "estimate": 2.0, "estimate_low": 1.9, "estimate_high": 2.1}
    whole = {"claim": NAME, "title": "a claim", "answer": YES, "hypothesis": "Linear.", "seeds": 5,
             "quantity": "exponent", "rows": [], "estimate": 2.0, "interval": [1.9, 2.1]}  # fmt: skip
    result = whole | {"parts": [{name: value for name, value in row.items() if name != part}]}
    store.save("theory_claim", {"claim": NAME}, result={name: value for name, value in result.items() if name != part})
    assert judged(NAME, Given(Records(store.records()))).word == (YES if part == "hypothesis" else NOT_RUN)


def test_every_committed_record_is_a_claim_of_the_page(committed: Studies) -> None:
    assert {one.key for one in CLAIMS} == set(claim_records(committed.of("claims")))
    for one in CLAIMS:
        assert judged(one.key, committed).runs, one.key
