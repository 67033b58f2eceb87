"""What people read: short, the same everywhere, from records alone."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from figures.answers.answers import Answered, tally
from figures.answers.page import answer_text, figure_rows, page_text, pages, summary, with_answer, write_pages
from figures.catalogue import FIGURES
from figures.tables.records import Studies
from repro.base.glossary import explain
from repro.records.store import Store
from repro.statistics.answers import OPPOSITE
from tests.figures.conftest import studies_in

LINES, WORDS, README_WORDS, LONGEST = 40, 600, 120, 25


def words(text: str) -> list[str]:
    """Return what a reader sees: no link targets, no marks of tables."""
    return re.sub(r"<!--.*?-->|\]\([^)]*\)|[|*\[\]`#]|---", " ", text).split()


@pytest.fixture
def found(assessed: list[Answered]) -> list[Answered]:
    return assessed


def test_the_answer_is_short(committed: Studies, found: list[Answered]) -> None:
    head = "\n".join(page_text(found, committed).splitlines()[:LINES])
    assert len(words(head)) <= WORDS
    assert all(f"(docs/claims/{one.slug}.md)" in head for one in found)
    assert len(answer_text(found, committed).split()) <= README_WORDS


def test_sentences_are_short(found: list[Answered]) -> None:
    for one in found:
        numbers = one.found.sentences if one.found.unit else ()  # the theory's are in the words of its records
        for sentence in (*numbers, one.claim.reading, one.claim.paper):
            assert len(words(sentence)) <= LONGEST, sentence


def test_every_link_of_the_pages_leads_to_a_file_that_is_written(committed: Studies, found: list[Answered]) -> None:
    files = pages(found, committed)
    for name, text in files.items():
        if name.endswith(".md"):
            assert set(re.findall(r"\]\(([^)]*)\)", text)) <= set(files), name


def texts(found: list[Answered], studies: Studies) -> dict[str, str]:
    """Return every text that says what was found on the first claim."""
    files = pages(found, studies)
    return {
        "README": answer_text(found, studies), "page": page_text(found, studies), "list": files["index.md"],
        "claim": files["1a.md"], "strip": files["1a.svg"], "terminal": found[0].said(), "json": str(found[0].row()),
    }  # fmt: skip


def test_what_is_judged_once_is_what_every_text_says(committed: Studies, found: list[Answered]) -> None:
    """Another answer to 1a moves README's block, the page, the claim's own page, the list and the terminal alike."""
    first, *rest = found
    effect = replace(first.found.effects[0], value=0.777)
    told = replace(first.found, word=OPPOSITE, short="hardest -0.777", sentences=("They lose 0.777 ToW.",),
                   effects=(effect, *first.found.effects[1:]))  # fmt: skip
    other = [Answered(first.claim, told), *rest]
    before, after = texts(found, committed), texts(other, committed)
    for place in before:
        assert "0.777" in after[place], place
        assert "0.777" not in before[place], place
    for place in ("README", "page", "list"):
        assert tally(found) in before[place], place
        assert tally(other) in after[place], place
    files = pages(found, committed)
    for one in found:
        assert f"**{one.found.word}**: {one.found.short}" in before["page"], one.claim.name
        assert f"**Answer: {one.found.word}.** {' '.join(one.found.sentences)}" in files[f"{one.slug}.md"]
        assert f"| {one.found.word} | {one.found.sure} |" in files["index.md"]


def test_a_claim_is_on_the_page_of_each_figure_that_names_it(
    found: list[Answered], committed: Studies, empty: Store
) -> None:
    keys = {one.claim.key for one in found}
    assert {claim for entry in FIGURES.values() for claim in entry.claims} <= keys
    rows = {row["figure"]: row for row in figure_rows(found, committed)}
    assert rows["`fig-tow`"]["state"] == "drawn"
    assert "1a" in rows["`fig-tow`"]["claims"]
    assert {row["state"] for row in figure_rows(found, studies_in(empty))} == {"missing"}


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
     "alpha", "memorization", "test error", "MIA correctness", "pretraining", "cutoff",
     "core-hours", "brackets", "basin", "I2", "prediction interval"],
)  # fmt: skip
def test_every_word_of_a_headline_is_in_the_glossary(word: str) -> None:
    assert explain(word).meaning
