"""What people read: short, the same everywhere, from records alone."""

import re
from pathlib import Path

import pytest

from figures.answers.answers import Answered, assess, tally
from figures.answers.page import answer_text, figure_rows, page_text, pages, summary, with_answer, write_pages
from figures.catalogue import FIGURES
from figures.tables.records import Studies
from repro.base.glossary import explain
from repro.records.store import Store
from tests.figures.conftest import studies_in

LINES, WORDS, README_WORDS, LONGEST = 40, 600, 120, 25


def words(text: str) -> list[str]:
    """Return what a reader sees: no link targets, no marks of tables."""
    return re.sub(r"<!--.*?-->|\]\([^)]*\)|[|*\[\]`#]|---", " ", text).split()


@pytest.fixture(scope="module")
def found(committed: Studies) -> list[Answered]:
    return assess(committed)


def test_the_answer_is_short(committed: Studies, found: list[Answered]) -> None:
    head = "\n".join(page_text(committed).splitlines()[:LINES])
    assert len(words(head)) <= WORDS
    assert all(f"(docs/claims/{one.slug}.md)" in head for one in found)
    assert len(answer_text(found, committed).split()) <= README_WORDS


def test_sentences_are_short(found: list[Answered]) -> None:
    for one in found:
        numbers = one.found.sentences if one.found.unit else ()  # the theory's are in the words of its records
        for sentence in (*numbers, one.claim.reading, one.claim.paper):
            assert len(words(sentence)) <= LONGEST, sentence


def test_every_link_of_the_pages_leads_to_a_file_that_is_written(committed: Studies) -> None:
    files = pages(committed)
    for name, text in files.items():
        if name.endswith(".md"):
            assert set(re.findall(r"\]\(([^)]*)\)", text)) <= set(files), name


def test_a_claim_is_on_the_page_of_each_figure_that_names_it(found: list[Answered]) -> None:
    keys = {one.claim.key for one in found}
    assert {claim for entry in FIGURES.values() for claim in entry.claims} <= keys
    rows = {row["figure"]: row for row in figure_rows(found, ["fig-tow"])}
    assert (rows["`fig-tow`"]["state"], rows["`fig-mia`"]["state"]) == ("drawn", "missing")
    assert "1a" in rows["`fig-tow`"]["claims"]


def test_the_summary_says_the_same_and_names_what_is_not_written_yet(
    committed: Studies, found: list[Answered], tmp_path: Path
) -> None:
    report = tmp_path / "report.html"
    said = " ".join(summary(committed, report))
    assert answer_text(found, committed) in said
    assert tally(found) in said
    assert "repro paper report" in said
    report.touch()
    assert f"open {report}" in " ".join(summary(committed, report))


def test_the_answer_of_a_readme_is_written_between_its_marks(tmp_path: Path, empty: Store) -> None:
    nothing = studies_in(empty)
    (tmp_path / "README.md").write_text("before\n<!-- answer -->\nold\n<!-- /answer -->\nafter\n")
    write_pages(nothing, tmp_path / "paper_repro.md")
    text = (tmp_path / "README.md").read_text()
    assert "old" not in text
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert with_answer(text, "new") == "before\n<!-- answer -->\nnew\n<!-- /answer -->\nafter\n"
    assert (tmp_path / "docs" / "claims" / "index.md").exists()


@pytest.mark.parametrize(
    "word",
    ["ToW", "SAM", "ASAM", "SGD", "NegGrad", "Sharp MinMax", "noise floor", "hardest images", "middle images", "open",
     "easiest images", "doing nothing", "retrained", "setting", "seed", "margin", "AUC", "E_Wp", "E_Var", "Hessian",
     "alpha", "memorization", "test error", "MIA correctness", "pretraining"],
)  # fmt: skip
def test_every_word_of_a_headline_is_in_the_glossary(word: str) -> None:
    assert explain(word).meaning
