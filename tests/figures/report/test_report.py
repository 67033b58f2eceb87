"""What is inside the page: small pictures, compressed data that inflates to what the records say."""

import base64
import io
import json
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from figures.answers.answers import Answered
from figures.answers.page import summary
from figures.catalogue import FIGURES
from figures.report.plots import (
    ERRORS,
    MOST_POINTS,
    THEORY,
    agreement_points,
    network_rows,
    plot_data,
    pretraining_curves,
    setting_rows,
    sweep_points,
)
from figures.report.report import MOST_RUNS, _card, _first, _shown_runs, packed, packed_file, picture
from figures.tables.matched_theory import agreement
from figures.tables.records import Records, Studies
from repro.records.published import PublishedStudy
from repro.records.record import Record
from repro.records.store import Store
from tests.figures.conftest import studies_in

ROOT = Path(__file__).parents[3]
PACKS = sorted((ROOT / "results").glob("*.parquet"))


def test_what_is_packed_inflates_to_itself() -> None:
    value = {"b": [1, None, "ü <"], "a": 0.1}
    assert json.loads(zlib.decompress(base64.b64decode(packed(value)))) == value
    assert packed(value) == packed(dict(reversed(value.items())))


def test_plotly_is_the_bundle_it_says_it_is() -> None:
    import gzip

    path = ROOT / "figures" / "report" / "plotly-basic.min.js.gz"
    code = gzip.decompress(base64.b64decode(packed_file(path))).decode()
    assert "plotly.js (basic - minified)" in code
    assert "Licensed under the MIT license" in code


def test_a_picture_keeps_its_colours_and_its_size(tmp_path: Path) -> None:
    pixels = np.full((40, 60, 3), 255, np.uint8)
    pixels[10:30, 5:50] = (213, 94, 0)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    address = picture(tmp_path / "a.png")
    assert address.startswith("data:image/webp;base64,")
    seen = np.asarray(Image.open(io.BytesIO(base64.b64decode(address.split(",")[1]))).convert("RGB"), float)
    assert seen.shape == pixels.shape
    assert np.abs(seen[[5, 20], [55, 25]] - pixels[[5, 20], [55, 25]]).max() < 8


def test_a_card_has_what_was_found_and_how_it_is_made_again(assessed: list[Answered]) -> None:
    for one in assessed:
        card = _card(one)
        assert card["commands"]
        assert card["found"].sentences
        assert "<svg" in card["strip"]
        assert set(card["figures"]) <= set(FIGURES)


def test_a_newcomer_is_told_what_ran_here_and_what_is_published(
    golden: Store, committed: Studies, tmp_path: Path
) -> None:
    cells, runs = len(golden.records("theory")), len(golden.records("unlearn"))
    assert cells != runs
    own = summary(studies_in(golden), tmp_path / "page")[0]
    assert own == f"Ran here: {cells} theory settings, {runs} network runs; 0 published records with them."
    published = {record.run_id for path in PACKS for record in PublishedStudy(path).records()}
    said = f"Ran here: 0 theory settings, 0 network runs; {len(published)} published"
    assert summary(committed, tmp_path / "page")[0].startswith(said)


def test_the_numbers_of_the_plots_are_those_of_the_records(committed: Studies) -> None:
    names = dict.fromkeys(study for entry in FIGURES.values() for study in entry.studies)
    records = committed.of(*names)
    rows = network_rows(records)
    runs = [r for r in records.of("unlearn") if r.status == "ok" and r.config["dataset"] != "signal-noise"]
    assert len(rows["tow"]) == len(runs)
    assert sorted(rows["tow"]) == sorted(float(f"{r.result['tow']:.5g}") for r in runs)
    cell = next(c for c in records.of("theory") if c.config["pretrain"] == "sgd")
    course = next(c for c in pretraining_curves(records)
                  if c["pretrain"] == "sgd" and c["signal_strength"] == cell.config["signal_strength"]
                  and c["d"] == cell.config["d"])  # fmt: skip
    arrays = cell.arrays()
    kappa = (arrays["pretrain_trajectory_kappa_retain"] + arrays["pretrain_trajectory_kappa_forget"]).mean(axis=0)
    assert np.allclose(course["kappa"], kappa, atol=1e-6)
    sweeps = [s for s in records.of("theory_sweep") if s.result["sweep"] in ("phase", "alpha")]
    assert len(sweep_points(records)["test_error"]) == sum(s.result["rows"] for s in sweeps)
    assert len(agreement_points(records)) == (agreement(records)["course"] == "").sum()  # the theory's own network


