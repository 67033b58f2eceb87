"""The committed page is what the committed records say, and nothing else."""

from pathlib import Path

from figures.tables.records import Studies
from figures.verdicts.paper_repro import assess, page_text
from repro.records.pack import readers
from repro.records.store import Store

ROOT = Path(__file__).parent.parent


def test_the_committed_page_is_what_the_committed_records_say(committed: Studies) -> None:
    assert page_text(committed) == (ROOT / "paper_repro.md").read_text()


def test_the_findings_of_the_readme_are_those_of_the_records(committed: Studies) -> None:
    """Every number of its six sentences, in the words of the page or from the cell they name."""
    import re

    said = re.findall(r"^\d\. (.*?)(?=\n\d\. |\n\n)", (ROOT / "README.md").read_text(), re.M | re.S)
    said = [" ".join(one.split()) for one in said]
    assert len(said) == 6
    found = {one.item.title: one.finding for one in assess(committed)}
    cells = re.findall(r"(\w+) after \S+ \d+ seeds: ([^;]*);", found["Finding 4"].number)
    assert [name for name, _ in cells] == ["cifar10", "cifar10", "digits"]
    alphas = re.findall(r"(\w+) (0\.\d{3})", " ".join(alphas for _, alphas in cells))
    assert len(alphas) == 9
    for rule, place in alphas:
        assert f"{place} for {rule.upper()}" in said[0]
    assert "three seeds there are too few to decide" in said[0]
    assert found["Finding 4"].number.count("(3 seeds decide nothing)") == 2
    assert f"(Finding 4: {found['Finding 4'].verdict})" in said[0]
    digits = " on digits after sgd"
    assert (
        found["Finding 4"].regime == f"holds: sgd before sam{digits}; sgd before asam{digits}; sam before asam{digits}"
    )
    assert found["Finding 1a"].effect in said[1]
    holds, _, fails = found["Finding 1a"].regime.partition(". fails: ")
    assert fails == "SCRUB by asam-1.0 after sgd on high"
    held = holds.removeprefix("holds: ").split("; ")
    assert {cell.rpartition(" on ")[2] for cell in held} == {"high"}
    by = {tuple(cell.partition(" after ")[0].split(" by ")) for cell in held}
    assert by == {
        ("NegGrad", "sam-0.1"),
        ("NegGrad", "asam-1.0"),
        ("Random label", "asam-1.0"),
        ("L1-sparse", "asam-1.0"),
    }
    assert f"(Finding 1a: {found['Finding 1a'].verdict})" in said[1]
    several = {run.config["method"] for run in found["Finding 1a"].records if run.config["rule"] != "sgd"}
    assert several == {"neggrad", "random_label", "salun", "l1_sparse", "scrub"}
    high = [run for run in found["Finding 1a"].records if run.config["difficulty"] == "high"]
    scrub = [run for run in high if run.config["method"] == "scrub"]
    for rule, name in (("asam-1.0", "ToW"), ("sgd", "by SGD")):
        ends = [run.result["tow"] for run in scrub if run.config["rule"] == rule]
        assert f"{name} {sum(ends) / len(ends):.3f}" in said[1]
    nothing = {run.config["seed"]: run.result["original_tow"] for run in scrub}
    assert f"of doing nothing {sum(nothing.values()) / len(nothing):.3f}" in said[1]
    behind = re.search(r"; from (\S+ \[.*?\])", found["Finding 1a"].number)  # the smallest of all cells
    assert behind
    assert f"random labels by ASAM come out behind SGD on mid, {behind[1]}" in said[1]
    equal = re.search(
        r"asam-1.0, pretrained sgd, F high: [^;]* gradient evaluations (\S+ \[.*?\])", found["Ask 4"].number
    )
    assert equal
    assert f"minus that of SGD {equal[1]}, Ask 4" in said[1]
    assert "[-" in equal[1]
    assert ", +" in equal[1]
    drawn = found["Ask 9b"]
    assert drawn.regime == "holds: NegGrad by asam-1.0 after sgd on high; on average"
    gain = re.search(r" to (\S+ \[.*?\]) \(3 draws", drawn.number)  # of the two cells the larger one is that on high
    assert gain
    assert f"NegGrad by ASAM gains {gain[1]} (Ask 9b: {drawn.verdict})" in said[1]
    for rule in ("sgd", "sam"):
        [cell] = [cell for cell in committed.of("theory").of("theory") if cell.config["signal_strength"] == 0.5
                  and cell.config["pretrain"] == cell.config["unlearn"] == rule]  # fmt: skip
        for name in ("test_error", "forget_error"):
            values = cell.result["final"][name]
            assert f"{sum(values) / len(values):.2f}" in said[2]
    average = re.search(r"doing nothing: (\S+) on average", found["Ask 8b"].number)
    assert average
    assert f"{average[1]} on average" in said[3]
    assert f"(Ask 8b: {found['Ask 8b'].verdict})" in said[3]
    clear = re.search(r"(\d) above 0 and 0 below by simultaneous", found["Ask 8b"].number)
    assert clear
    gains = re.findall(r" ([+-]\d\.\d{3})(?:,|$| \()", found["Ask 8b"].number.partition("ToW of the same models")[2])
    assert f"clear of 0 in {clear[1]} of the {len(gains)} pairs" in said[3]
    assert f"By ToW, {sum(float(gain) > 0 for gain in gains)} of the {len(gains)} pairs end nearer" in said[3]
    idle = found["Ask 8b"].number.count("no better than doing nothing")
    assert f"found {idle} of the {len(gains)} no better than doing nothing" in said[3]
    flat = found["Finding 6a"]
    top = re.search(r"hessian_top, smaller is flatter: (\S+ \[.*?\])", flat.number)
    assert top
    assert f"basin ratio {flat.effect} over the losses" in said[4]
    assert f"eigenvalue {top[1]} (Finding 6a: {flat.verdict})" in said[4]
    assert {(run.config["dataset"], run.config["difficulty"]) for run in flat.records} == {("cifar10", "high")}
    assert f"{found['Finding 2'].effect} (Finding 2: {found['Finding 2'].verdict})" in said[5]
    assert {run.config["dataset"] for run in found["Finding 2"].records} == {"cifar10"}


def test_every_committed_record_matches_its_hash(tmp_path: Path) -> None:
    packs = readers(Store(tmp_path / "empty"), ROOT / "results")[1:]
    assert len(packs) >= 5
    assert [problem for pack in packs for problem in pack.verify()] == []


def test_a_committed_record_without_arrays_stays_small(tmp_path: Path) -> None:
    import json

    packs = readers(Store(tmp_path / "empty"), ROOT / "results")[1:]
    records = [record for pack in packs for record in pack.records()]
    assert max(len(json.dumps(record.result)) for record in records) < 50_000
