"""The committed page is what the committed records say, and nothing else."""

import json
import re
from pathlib import Path
from statistics import fmean

from figures.catalogue import find, studies_of
from figures.drawing.style import Theme
from figures.tables.cells import study_runs, unlearn_table
from figures.tables.records import Studies
from figures.verdicts.paper_repro import page_text
from repro.records.pack import readers
from repro.records.store import Store

ROOT = Path(__file__).parent.parent
NUMBER = r"\d+\.\d{2,}"


def test_the_committed_page_is_what_the_committed_records_say(committed: Studies) -> None:
    assert page_text(committed) == (ROOT / "paper_repro.md").read_text()


def test_every_number_of_the_readmes_findings_is_one_of_the_page_or_of_the_records(committed: Studies) -> None:
    """Most stand on the page; the others are ToW of cells and of doing nothing, and errors of the exact theory."""
    findings = re.findall(r"^\d\. .*?(?=\n\d\. |\n\n)", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    said = {number for finding in findings for number in re.findall(NUMBER, finding)}
    assert len(said) > 30
    drawn = find("fig-tow")(committed.of(*studies_of("fig-tow")), Theme()).data["mean"]
    nothing = unlearn_table(study_runs(committed.of("cifar10"))).drop_duplicates(
        ["dataset", "difficulty", "pretrain", "seed"]
    )
    idle = nothing.groupby(["dataset", "difficulty", "pretrain"])["original_tow"].mean()
    theory = committed.of("theory").of("theory")
    at_half = [record.result["final"] for record in theory if record.config["signal_strength"] == 0.5]
    errors = [fmean(final[name]) for final in at_half for name in ("test_error", "forget_error")]
    known = {f"{value:.3f}" for value in (*drawn, *idle)} | {f"{value:.2f}" for value in errors}
    assert said - known - set(re.findall(NUMBER, (ROOT / "paper_repro.md").read_text())) == set()


def test_every_committed_record_matches_its_hash(tmp_path: Path) -> None:
    packs = readers(Store(tmp_path / "empty"), ROOT / "results")[1:]
    assert len(packs) >= 5
    assert [problem for pack in packs for problem in pack.verify()] == []


def test_a_committed_record_without_arrays_stays_small(tmp_path: Path) -> None:
    packs = readers(Store(tmp_path / "empty"), ROOT / "results")[1:]
    records = [record for pack in packs for record in pack.records()]
    assert max(len(json.dumps(record.result)) for record in records) < 50_000
