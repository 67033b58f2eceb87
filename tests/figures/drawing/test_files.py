"""Files of a drawing: complete, the same each time, and not drawn again until a record changes."""

import json
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from figures import catalogue
from figures.catalogue import FIGURES
from figures.drawing.drawing import Drawing
from figures.drawing.files import draw, latex, markdown
from repro.base.errors import ConfigError, IntegrityError
from repro.base.files import collect_damage
from repro.records.lists import RunList
from repro.records.record import Record
from repro.records.store import Store
from tests.figures.conftest import studies_in

Draw = Callable[[str], Drawing]


def test_an_unknown_figure_is_refused_with_the_nearest_name_before_anything_is_drawn(
    empty: Store, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"did you mean 'fig-tow'"):
        draw(["fig-theory-trajectories", "fig-two"], studies_in(empty), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_figure_of_an_installed_package_is_called_by_no_path(
    empty: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = {"../pwned": EntryPoint("../pwned", "figures.catalogue:lacking", "repro.figures")}
    monkeypatch.setattr(catalogue, "plugins", lambda kind: theirs)
    with pytest.raises(ConfigError, match="no path"):
        draw(["../pwned"], studies_in(empty), tmp_path / "out")
    assert not list(tmp_path.rglob("*pwned*"))


def test_a_figure_of_damaged_records_is_named_and_the_others_are_drawn(
    golden: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def torn(record: Record, *wanted: str) -> dict[str, Any]:
        raise IntegrityError(f"run {record.run_id}: arrays.npz: no plain arrays")

    monkeypatch.setattr(Record, "arrays", torn)
    with collect_damage() as damage:
        drawn = draw(["fig-margins", "tab-minmax"], studies_in(golden), tmp_path)
    assert [one.name for one in drawn] == ["tab-minmax"]
    assert [line for line in damage if line.startswith("fig-margins: not drawn; run ")]


def test_the_same_records_give_the_same_bytes(golden: Store, tmp_path: Path) -> None:
    names = ["fig-mia", "tab-minmax"]
    contents = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        draw(names, studies_in(golden), folder)
        contents.append({path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()})
    assert contents[0] == contents[1]


def test_nothing_is_drawn_again_until_a_record_changes(golden: Store, tmp_path: Path) -> None:
    (first,) = draw(["fig-published"], studies_in(golden), tmp_path)
    before = (tmp_path / "fig-published.png").stat().st_mtime_ns
    assert draw(["fig-published"], studies_in(golden), tmp_path) == [first]
    assert (tmp_path / "fig-published.png").stat().st_mtime_ns == before
    draw(["fig-published"], studies_in(Store(tmp_path / "nothing")), tmp_path)
    assert (tmp_path / "fig-published.png").stat().st_mtime_ns != before


def test_a_brief_drawing_is_one_png_and_its_origin_until_all_files_are_asked_for(golden: Store, tmp_path: Path) -> None:
    (brief,) = draw(["fig-published"], studies_in(golden), tmp_path, style="draft")
    assert {path.name for path in tmp_path.iterdir()} == {"fig-published.png", "fig-published.json"}
    written = (tmp_path / "fig-published.png").stat().st_mtime_ns
    assert draw(["fig-published"], studies_in(golden), tmp_path, style="draft") == [brief]
    assert (tmp_path / "fig-published.png").stat().st_mtime_ns == written
    draw(["fig-published"], studies_in(golden), tmp_path)
    kinds = {path.name.removeprefix("fig-published") for path in tmp_path.iterdir()}
    assert kinds == {".png", ".json", ".pdf", ".csv"}


def test_a_draft_of_other_records_does_not_make_the_old_numbers_new(run: Callable[..., Record], tmp_path: Path) -> None:
    def store(tow: float) -> Store:
        found = Store(tmp_path / f"{tow}")
        made = (run(seed=seed, number={"tow": tow}) for seed in range(2))
        runs = [found.save(one.kind, one.config, result=one.result).run_id for one in made]
        found.lists.put("cifar10", RunList(tuple(runs)))
        return found

    drawn = lambda: set(pd.read_csv(tmp_path / "fig-tow.csv")["mean"].dropna())  # noqa: E731
    draw(["fig-tow"], studies_in(store(0.25)), tmp_path)
    assert drawn() == {0.25}
    draw(["fig-tow"], studies_in(store(0.75)), tmp_path, style="draft")
    draw(["fig-tow"], studies_in(store(0.75)), tmp_path)
    assert drawn() == {0.75}


def test_any_file_that_is_gone_or_cut_off_is_written_again(golden: Store, tmp_path: Path) -> None:
    (first,) = draw(["fig-published"], studies_in(golden), tmp_path)
    for kind, damage in ((".png", "half"), (".pdf", "gone"), (".csv", "other"), (".json", "half"), (".json", "other")):
        path = tmp_path / f"fig-published{kind}"
        whole = path.read_bytes()
        content = {"gone": None, "half": whole[: len(whole) // 2], "other": b"[]"}[damage]
        path.unlink() if content is None else path.write_bytes(content)
        assert draw(["fig-published"], studies_in(golden), tmp_path) == [first]
        assert path.read_bytes() == whole


def test_a_whole_drawing_will_do_for_a_draft_and_no_style_for_another(golden: Store, tmp_path: Path) -> None:
    (whole,) = draw(["fig-published"], studies_in(golden), tmp_path)
    assert draw(["fig-published"], studies_in(golden), tmp_path, style="draft") == [whole]
    (large,) = draw(["fig-published"], studies_in(golden), tmp_path, style="slides")
    assert {path.suffix for path in large.files} == {".png", ".json", ".pdf", ".csv", ".svg"}
    assert draw(["fig-published"], studies_in(golden), tmp_path) == [whole]


@pytest.mark.slow
def test_the_numbers_on_disk_are_those_that_were_drawn(drawing: Draw, drawn_folder: Path) -> None:
    for name in ("fig-tow", "tab-differences"):
        kept = pd.read_csv(drawn_folder / f"{name}.csv")
        pd.testing.assert_frame_equal(kept, drawing(name).data, check_dtype=False)
        origin = json.loads((drawn_folder / f"{name}.json").read_text())
        assert [run["run_id"] for run in origin["runs"]] == drawing(name).run_ids


def test_texts_that_a_table_could_trip_over_are_escaped() -> None:
    table = pd.DataFrame([{"a|b": "x|y", "50 %": "1 ± 2 → 3_4"}])
    assert markdown(table).splitlines()[2] == "| x\\|y | 1 ± 2 → 3_4 |"
    assert latex(table, "", "").splitlines()[7:10] == [
        r"a|b & 50 \% \\",
        r"\midrule",
        r"x|y & 1 $\pm$ 2 $\to$ 3\_4 \\",
    ]


def test_a_latex_table_has_its_caption_and_label_and_one_of_many_columns_is_made_as_wide_as_the_page() -> None:
    lines = latex(pd.DataFrame([{"a": 1}]), "5 % of_all", "tab-choice").splitlines()
    assert lines[0] == "% needs booktabs"
    assert lines[1:5] == ["\\begin{table}", "\\centering", "\\caption{5 \\% of\\_all}", "\\label{tab:choice}"]
    assert lines[-1] == "\\end{table}"
    wide = latex(pd.DataFrame([dict.fromkeys("abcdefg", 1)]), "all", "tab-choice").splitlines()
    assert wide[0] == "% needs booktabs and graphicx"
    assert wide[5] == "\\resizebox{\\textwidth}{!}{%"
    assert wide[-2:] == ["}", "\\end{table}"]


@pytest.mark.slow
@pytest.mark.parametrize(("style", "dark"), [("slides", False), ("dark", True)])
def test_a_style_for_a_wall_is_larger_and_has_vectors(golden: Store, tmp_path: Path, style: str, dark: bool) -> None:
    draw(["fig-tow"], studies_in(golden), tmp_path / style, style=style)
    text = (tmp_path / style / "fig-tow.svg").read_text()
    assert ("#15181c" in text.lower()) == dark
    assert "9.1px" in text  # 7 points in print
    assert (tmp_path / style / "fig-tow.pdf").exists()
    with pytest.raises(ConfigError, match="did you mean 'slides'"):
        draw(["fig-tow"], studies_in(golden), tmp_path / style, style="slide")


@pytest.mark.slow
@pytest.mark.parametrize("name", FIGURES)
def test_every_item_writes_its_drawing_its_numbers_and_their_origin(drawn_folder: Path, name: str) -> None:
    origin = json.loads((drawn_folder / f"{name}.json").read_text())
    assert origin["caption"]
    assert origin["alt"]
    kinds = {path.suffix for path in drawn_folder.glob(f"{name}.*")}
    assert kinds in ({".pdf", ".png", ".csv", ".json"}, {".md", ".tex", ".csv", ".json"})
