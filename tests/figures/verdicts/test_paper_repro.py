"""Verdicts follow from records by rule, and the page is written from them byte for byte."""

from pathlib import Path

from figures.catalogue import FIGURES
from figures.verdicts.judge import Finding
from figures.verdicts.paper_repro import ITEMS, Verdict, verdicts, write_page
from repro.records.record import Record
from repro.records.store import Store


def rows(store: Store) -> dict[str, dict[str, str]]:
    return {row["item"]: row for row in verdicts([store])}


def test_an_empty_store_has_run_nothing(empty: Store) -> None:
    found = rows(empty)
    assert {row["verdict"] for row in found.values()} == {"not run"}
    assert all(row["command"].startswith("`repro ") for row in found.values())


def test_every_item_of_the_paper_has_a_row(golden: Store) -> None:
    found = list(rows(golden))
    assert len(found) == len(set(found)) == 45
    assert found[2:4] == ["Theorem 3.2", "Theorem 3.3"]
    assert found[11:19] == [f"Finding {name}" for name in ("1", "2", "3", "4", "5a", "5b", "6a", "6b")]
    assert found[19:36] == [name for name, entry in FIGURES.items() if entry.claims]
    assert found[36:] == [f"Ask {number}" for number in range(1, 10)]


def test_the_page_describes_the_studies_that_are_there_and_no_other(empty: Store, tmp_path: Path) -> None:
    assert "Network numbers come from" not in write_page([empty], tmp_path / "page.md").read_text()
    empty.save("unlearn", {"type": "RunConfig"}, result={}, provenance={"study": "digits"})
    text = " ".join(write_page([empty], tmp_path / "page.md").read_text().split())
    assert "on data the paper did not use: `digits` (scanned 8x8 digits" in text
    assert "`klom` 100), with a learning rate chosen" in text


def test_finding_1_is_judged_by_paired_differences(golden: Store) -> None:
    row = rows(golden)["Finding 1"]
    # Synthetic ToW: SAM is exactly 0.1 above SGD in unlearning, and pretraining makes no difference at all.
    assert row["verdict"] == "holds in a regime"
    assert "+0.100 [+0.100, +0.100] (3 seeds)" in row["our number"]
    assert row["record"].startswith("runs/")


def test_a_finding_names_the_study_that_made_most_of_its_records() -> None:
    item = next(item for item in ITEMS if item.section == "finding")
    studies = ["small", "seeds", "seeds"]
    records = tuple(Record(str(n), "unlearn", "ok", {}, {}, {"study": name}) for n, name in enumerate(studies))
    assert Verdict(item, Finding("holds", records=records)).command() == "repro empirical grid recipes/seeds.toml"
    assert Verdict(item, Finding()).command() == item.command


def test_finding_2_compares_minmax_with_its_own_inner_rule(golden: Store) -> None:
    row = rows(golden)["Finding 2"]
    assert row["verdict"] == "holds"
    assert "minmax-sam-0.1 − sam-0.1" in row["regime"]


def test_a_theory_verdict_is_taken_from_its_claim_record(tmp_path: Path) -> None:
    store = Store(tmp_path)
    result = {"claim": "lemma-3.1-activation", "title": "activation", "verdict": "contradicted",
              "regime": "s = 0.5", "estimate": 0.25, "interval": [0.2, 0.3], "seeds": 7, "rows": []}  # fmt: skip
    record = store.save("theory_claim", {"claim": "lemma-3.1-activation"}, result=result)
    row = rows(store)["Lemma 3.1"]
    assert row["verdict"] == "contradicted"
    assert "0.25 [0.2, 0.3] (7 seeds)" in row["our number"]
    assert row["record"] == f"runs/{record.run_id}"


def test_the_page_is_the_same_bytes_each_time(golden: Store, tmp_path: Path) -> None:
    first = write_page([golden], tmp_path / "one.md").read_bytes()
    assert write_page([golden], tmp_path / "two.md").read_bytes() == first
    assert all(item.title in first.decode() for item in ITEMS)


def test_the_page_carries_the_tables_its_verdicts_are_drawn_from(golden: Store, tmp_path: Path) -> None:
    text = write_page([golden], tmp_path / "page.md").read_text()
    assert "## SAM against SGD, cell by cell" in text
    assert "| NegGrad | SGD | high | 60.00 | 70.00 * | 50.00 |" in text
