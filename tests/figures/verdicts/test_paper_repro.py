"""Verdicts follow from records by rule, and the page is written from them byte for byte."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from figures.tables.intervals import Table, interval, simultaneous
from figures.tables.pairs import over_cells
from figures.verdicts.judge import Finding, judge
from figures.verdicts.paper_repro import ITEMS, Verdict, verdicts, write_page
from repro.records.store import Record, Store


def effects(*intervals: tuple[float, float]) -> Table:
    """Return effects of many seeds, whose simultaneous intervals are hardly wider."""
    return pd.DataFrame(
        [{"mean": (low + high) / 2, "low": low, "high": high, "seeds": 1000} for low, high in intervals]
    )


@pytest.mark.parametrize(("intervals", "verdict"), [
    ([(0.1, 0.2), (0.3, 0.4)], "holds"),
    ([(0.1, 0.2), (-0.1, 0.4)], "holds in a regime"),
    ([(0.1, 0.2), (-0.4, -0.1)], "holds in a regime"),
    ([(-0.2, -0.1), (-0.1, 0.4)], "contradicted"),
    ([(-0.2, 0.1)], "undecided"),
    ([], "not run"),
])  # fmt: skip
def test_the_verdict_follows_from_the_intervals(intervals: Any, verdict: str) -> None:
    table = effects(*intervals) if intervals else pd.DataFrame(columns=pd.Index(["low", "high"]))
    assert judge(table) == verdict


def test_one_cell_of_many_that_lies_beside_zero_by_luck_is_no_finding() -> None:
    lucky = (0.01, 0.21)
    assert judge(effects(lucky)) == "holds"
    assert judge(effects(lucky, *[(-0.1, 0.1)] * 19)) == "undecided"
    assert judge(effects((0.06, 0.26), *[(-0.1, 0.1)] * 19)) == "holds in a regime"


def test_a_mean_that_is_clear_of_zero_decides_where_no_cell_is() -> None:
    cells = effects((-0.1, 0.3), (-0.1, 0.3))
    means = [{"mean": mean, "low": mean - 0.05, "high": mean + 0.05, "seeds": 8} for mean in (0.1, 0.0, -0.1)]
    verdicts = [judge(cells, overall=mean) for mean in means]
    assert verdicts == ["holds in a regime", "undecided", "contradicted"]


def test_simultaneous_intervals_are_those_of_students_t_at_a_smaller_level() -> None:
    values = np.array([[0.1, 0.3, 0.2, 0.5], [0.0, -0.2, 0.4, 0.1]])
    table = pd.DataFrame([interval(row) for row in values])
    wider = simultaneous(table)
    for row, (low, high) in zip(values, wider[["low", "high"]].to_numpy(), strict=True):
        expected = scipy.stats.t.interval(0.975, 3, row.mean(), scipy.stats.sem(row))
        assert (low, high) == pytest.approx(expected, rel=1e-10)


def test_a_mean_over_cells_has_its_interval_over_seeds() -> None:
    rows = [{"cell": cell, "seed": seed, "difference": value + 10 * (cell == "b")}
            for cell in "ab" for seed, value in enumerate((0.1, 0.2, 0.6))]  # fmt: skip
    rows.append({"cell": "b", "seed": 0, "difference": 10.1})  # another forget set: the cell counts once all the same
    assert over_cells(pd.DataFrame(rows), ["cell"]) == pytest.approx(interval([5.1, 5.2, 5.6]))


def test_a_claim_of_smaller_mirrors_the_intervals() -> None:
    assert judge(effects((-0.2, -0.1)), sign=-1) == "holds"
    assert judge(effects((0.1, 0.2)), sign=-1) == "contradicted"


def rows(store: Store) -> dict[str, dict[str, str]]:
    return {row["item"]: row for row in verdicts([store])}


def test_an_empty_store_has_run_nothing(empty: Store) -> None:
    found = rows(empty)
    assert {row["verdict"] for row in found.values()} == {"not run"}
    assert all(row["command"].startswith("`repro ") for row in found.values())


def test_every_item_of_the_paper_has_a_row(golden: Store) -> None:
    found = rows(golden)
    assert list(found) == [item.title for item in ITEMS]


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
