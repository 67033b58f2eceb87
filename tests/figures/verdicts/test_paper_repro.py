"""Verdicts follow from records by rule, and the page is written from them byte for byte."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from figures.catalogue import FIGURES
from figures.tables.records import Given, Records, Studies
from figures.verdicts.judge import Finding
from figures.verdicts.paper_repro import (
    ITEMS,
    Verdict,
    _comparison,
    _trained_twice,
    _unchosen,
    anchor,
    assess,
    page_text,
    verdicts,
    write_page,
)
from repro.records.lists import RunList
from repro.records.record import Record
from repro.records.store import Store
from tests.figures.conftest import studies_in


def rows(store: Store) -> dict[str, dict[str, str]]:
    return {row["item"]: row for row in verdicts(studies_in(store))}


@pytest.fixture(scope="module")
def golden_studies(golden: Store) -> Studies:
    """The studies of the golden store, read once: what verdicts made of them is kept with them."""
    return studies_in(golden)


@pytest.fixture(scope="module")
def golden_page(golden_studies: Studies) -> str:
    return page_text(golden_studies)


@pytest.fixture(scope="module")
def golden_rows(golden_studies: Studies) -> dict[str, dict[str, str]]:
    return {one.item.title: one.row() for one in assess(golden_studies)}


def test_an_empty_store_has_run_nothing(empty: Store) -> None:
    found = rows(empty)
    assert {row["verdict"] for row in found.values()} == {"not run"}
    assert all(row["command"].startswith("`repro ") for row in found.values())


def test_every_item_of_the_paper_has_a_row(golden_rows: dict[str, dict[str, str]]) -> None:
    found = list(golden_rows)
    assert len(found) == len(set(found)) == 53
    assert found[2:4] == ["Theorem 3.2", "Theorem 3.3"]
    assert found[11:20] == [f"Finding {name}" for name in ("1a", "1b", "2", "3", "4", "5a", "5b", "6a", "6b")]
    assert found[20:41] == [name for name, entry in FIGURES.items() if entry.claims]
    assert found[41:] == [f"Ask {name}" for name in (1, 2, 3, 4, 5, 6, 7, 8, "8b", 9, "9b", "9c")]


def test_the_page_describes_the_studies_it_rests_on_and_no_other(empty: Store, golden_page: str) -> None:
    before = page_text(studies_in(empty))
    assert "Network numbers come from" not in before
    assert "methods are not compared" not in before
    text = " ".join(golden_page.split())
    assert "on data or models the paper did not use: `cifar10` (all 50,000" in text
    assert "`alpha` and `mask` (scanned 8x8 digits" in text
    assert "`digits` (" not in text, "nothing is judged by it"


def test_methods_are_compared_where_their_strengths_were_searched_for(empty: Store) -> None:
    assert "Nothing was chosen for each method" in _comparison(["mine"], studies_in(empty))
    tried: list[str] = []
    for strength in ("beta=0.5", "beta=1"):
        config = {"type": "RunConfig", "method": "scrub", "method_options": strength, "lr": 0.1, "rule": "sgd"}
        config |= {"pretrain": "sgd", "difficulty": "low", "seed": 9}
        tried.append(empty.save("choice", config, result={}, status="diverged").run_id)
        empty.write_list("mine", RunList(search=tuple(tried)))
        said = _comparison(["mine"], studies_in(empty))
        assert ("methods are not compared" in said) == (strength == "beta=0.5")


def test_what_differs_between_two_studies_was_not_chosen(empty: Store) -> None:
    cell = {"type": "RunConfig", "method": "neggrad", "rule": "sgd", "pretrain": "sgd", "difficulty": "low", "seed": 9}
    for study, epochs in (("digits", 3), ("cifar10", 1)):
        runs = [empty.save("choice", cell | {"epochs": epochs, "lr": lr}, result={}).run_id for lr in (0.1, 0.2)]
        empty.write_list(study, RunList(search=tuple(runs)))
    text = _comparison(["digits", "cifar10"], studies_in(empty))
    assert "Only the learning rate was chosen for each method" in text


def test_finding_1_is_judged_by_paired_differences(golden_rows: dict[str, dict[str, str]]) -> None:
    row = golden_rows["Finding 1a"]
    # Synthetic ToW: SAM is exactly 0.1 above SGD in unlearning, and pretraining makes no difference at all.
    assert row["verdict"] == "holds"
    mean = "+0.100 [+0.100, +0.100] (3 seeds, 4.2 floors)"
    assert row["our number"].startswith(
        f"ToW minus ToW of SGD: {mean} on average over 6 cells, each forget set counting once, 6 above 0 and 0 below"
    )
    assert row["record"].startswith("runs/")
    assert golden_rows["Finding 1b"]["verdict"] == "undecided"
    assert golden_rows["fig-tow"]["verdict"] == "holds in a regime"
    assert golden_rows["fig-tow"]["our number"] == "Finding 1a: holds; Finding 1b: undecided"


def test_a_finding_names_the_studies_that_judge_it(run: Callable[..., Record]) -> None:
    item = next(item for item in ITEMS if item.title == "Finding 4")
    told = Verdict(item, Finding("holds", effect="+0.1"), ("cifar10-alpha", "alpha"))
    again = "`repro empirical grid recipes/cifar10-alpha.toml`, `repro empirical grid recipes/alpha.toml`"
    assert told.row()["command"] == again
    assert "Effect on `cifar10-alpha`, `alpha`: +0.1." in told.sentence()
    assert Verdict(item, Finding("holds"), ("my-study",)).commands() == ["no shipped recipe has study my-study"]
    assert Verdict(item, Finding()).commands() == [item.command]
    assert "Effect" not in Verdict(item, Finding()).sentence()


def test_a_finding_rests_on_the_studies_that_have_runs_behind_it(golden_studies: Studies) -> None:
    found = {one.item.title: one.studies for one in assess(golden_studies)}
    assert found["Finding 1a"] == ("cifar10",)
    assert found["Ask 9c"] == ("cifar10", "cifar10-plain"), "of the third study it names there are no runs"
    assert found["Theorem 3.2"] == ()


def test_finding_2_compares_minmax_with_its_own_inner_rule(golden_rows: dict[str, dict[str, str]]) -> None:
    row = golden_rows["Finding 2"]
    assert row["verdict"] == "holds"
    assert "minmax-sam-0.1 − sam-0.1" in row["regime"]


def test_a_theory_verdict_is_taken_from_its_claim_record(tmp_path: Path) -> None:
    store = Store(tmp_path)
    result = {"claim": "lemma-3.1-activation", "title": "activation", "verdict": "contradicted",
              "regime": "s = 0.5", "estimate": 0.25, "interval": [0.2, 0.3], "seeds": 7, "rows": [],
              "parts": [], "sentence": "Four in ten.", "change": "The radius."}  # fmt: skip
    record = store.save("theory_claim", {"claim": "lemma-3.1-activation"}, result=result)
    row = rows(store)["Lemma 3.1"]
    assert row["verdict"] == "contradicted"
    assert "0.25 [0.2, 0.3] (7 seeds)" in row["our number"]
    assert row["record"] == f"runs/{record.run_id}"
    text = write_page(studies_in(store), tmp_path / "page.md").read_text()
    assert "\n> Four in ten.\n" in text
    assert "\nWhat would change the verdict: The radius.\n" in text


def test_the_page_is_the_same_bytes_each_time(golden: Store, golden_page: str, tmp_path: Path) -> None:
    assert write_page(studies_in(golden), tmp_path / "two.md").read_text() == golden_page
    assert all(item.title in golden_page for item in ITEMS)


def test_the_page_carries_the_tables_its_verdicts_are_drawn_from(golden_page: str) -> None:
    text = golden_page
    assert "## SAM against SGD, cell by cell" in text
    assert "| NegGrad | SGD | high | SGD | interior | — | 60.00 | 70.00 * | 50.00 |" in text


def test_the_page_opens_with_what_may_be_concluded(golden_page: str) -> None:
    text = golden_page
    opening = text.partition("## Every item")[0]
    assert len(opening.splitlines()) <= 30
    assert (
        '- **[Finding 1a](#finding-1a)**, "SAM improves every method as unlearning rule", holds in every cell that was '
        "run. Effect on `cifar10`: +0.100 [+0.100, +0.100], 4.2 x floor 0.024. Holds: NegGrad by sam-0.1 after sgd on "
    ) in opening
    assert '"SAM improves every method as pretraining rule", cannot be told from these runs' in opening
    assert all(f"[Finding {name}]" in opening for name in ("1a", "1b", "2", "3", "4", "5a", "5b", "6a", "6b"))
    assert "Only the learning rate was chosen for each method" in opening


def test_the_cells_of_its_table_fit_on_one_line_and_link_to_sections(golden_page: str) -> None:
    text = golden_page
    table = text.partition("## Every item")[2].partition("## How it is judged")[0]
    lines = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| [")]
    assert [line[0].partition("]")[0].strip("[") for line in lines] == [item.title for item in ITEMS]
    # The address of a link is not seen.
    assert max(len(cell) for line in lines for cell in line[1:]) <= 74
    assert [line for line in lines if "…" in " ".join(line)] == []
    headings = [line.removeprefix("### ") for line in text.splitlines() if line.startswith("### ")]
    assert headings == [item.title for item in ITEMS]
    targets = [line[0].partition("](#")[2].rstrip(")") for line in lines]
    assert targets == [anchor(title) for title in headings]
    assert len(set(targets)) == len(targets)
    assert anchor("Lemma 3.1, consequence") == "lemma-31-consequence"


def test_the_page_names_the_studies_that_chose_no_rate(run: Callable[..., Record]) -> None:
    by_hand = [run(rule=rule, lr=lr) for rule, lr in (("sgd", 0.5), ("x", 0.25))]
    item = next(item for item in ITEMS if item.section == "finding")

    def said(runs: list[Record]) -> str:
        judged = Verdict(item, Finding("holds", records=tuple(runs)), ("hand",))
        return _unchosen([judged], Given(Records(runs, study="hand")))

    assert "No rate was chosen in `hand` (0.25 and 0.5): " in said(by_hand)
    chosen = {"evaluations": {"choice": {"id": "c", "version": 1}}}
    assert said([replace(one, result=one.result | chosen) for one in by_hand]) == ""


def test_the_page_says_how_many_models_were_trained_twice(run: Callable[..., Record]) -> None:
    """One id, two sets of accuracies: two trainings of one original, of which a difference must not be made."""

    def found(retain: float, test: float, original: str = "a") -> Record:
        numbers = {
            "original_retain_accuracy": retain,
            "original_test_accuracy": test,
            "parents": {"pretrain": original},
        }
        return replace(run(), result=numbers)

    assert _trained_twice([found(0.9, 0.8), found(0.9, 0.8), found(0.9, 0.7, "b")]) == ""
    said = _trained_twice([found(0.9, 0.8), found(0.9, 0.79), found(0.9, 0.7, "b")])
    assert said.startswith("1 of 2 original and retrained models")
