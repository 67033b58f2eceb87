"""Theory claims: judged by the parts inside their hypothesis, the others a second sentence."""

from typing import Any

import pytest

from figures.answers.found import NOT_RUN, Found
from figures.answers.theory import CLAIMS, judged
from figures.tables.records import Given, Records, Studies
from figures.tables.theory import claim_records
from repro.records.store import Store
from repro.statistics.answers import YES

NAME = "lemma-3.4-surplus-difference"


ROW = {"part": "linear", "side": 1, "inside": True, "estimate": 2.0, "estimate_low": 1.9, "estimate_high": 2.1}
WHOLE = {"claim": NAME, "title": "a claim", "answer": YES, "hypothesis": "Learning is linear.", "rows": [], "seeds": 5,
         "quantity": "exponent", "estimate": 2.0, "interval": [1.9, 2.1]}  # fmt: skip


def said_of(store: Store, *parts: dict[str, Any], without: str = "") -> Found:
    """Judge a claim by a record with some parts, of which one thing is left out."""
    rows = [{name: value for name, value in part.items() if name != without} for part in parts]
    result = {name: value for name, value in (WHOLE | {"parts": rows}).items() if name != without}
    store.save("theory_claim", {"claim": NAME}, result=result)
    return judged(NAME, Given(Records(store.records())))


def test_what_lies_beyond_the_hypothesis_has_no_vote(store: Store) -> None:
    said = said_of(store, ROW, ROW | {"part": "saturated", "side": -1, "inside": False})
    assert said.word == YES
    assert "Beyond the hypothesis it holds in 0 of 1 settings." in said.beyond
    assert said.sentences[-1] == "Exponent: 2 [1.9, 2.1]."


@pytest.mark.parametrize(
    "part", ["answer", "hypothesis", "parts", "interval", "estimate", "quantity", "inside", "side"]
)
def test_a_record_of_a_version_that_says_less_is_not_run(part: str, store: Store) -> None:
    assert said_of(store, ROW, without=part).word == (YES if part == "hypothesis" else NOT_RUN)


def test_every_committed_record_is_a_claim_of_the_page(committed: Studies) -> None:
    assert {one.key for one in CLAIMS} == set(claim_records(committed.of("claims")))
    for one in CLAIMS:
        assert judged(one.key, committed).runs, one.key
