"""The one list: every name has a function, a command and a claim that exists; installed packages add their own."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from figures.catalogue import FIGURES, command_of, figure, figure_names, find
from figures.drawing.drawing import Drawing, NotRun
from figures.drawing.files import draw
from figures.drawing.style import Theme
from figures.tables.records import Records
from repro.base.errors import ConfigError
from repro.base.parts import installed, plugins
from repro.records.record import Record
from repro.records.store import Store
from tests.figures.conftest import studies_in


@pytest.mark.parametrize("name", FIGURES)
def test_an_empty_store_gives_a_frame_that_names_the_command(empty: Store, tmp_path: Path, name: str) -> None:
    (drawn,) = draw([name], studies_in(empty), tmp_path / "out")
    assert drawn.missing
    commands = {line.rpartition(": ")[2] for line in drawn.missing}
    command = command_of(FIGURES[name])
    wanted = "repro theory" if command.startswith("repro theory") else command
    assert all(command.startswith(wanted) for command in commands)
    assert drawn.run_ids == []


@pytest.mark.parametrize("name", FIGURES)
def test_runs_that_have_no_retrained_model_are_drawn_or_named(
    name: str, run: Callable[..., Record], records_of: Callable[..., Records]
) -> None:
    numbers = {f"{role}{part}_accuracy": 0.5 for role in ("", "original_") for part in ("retain", "forget", "test")}
    numbers |= {"parents": {"pretrain": "a", "unlearn": "b", "forget_set": "f"}}
    found = [
        run(retrain="none", rule=rule, seed=seed, number=numbers) for rule in ("sgd", "sam-0.1") for seed in (0, 1)
    ]
    drawing = find(name)(records_of(found), Theme())
    assert drawing.missing or drawing.run_ids


def test_a_figure_says_of_which_studies_it_is_and_names_the_command_where_they_were_not_run() -> None:
    @figure("tab-mine", studies=("digits",))
    def mine(records: Records, theme: Theme) -> Drawing:
        raise NotRun("runs of mine", ["tow"])

    drawing = mine(Records(), Theme())
    assert drawing.missing == ("runs of mine: repro study run recipes/digits.toml",)
    assert list(drawing.data.columns) == ["tow"]
    assert mine.studies == ("digits",)  # type: ignore[attr-defined]
    with pytest.raises(TypeError, match="colour"):
        figure("tab-mine", colour="red")


def test_an_installed_package_adds_its_figures_behind_the_built_in_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    about = tmp_path / "mine-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(
        "[repro.figures]\nfig-mine = figures_of_mine:draw\nfig-tow = other:draw\n"
        "fig-gone = gone_from_here:draw\nfig-less = figures_of_mine:absent\n"
    )
    (tmp_path / "figures_of_mine.py").write_text("def draw(records, theme): return 'mine'\n")
    monkeypatch.syspath_prepend(tmp_path)
    for known in (installed, plugins):
        known.cache_clear()
    try:
        assert figure_names() == [*FIGURES, "fig-mine", "fig-gone", "fig-less"]
        for lost in ("fig-gone", "fig-less"):
            with pytest.raises(ConfigError, match=f"{lost}: .* cannot be imported .*install mine again"):
                find(lost)
        assert find("fig-mine")(None, None) == "mine"  # type: ignore[arg-type, comparison-overlap]
        assert find("fig-tow").__module__.startswith("figures.networks")
    finally:
        for known in (installed, plugins):
            known.cache_clear()


def test_figures_load_neither_torch_nor_the_engine_and_that_of_the_theory_no_seaborn(
    golden: Store, tmp_path: Path
) -> None:
    code = (
        "import sys; from pathlib import Path; from repro.terminal.output import studies_in;"
        "from figures.drawing.files import draw;"
        f"studies = studies_in(Path({str(golden.root)!r}));"
        f"folder = Path({str(tmp_path)!r}); draw(['fig-theory-trajectories'], studies, folder);"
        "print('seaborn' in sys.modules); draw(['fig-tow'], studies, folder);"
        "print([name for name in ('torch', 'numba', 'theory', 'empirical') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "[]"]
