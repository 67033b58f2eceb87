"""The pages that benchmarks write say what the published records say: costs, trained models, forget sets, scatter."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import intervals
from benchmarks.studies import Evidence, card, cost_of, page
from repro.records.published import Published
from repro.records.record import Record
from repro.statistics.spread import tug_of_war

ROOT = Path(__file__).parent.parent
NAMES = ("retain", "forget", "test")


@pytest.fixture(scope="module")
def evidence() -> Evidence:
    return Evidence(Published(sorted((ROOT / "results").glob("*.parquet"))))


def test_the_page_is_what_the_published_records_say(evidence: Evidence) -> None:
    """`python benchmarks/studies.py > docs/studies.md` writes it anew."""
    assert page(evidence) == (ROOT / "docs" / "studies.md").read_text(encoding="utf-8")


def test_the_intervals_were_chosen_for_the_scatter_of_the_published_study() -> None:
    """`python benchmarks/intervals.py > docs/intervals.md` writes the page anew; this table needs no simulation."""
    page = (ROOT / "docs" / "intervals.md").read_text(encoding="utf-8")
    assert intervals._table(intervals.measured(), 4) in page


def accuracies(run: Record, role: str) -> np.ndarray:
    return np.array([run.result[f"{role}{name}_accuracy"] for name in NAMES])


def along(run: Record) -> np.ndarray:
    """Accuracies at the four quarters of a run, `(4, 3)`, as its record has them."""
    return np.array([[point[name] for name in NAMES] for epoch in run.epochs() for point in epoch["accuracies"]])


def test_ascent_on_mid_agrees_at_three_quarters_and_is_anywhere_at_the_end(evidence: Evidence) -> None:
    runs = evidence.runs("cifar10", method="gradient_ascent", difficulty="mid")
    assert len(runs) == 3
    tow = np.array([tug_of_war(along(run), accuracies(run, "retrained_")) for run in runs])
    nothing = np.array([run.result["original_tow"] for run in runs])
    assert tow[:, 2].std(ddof=1) < 0.05 < 0.2 < tow[:, 3].std(ddof=1)
    assert (tow[:, 2] > nothing).all()
    falls = -np.diff([along(run)[:, 0] for run in runs], axis=1)  # of retain accuracy, quarter by quarter
    assert (falls[:, 2] > 0.1).all()
    assert (falls[:, 2] > falls[:, 0]).all()


def test_sharp_minmax_loses_retained_images_with_the_forgotten_and_for_good(evidence: Evidence) -> None:
    runs = evidence.runs("cifar10", rule="minmax-asam-1.0", difficulty="high", pretrain="sgd")
    assert len(runs) == 3
    end = np.mean([accuracies(run, "") for run in runs], axis=0)
    assert end[[0, 2]] == pytest.approx([0.715, 0.627], abs=0.001)
    assert end[1] < np.mean([run.result["retrained_forget_accuracy"] for run in runs])
    for run in runs:
        retain, forget = along(run)[:, :2].T
        lost = -np.diff(retain)
        assert (lost > 0).all()
        assert lost.argmax() == (-np.diff(forget)).argmax()
    smaller = evidence.runs("cifar10-mask", mask_fraction=0.05)
    assert np.mean([run.result["retain_accuracy"] for run in smaller]) > end[0] + 0.1


def run_of(seconds: float, **provenance: Any) -> Record:
    config = {"dataset": "cifar10", "model": "resnet8-narrow", "precision": "fp32", "dataset_options": ""}
    result = {"parents": {"unlearn": f"u{seconds}"}, "seconds_unlearn": seconds, "gradient_evaluations": 720_000}
    return Record(f"run{seconds}", "unlearn", "ok", config, result, provenance)


def test_core_hours_are_of_cores_and_of_the_theory_too() -> None:
    theory = Record("t", "theory_claim", "ok", {}, {}, {"seconds": 3600.0})
    found = cost_of([run_of(1800.0, device="cpu"), run_of(999.0, device="NVIDIA H100"), theory], {})
    assert (found.models, found.hours, found.estimated) == (1, 1.5, 0.0)


def test_hours_on_a_gpu_are_said_only_by_the_rate_that_one_measured() -> None:
    def benchmark(device: str, model: str) -> Record:
        row = {"case": f"{model}/sgd", "images_per_second": 200.0, "precision": "fp32"}
        return Record(device + model, "benchmark", "ok", {"device": device}, {"rows": [row]}, {})

    runs = [run_of(60.0), run_of(61.0)]
    assert "No benchmark record was measured on a GPU" in card([*runs, benchmark("cpu", "resnet8-narrow")], {})
    assert "NVIDIA H100, all of them would take 2.00 hours" in card(
        [*runs, benchmark("NVIDIA H100", "resnet8-narrow")], {}
    )
