"""The committed page is what the committed records say, and nothing else."""

from pathlib import Path

from figures.answers.answers import Answered
from figures.answers.page import answer_text, page_text, pages, with_answer
from figures.tables.records import Studies

ROOT = Path(__file__).parent.parent


def test_the_committed_pages_are_what_the_committed_records_say(committed: Studies, assessed: list[Answered]) -> None:
    found = assessed
    assert page_text(found, committed) == (ROOT / "paper_repro.md").read_text()
    written = {path.name: path.read_text() for path in (ROOT / "docs" / "claims").iterdir()}
    assert written == pages(found, committed)
    readme = (ROOT / "README.md").read_text()
    assert with_answer(readme, answer_text(found, committed)) == readme
