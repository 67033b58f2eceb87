"""Verdicts follow from records by rule, and the page is written from them byte for byte."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from figures.catalogue import FIGURES
from figures.tables.records import Records
from figures.verdicts.judge import Finding
from figures.verdicts.paper_repro import ITEMS, Verdict, _unchosen, anchor, assess, page_text, verdicts, write_page
from repro.records.record import Record
from repro.records.store import Store


def rows(store: Store) -> dict[str, dict[str, str]]:
    return {row["item"]: row for row in verdicts([store])}


@pytest.fixture(scope="module")
def golden_records(golden: Store) -> Records:
    """The records of the golden store, read once: what verdicts made of them is kept with them."""
    return Records([golden])


@pytest.fixture(scope="module")
def golden_page(golden_records: Records) -> str:
    return page_text(golden_records)


@pytest.fixture(scope="module")
def golden_rows(golden_records: Records) -> dict[str, dict[str, str]]:
    return {one.item.title: one.row() for one in assess(golden_records)}


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


def test_the_page_describes_the_studies_that_are_there_and_no_other(empty: Store, tmp_path: Path) -> None:
    before = write_page([empty], tmp_path / "page.md").read_text()
    assert "Network numbers come from" not in before
    assert "methods are not compared" not in before
    empty.save("unlearn", {"type": "RunConfig"}, result={}, provenance={"study": "digits"})
    text = " ".join(write_page([empty], tmp_path / "page.md").read_text().split())
    assert "on data or models the paper did not use: `digits` (scanned 8x8 digits" in text
    assert "Nothing was chosen for each method, not the strengths of SCRUB or L1: methods are not compared" in text
    for strength in ("beta=0.5", "beta=1", "beta=2"):
        config = {
            "type": "RunConfig",
            "method": "scrub",
            "method_options": strength,
            "lr": 0.1,
            "rule": "sgd",
            "pretrain": "sgd",
        } | {"difficulty": "low", "seed": 9}
        empty.save("choice", config, result={}, status="diverged")
        compared = "methods are not compared" not in write_page([empty], tmp_path / "page.md").read_text()
        assert compared == (strength != "beta=0.5")


def test_what_differs_between_two_studies_was_not_chosen(empty: Store, tmp_path: Path) -> None:
    empty.save("unlearn", {"type": "RunConfig"}, result={}, provenance={"study": "digits"})
    cell = {"type": "RunConfig", "method": "neggrad", "rule": "sgd", "pretrain": "sgd", "difficulty": "low", "seed": 9}
    for study, epochs in (("digits", 3), ("cifar10", 1)):
        for lr in (0.1, 0.2):
            empty.save("choice", cell | {"epochs": epochs, "lr": lr}, result={}, provenance={"study": study})
    text = " ".join(write_page([empty], tmp_path / "page.md").read_text().split())
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


def test_a_finding_names_every_study_that_its_runs_came_from() -> None:
    item = next(item for item in ITEMS if item.section == "finding")
    studies = ["digits", "alpha", "alpha"]
    records = tuple(Record(str(n), "unlearn", "ok", {}, {}, {"study": name}) for n, name in enumerate(studies))
    told = Verdict(item, Finding("holds", records=records, effect="+0.1"))
    again = "`repro empirical grid recipes/alpha.toml`, `repro empirical grid recipes/digits.toml`"
    assert told.row()["command"] == again
    assert "Effect on `alpha`, `digits`: +0.1." in told.sentence()
    strange = Record("s", "unlearn", "ok", {}, {}, {"study": "my-study"})
    assert Verdict(item, Finding("holds", records=(strange,))).commands() == ["no shipped recipe has study my-study"]
    assert Verdict(item, Finding()).commands() == [item.command]
    assert "Effect" not in Verdict(item, Finding()).sentence()


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
    text = write_page([store], tmp_path / "page.md").read_text()
    assert "\n> Four in ten.\n" in text
    assert "\nWhat would change the verdict: The radius.\n" in text


def test_the_page_is_the_same_bytes_each_time(golden: Store, golden_page: str, tmp_path: Path) -> None:
    assert write_page([golden], tmp_path / "two.md").read_text() == golden_page
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
        "run. Effect on `golden`: +0.100 [+0.100, +0.100], 4.2 x floor 0.024. Holds: NegGrad by sam-0.1 after sgd on "
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
    by_hand = [replace(run(rule=rule, lr=lr), provenance={"study": "hand"}) for rule, lr in (("sgd", 0.5), ("x", 0.25))]
    assert "No rate was chosen in `hand` (0.25 and 0.5): " in _unchosen(by_hand)
    chosen = {"evaluations": {"choice": {"id": "c", "version": 1}}}
    assert _unchosen([replace(one, result=one.result | chosen) for one in by_hand]) == ""
    assert _unchosen([replace(one, config=one.config | {"method": "retrain"}) for one in by_hand]) == ""
