"""Drawing: files, numbers, missing runs, repeatability, and what may not be imported."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from figures.catalogue import FIGURES, draw, figure_names
from figures.fig_theory_vs_empirical import rows
from figures.table import Table
from repro.records.errors import ConfigError, MissingDataError
from repro.records.store import Store


def numbers(folder: Path, name: str) -> Table:
    return pd.read_csv(folder / f"{name}.csv")


@pytest.mark.parametrize("name", FIGURES)
def test_every_item_writes_its_drawing_its_numbers_and_their_origin(drawn_folder: Path, name: str) -> None:
    origin = json.loads((drawn_folder / f"{name}.json").read_text())
    assert origin["caption"]
    assert origin["alt"]
    kinds = {path.suffix for path in drawn_folder.glob(f"{name}.*")}
    assert kinds in ({".pdf", ".png", ".csv", ".json"}, {".md", ".tex", ".csv", ".json"})
    assert (".png" in kinds) == (drawn_folder / f"{name}-dark.png").exists()


@pytest.mark.parametrize("name", FIGURES)
def test_an_empty_store_gives_a_frame_that_names_the_command(empty: Store, tmp_path: Path, name: str) -> None:
    (drawn,) = draw([name], [empty], tmp_path / "out")
    assert drawn.missing
    assert all(": repro " in line for line in drawn.missing)
    assert drawn.run_ids == []


def test_strict_raises_after_everything_is_written(empty: Store, tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="repro theory") as caught:
        draw(["fig-theory-trajectories", "fig-tow"], [empty], tmp_path, strict=True)
    assert caught.value.exit_code == 3
    assert (tmp_path / "fig-tow.pdf").exists()


def test_an_unknown_figure_is_refused_with_the_nearest_name_before_anything_is_drawn(
    empty: Store, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"did you mean 'fig-tow'"):
        draw(["fig-theory-trajectories", "fig-two"], [empty], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_same_records_give_the_same_bytes(golden: Store, tmp_path: Path) -> None:
    names = ["fig-mia", "tab-minmax"]
    contents = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        draw(names, [golden], folder)
        contents.append({path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()})
    assert contents[0] == contents[1]


def test_nothing_is_drawn_again_until_a_record_changes(golden: Store, tmp_path: Path) -> None:
    (first,) = draw(["fig-published"], [golden], tmp_path)
    before = (tmp_path / "fig-published.png").stat().st_mtime_ns
    assert draw(["fig-published"], [golden], tmp_path) == [first]
    assert (tmp_path / "fig-published.png").stat().st_mtime_ns == before
    draw(["fig-published"], [Store(tmp_path / "nothing")], tmp_path)
    assert (tmp_path / "fig-published.png").stat().st_mtime_ns != before


def test_tow_is_drawn_from_the_records_mean_and_interval(drawn_folder: Path) -> None:
    data = numbers(drawn_folder, "fig-tow")
    cell = data[(data["metric"] == "tow") & (data["rule"] == "sam-0.1") & (data["pretrain"] == "sgd")
                & (data["difficulty"] == "mid")]  # fmt: skip
    half = 4.302652729911275 * 0.01 / np.sqrt(3)
    assert cell[["mean", "sd", "low", "high", "seeds"]].iloc[0].tolist() == pytest.approx(
        [0.71, 0.01, 0.71 - half, 0.71 + half, 3]
    )
    retrained = data[(data["method"] == "retrained") & (data["metric"] == "test_accuracy")]
    assert retrained["mean"].tolist() == pytest.approx([0.7] * 3)


def test_theory_curves_are_those_of_the_records(drawn_folder: Path) -> None:
    data = numbers(drawn_folder, "fig-theory-trajectories")
    last = data[(data["epoch"] == 200) & (data["metric"] == "test_error")].set_index(["pretrain", "unlearn"])["mean"]
    expected = {("sgd", "sgd"): 0.41, ("sgd", "sam"): 0.31, ("sam", "sgd"): 0.21, ("sam", "sam"): 0.11}
    assert last.to_dict() == pytest.approx(expected)


def test_boundaries_are_drawn_from_the_claim_with_most_seeds(drawn_folder: Path) -> None:
    origin = json.loads((drawn_folder / "fig-theory-phase.json").read_text())
    assert len(origin["runs"]) == 2
    assert "over 5 seeds" in origin["caption"]
    data = numbers(drawn_folder, "fig-theory-phase")
    sgd = data[data["claim"] == "theorem-3.2-sgd-boundary"]
    np.testing.assert_allclose(sgd["boundary"], sgd["at"] ** 0.25)


def test_phase_cells_carry_their_signal_norm(drawn_folder: Path) -> None:
    data = numbers(drawn_folder, "fig-theory-map")
    # |phi| = s (P - 1) sigma_p (d / n)^(1/4), with P = 2 and sigma_p = 1
    np.testing.assert_allclose(data["norm"], data["signal_strength"] * (data["d"] / data["n"]) ** 0.25)
    assert len(data) == 2 * 2 * 2 * 4
    np.testing.assert_allclose(data["error"], np.where(data["signal_strength"] > 1, 0.05, 0.5))


def test_sweeps_are_drawn_from_the_study_that_swept(drawn_folder: Path) -> None:
    alpha = numbers(drawn_folder, "fig-alpha")
    tow = alpha[(alpha["metric"] == "tow") & (alpha["rule"] == "sam-0.1")].set_index("alpha")["mean"]
    assert tow.to_dict() == pytest.approx({0.3: 0.555, 0.6: 0.855, 0.8: 1.055})
    mask = numbers(drawn_folder, "fig-mask")
    assert set(mask["mask_fraction"]) == {0.1, 0.3, 0.5}


def test_dominated_points_are_those_another_beats_in_quality_and_cost(drawn_folder: Path) -> None:
    data = numbers(drawn_folder, "fig-pareto")
    best = data[~data["dominated"]]
    assert set(best["rule"]) == {"minmax-sam-0.1"}  # all cost the same here, and it has the largest synthetic ToW
    assert best["ratio"].tolist() == pytest.approx([0.1, 0.1, 0.2, 0.2])


def test_tables_put_the_paper_beside_our_mean_spread_and_seeds(drawn_folder: Path) -> None:
    text = (drawn_folder / "tab-neggrad.md").read_text()
    assert "| NegGrad | SGD | SAM 0.1 | 71.00 ± 1.00 (3) |" in text
    assert "ImageNet 83.68, CIFAR-100 72.78" in text
    assert "| do nothing | SGD | — | 50.00 ± 0.00 (3) |" in text
    assert "100 by definition" in text
    latex = (drawn_folder / "tab-neggrad.tex").read_text()
    assert latex.count(" \\\\\n") == len(text.splitlines()) - 1
    assert "71.00 $\\pm$ 1.00 (3)" in latex


def test_landscape_numbers_are_those_of_the_bowl(drawn_folder: Path) -> None:
    data = numbers(drawn_folder, "fig-landscape").drop_duplicates(["title", "set"])
    # L = c (x^2 + y^2) has second derivative 2 c: c = 1 for the original model, 3 for the unlearned ones.
    assert sorted(set(data["curvature"])) == pytest.approx([2.0, 6.0])


def test_missing_methods_are_listed_with_their_command(drawn_folder: Path) -> None:
    origin = json.loads((drawn_folder / "fig-tow.json").read_text())
    assert "SCRUB: repro empirical grid recipes/cifar10-small.toml" in origin["missing"]
    assert len(origin["runs"]) == 54


def test_theory_and_networks_stand_side_by_side_at_the_same_strength(golden: Store) -> None:
    found = rows([golden])
    key = {"stage": "after", "metric": "test_error", "pretrain": "sgd", "unlearn": "sam", "signal_strength": 0.5}
    (row,) = [row for row in found if key.items() <= row.items()]
    assert row["exact theory"] == "0.310 ± 0.010 (3)"
    assert row["two-layer network"] == "0.500 ± 0.000 (2)"
    assert row["ResNet"] == "0.500 ± 0.000 (2)"
    assert rows([Store(golden.root / "nothing")]) == []


@pytest.mark.slow
def test_figures_load_neither_torch_nor_the_engine(golden: Store, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from repro.records.store import Store;"
        "from figures.catalogue import draw;"
        f"draw(['fig-tow', 'fig-theory-trajectories'], [Store({str(golden.root)!r})], Path({str(tmp_path)!r}));"
        "print([name for name in ('torch', 'numba', 'theory', 'empirical') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_names_of_installed_packages_join_the_built_in_ones() -> None:
    assert figure_names()[: len(FIGURES)] == list(FIGURES)


def test_the_highest_candidate_is_marked_and_one_that_diverged_is_never_chosen(drawn_folder: Path) -> None:
    data = numbers(drawn_folder, "tab-choice")
    chosen = data[data["chosen"]].set_index(["rule", "difficulty"])
    assert chosen["candidate"].to_dict() == {
        ("sgd", "low"): 0.03, ("sgd", "high"): 0.03, ("sam-0.1", "low"): 0.1, ("sam-0.1", "high"): 0.01
    }  # fmt: skip
    assert chosen["tow"].to_dict() == pytest.approx(
        {("sgd", "low"): 0.7, ("sgd", "high"): 0.7, ("sam-0.1", "low"): 0.9, ("sam-0.1", "high"): 0.8}
    )
    assert data["tow"].isna().sum() == 1
    text = (drawn_folder / "tab-choice.md").read_text()
    assert "| NegGrad | SGD | high | 60.00 | 70.00 * | 50.00 |" in text
    assert "diverged" in text


def test_runs_that_choose_are_not_part_of_the_study(drawn_folder: Path) -> None:
    cells = numbers(drawn_folder, "tab-neggrad")
    assert set(cells[cells["method"] == "neggrad"]["seeds"]) == {3}


def test_differences_from_sgd_stand_per_method_and_forget_set_with_their_intervals(drawn_folder: Path) -> None:
    data = numbers(drawn_folder, "tab-differences")
    tow = data[(data["metric"] == "tow") & (data["role"] == "unlearning")].set_index(["rule", "difficulty"])
    assert tow["mean"].to_dict() == pytest.approx(
        {
            (rule, name): gain
            for rule, gain in (("sam-0.1", 0.1), ("minmax-sam-0.1", 0.2))
            for name in ("low", "mid", "high")
        }
    )
    assert set(tow["seeds"]) == {3}
    text = (drawn_folder / "tab-differences.md").read_text()
    assert "| unlearning | NegGrad | SAM 0.1 | low | +10.0 [+10.0, +10.0] * | +0.0 [+0.0, +0.0] |" in text
    assert "| pretraining | NegGrad | SAM 0.1 | high | +0.0 [+0.0, +0.0] |" in text
