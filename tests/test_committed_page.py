"""The committed page is what the committed records say, and nothing else."""

import json
from pathlib import Path

from figures.answers.answers import assess
from figures.answers.page import answer_text, page_text, pages, with_answer
from figures.tables.records import Studies
from repro.records.pack import readers
from repro.records.store import Store

ROOT = Path(__file__).parent.parent


def test_the_committed_pages_are_what_the_committed_records_say(committed: Studies) -> None:
    found = assess(committed)
    assert page_text(found, committed) == (ROOT / "paper_repro.md").read_text()
    written = {path.name: path.read_text() for path in (ROOT / "docs" / "claims").iterdir()}
    assert written == pages(found, committed)
    readme = (ROOT / "README.md").read_text()
    assert with_answer(readme, answer_text(found, committed)) == readme


def test_every_committed_record_matches_its_hash(tmp_path: Path) -> None:
    packs = readers(Store(tmp_path / "empty"), ROOT / "results")[1:]
    assert len(packs) >= 5
    assert [problem for pack in packs for problem in pack.verify()] == []


def test_a_committed_record_without_arrays_stays_small(tmp_path: Path) -> None:
    packs = readers(Store(tmp_path / "empty"), ROOT / "results")[1:]
    records = [record for pack in packs for record in pack.records()]
    assert max(len(json.dumps(record.result)) for record in records) < 200_000  # tug-of-war: 216 settings of the theory
