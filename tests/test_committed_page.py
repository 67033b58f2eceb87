"""The committed page is what the committed records say, and nothing else."""

from pathlib import Path

from figures.tables.intervals import interval
from figures.verdicts.paper_repro import write_page
from repro.records.pack import PackedStore, readers
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


def readme_speed_table() -> dict[str, list[float]]:
    lines = [
        line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith(("| epoch", "| one step"))
    ]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {label: [float(cell.removesuffix("x")) for cell in row] for label, *row in cells}


def test_the_speeds_in_the_readme_are_the_committed_ones() -> None:
    names = {"epoch": "epoch end to end", "train_step": "one step on batches in memory"}
    records = PackedStore(ROOT / "results" / "speed-training.parquet").records("benchmark")
    measured = {f"{names[r.config['benchmark']]}, {r.config['precision']}": r.result["ratios"] for r in records}
    for label, row in readme_speed_table().items():
        assert row == [round(measured[label][f"resnet8/{rule}"], 1) for rule in ("sgd", "asam", "neggrad", "minmax")]


def test_the_accuracy_in_the_readme_is_the_committed_one() -> None:
    records = PackedStore(ROOT / "results" / "speed-training.parquet").records("benchmark")
    (rows,) = [record.result["accuracy"] for record in records if record.result.get("accuracy")]
    found = interval([100 * (row["fast"] - row["fp32_eager"]) for row in rows])
    text = " ".join((ROOT / "README.md").read_text().split())
    assert "over five seeds: bf16 minus fp32 is {mean:+.1f} points [{low:+.1f}, {high:+.1f}]".format(**found) in text
    assert found["seeds"] == 5
