"""Theory verdicts are those of the claim records; a figure of several claims says where they differ."""

from collections.abc import Callable, Sequence

import pytest

from figures.tables.records import Records
from figures.verdicts.theory_claims import CLAIMS, ITEMS, one_claim, several_claims
from repro.records.record import Record

Read = Callable[[Sequence[Record]], Records]


def claim(name: str, verdict: str, **result: object) -> Record:
    found = {"claim": name, "title": name.upper(), "verdict": verdict, "regime": "s = 0.5", "estimate": 0.25,
             "interval": [0.2, 0.3], "seeds": 7, "parts": []}  # fmt: skip
    return Record(name, "theory_claim", "ok", {"claim": name}, found | result, {})


def test_a_claim_stands_with_its_estimate_interval_seeds_and_quantity(records_of: Read) -> None:
    records = records_of([claim("a", "contradicted", quantity="exponent"), claim("b", "holds", interval=[None, None])])
    found = one_claim("a", records)
    assert (found.verdict, found.regime) == ("contradicted", "s = 0.5")
    assert found.number == "0.25 [0.2, 0.3] (7 seeds) — exponent"
    assert one_claim("b", records).number == "0.25 (7 seeds)"
    assert one_claim("never run", records).verdict == "not run"


@pytest.mark.parametrize(("first", "second", "verdict"), [
    ("holds", "holds", "holds"), ("contradicted", "contradicted", "contradicted"),
    ("holds", "contradicted", "mixed"), ("holds in a regime", "undecided", "holds in a regime"),
    ("contradicted", "undecided", "contradicted"),
])  # fmt: skip
def test_claims_of_one_figure_have_a_common_verdict(records_of: Read, first: str, second: str, verdict: str) -> None:
    records = records_of([claim("a", first), claim("b", second), claim("c", "holds")])
    found = several_claims(("a", "b"), records)
    assert found.verdict == verdict
    assert found.number == f"A: {first}; B: {second}"
    assert [record.run_id for record in found.records] == ["a", "b"]


def test_a_record_of_an_older_version_of_the_claims_is_passed_over(records_of: Read) -> None:
    old = claim("a", "holds")
    del old.result["parts"]
    assert one_claim("a", records_of([old])).verdict == "not run"


def test_a_claim_brings_its_sentence_and_what_would_change_it(records_of: Read) -> None:
    found = one_claim("a", records_of([claim("a", "mixed", sentence="So it is.", change="The clock.")]))
    assert (found.verdict, found.sentence, found.change) == ("mixed", "So it is.", "The clock.")


def test_every_claim_is_an_item_with_its_own_command() -> None:
    assert [item.title for item in ITEMS] == [title for _, title, _ in CLAIMS]
    assert ITEMS[2].command == "repro theory claims theorem-3.2-sgd-boundary"