def test_a_seed_that_diverged_costs_neither_a_mean_nor_the_page_its_plots(tmp_path: Path) -> None:
    store = Store(tmp_path)
    config = dict.fromkeys(THEORY, 1) | {"pretrain": "sgd", "unlearn": "sgd"}
    for strength, kappa in ((0.5, [[1.0, 3.0], [2.0, np.nan]]), (1.0, [[1.0, np.inf], [2.0, np.nan]])):
        arrays = {f"pretrain_trajectory_{name}": np.array(kappa) for name in ("kappa_retain", "zeta_retain")}
        arrays |= {"pretrain_trajectory_kappa_forget": np.zeros((2, 2)), "pretrain_epochs": np.array([0, 10])}
        result = {"seeds": [0, 1], "epochs": [0, 10], "final": {}}
        store.save("theory", config | {"signal_strength": strength}, result=result, arrays=arrays)
    courses = {one["signal_strength"]: one for one in plot_data(Records(store.records()))["pretraining"]}
    assert [courses[0.5][name] for name in ("kappa", "zeta", "seeds")] == [[1.5, 3.0], [1.5, 3.0], 1]
    assert [courses[1.0][name] for name in ("kappa", "zeta", "seeds")] == [[1.5, None], [1.5, None], 0]
    assert packed(plot_data(Records(store.records())))
    with pytest.raises(ValueError, match="JSON"):
        packed({"kappa": [float("nan")]})


def test_a_mean_of_the_plots_is_one_over_seeds_and_nothing_else(
    run: Callable[..., Record], records_of: Callable[[Sequence[Record]], Records]
) -> None:
    settings = [
        {"pretrain": "sgd", "difficulty": "high"}, {"pretrain": "asam-1.0", "difficulty": "high"},
        {"pretrain": "sgd", "difficulty": "low"}, {"pretrain": "sgd", "difficulty": "low", "dataset": "cifar10"},
        {"pretrain": "sgd", "difficulty": "low", "alpha": 0.5}, {"pretrain": "sgd", "difficulty": "low", "lr": 0.5},
    ]  # fmt: skip
    costs = {"gradient_evaluations": 20, "retrain_gradient_evaluations": 100}
    found = [run(**one, seed=seed, metrics=["tow"] * (1 + seed), number={"tow": place + 0.1 * seed} | costs)
             for place, one in enumerate(settings) for seed in range(3)]  # fmt: skip
    columns = setting_rows(records_of([*found, run(status="diverged")]))
    cells = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    place = ("pretrain", "difficulty", "dataset", "alpha", "other")
    assert {tuple(one[name] for name in place): one["tow"] for one in cells} == {
        ("sgd", "high", "digits", 0.9, ""): 0.1, ("asam-1.0", "high", "digits", 0.9, ""): 1.1,
        ("sgd", "low", "digits", 0.9, ""): 2.1, ("sgd", "low", "cifar10", 0.9, ""): 3.1,
        ("sgd", "low", "digits", 0.5, ""): 4.1, ("sgd", "low", "digits", 0.9, "lr 0.5"): 5.1,
    }  # fmt: skip
    assert {(one["seeds"], one["tow_sd"], one["cost"]) for one in cells} == {(3, 0.1, 0.2)}
    assert columns["pretrain"][0] == "sgd"
    assert setting_rows(records_of([])) == {}


def test_the_errors_of_a_sweep_are_numbers_or_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    arrays = {name: np.array([1.0, np.inf, np.nan]) for name in ("d", *ERRORS)}
    result = {"sweep": "phase", "boundaries": []}
    store.save("theory_sweep", {"sweep": "phase", "base": {}}, result=result, arrays=arrays)
    assert sweep_points(Records(store.records()))["test_error"] == [1.0, None, None]


def test_the_page_does_not_grow_with_the_number_of_runs(
    run: Callable[..., Record], records_of: Callable[[Sequence[Record]], Records]
) -> None:
    many = records_of([run(seed=seed, number={"tow": 0.5}) for seed in range(MOST_POINTS + 3)])
    assert len(network_rows(many)["tow"]) == MOST_POINTS
    assert len(network_rows(records_of(many.all[:7]))["tow"]) == 7
    last = many.of("unlearn")[-1].run_id
    items = [{"runs": [one.run_id for one in many.all]}]
    assert len(_shown_runs(many, items, [], {last})) == MOST_POINTS + 1, "those of the plots and of the table"
    assert _first([one.run_id for one in many.all])["total"] == MOST_POINTS + 3
    assert len(_first([one.run_id for one in many.all])["runs"]) == MOST_RUNS
