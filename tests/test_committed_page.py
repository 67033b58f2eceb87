"""The committed page is what the committed records say, and nothing else."""

from pathlib import Path

from figures.verdicts.paper_repro import write_page
from repro.records.pack import readers
from repro.records.store import Store

ROOT = Path(__file__).parent.parent


def test_the_committed_page_is_what_the_committed_records_say(tmp_path: Path) -> None:
    committed = readers(Store(tmp_path / "empty"), ROOT / "results")[1:]
    written = write_page(committed, tmp_path / "paper_repro.md")
    assert written.read_text() == (ROOT / "paper_repro.md").read_text()


def test_every_committed_record_matches_its_hash(tmp_path: Path) -> None:
    packs = readers(Store(tmp_path / "empty"), ROOT / "results")[1:]
    assert len(packs) >= 5
    assert [problem for pack in packs for problem in pack.verify()] == []


def test_a_committed_record_without_arrays_stays_small(tmp_path: Path) -> None:
    import json

    packs = readers(Store(tmp_path / "empty"), ROOT / "results")[1:]
    records = [record for pack in packs for record in pack.records()]
    assert max(len(json.dumps(record.result)) for record in records) < 50_000
