"""What a person sees on a terminal: tables, sentences and help fit its width, at 80, 120 and 200 columns."""

import fcntl
import json
import os
import pty
import re
import struct
import sys
import termios
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from empirical.settings.run_config import RunConfig
from repro.base.environment import shadowed
from repro.base.errors import ConfigError
from repro.commands.cli import app
from repro.commands.doctor import examine
from repro.commands.empirical import as_searched
from repro.terminal.options import parsed, several, with_settings
from theory.config import SweepConfig

ROOT = Path(__file__).parent.parent.parent
LINES = [
    "list --study digits --limit 3", "study list", "records show 9964d14a", "study check digits --published",
    "study plan digits", "explain", "explain tow", "run --help", "theory --help", "study run --help", "doctor",
    "run --method neg",
]  # fmt: skip


def on_a_terminal(width: int, lines: list[str], folder: Path) -> dict[str, str]:
    """Return what each command line writes on a terminal of so many columns, all run by one process."""
    code = "import sys, json; from repro.commands.cli import app, run\n"
    code += "for line in json.loads(sys.argv[1]):\n"
    code += "    print('\\x00' + line, flush=True); run(lambda: app(line.split(), standalone_mode=False))"
    pid, master = pty.fork()
    if not pid:
        os.chdir(folder)
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 50, width, 0, 0))
        bare = {name: text for name, text in os.environ.items() if name not in ("COLUMNS", "NO_COLOR")}
        program = [sys.executable, "-W", "ignore", "-c", code, json.dumps(lines)]
        os.execve(sys.executable, program, bare | {"PYTHONPATH": str(ROOT), "TERM": "xterm-256color"})
    written = b""
    try:
        while part := os.read(master, 65536):
            written += part
    except OSError:  # how Linux says that the other end is closed
        pass
    os.waitpid(pid, 0)
    parts = written.decode().replace("\r", "").split("\x00")[1:]
    return dict(part.split("\n", 1) for part in parts)


@pytest.fixture(scope="module", params=[80, *(pytest.param(width, marks=pytest.mark.slow) for width in (120, 200))])
def shown(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[int, dict[str, str]]:
    return request.param, on_a_terminal(request.param, LINES, tmp_path_factory.mktemp("terminal"))


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)


@pytest.mark.xdist_group("terminal")
def test_everything_fits_the_width_and_nothing_is_cut(shown: tuple[int, dict[str, str]]) -> None:
    width, answers = shown
    assert list(answers) == LINES
    for line, text in answers.items():
        assert len(text) > 40, line
        too_wide = [row for row in plain(text).splitlines() if len(row) > width and "error:" not in row]
        assert not too_wide, (line, too_wide)
        assert not re.search(r"\w\.\.\.$|…", plain(text), re.MULTILINE), line


@pytest.mark.xdist_group("terminal")
def test_a_terminal_has_colour_and_a_pipe_has_plain_columns(shown: tuple[int, dict[str, str]]) -> None:
    _, answers = shown
    assert "\x1b[32m" in answers["study check digits --published"]
    piped = CliRunner().invoke(app, ["study", "check", "digits", "--published"]).stdout
    assert "\x1b" not in piped
    assert piped.splitlines()[1].startswith("------  ")


@pytest.mark.xdist_group("terminal")
def test_help_stands_in_panels_with_choices(shown: tuple[int, dict[str, str]]) -> None:
    _, answers = shown
    run, theory = plain(answers["run --help"]), plain(answers["theory --help"])
    order = [run.index(f"─ {name} ─") for name in ("Basics", "What is forgotten", "Data and training", "Rare settings")]
    assert order == sorted(order)
    for name in ("neggrad", "bad_teacher", "resnet18", "cifar100", "class-part", "tow"):
        assert name in run
    assert "--mask-fraction" not in run
    assert "mask_fraction" in run
    assert "─ Basics ─" in theory
    assert "--momentum" not in theory


# Options.


def test_a_rare_setting_is_given_by_its_name_and_checked_like_an_option() -> None:
    names = ("momentum", "trajectory", "metrics", "forget_batch_size", "schedule")
    texts = ["momentum=0.8", "trajectory=true", "metrics=tow,mia", "forget-batch-size=16", "schedule=cosine"]
    assert parsed(RunConfig, texts, names) == {
        "momentum": 0.8, "trajectory": True, "metrics": ["tow", "mia"], "forget_batch_size": 16, "schedule": "cosine",
    }  # fmt: skip
    for text, said in {"momentum": "NAME=VALUE", "momentun=1": "did you mean 'momentum'"}.items():
        with pytest.raises(ConfigError, match=said):
            parsed(RunConfig, [text], names)
    with pytest.raises(ConfigError, match="is given too"):
        parsed(RunConfig, ["momentum=0.8", "momentum=0.9"], names)
    result = CliRunner().invoke(app, ["run", "--set", "momentum=x"])
    assert "momentum = 'x': must be of type float" in str(result.exception)


def test_an_option_that_is_a_rare_setting_says_how_it_is_given(capsys: pytest.CaptureFixture[str]) -> None:
    from repro.commands.cli import run

    assert run(lambda: app(["run", "--momentum", "0.8"], standalone_mode=False)) == 2
    assert "--set NAME=VALUE" in capsys.readouterr().err


def test_several_values_may_stand_between_commas() -> None:
    assert several(["a,b", "c", " d , "]) == ["a", "b", "c", "d"]
    assert several(None) == []
    seen: list[SweepConfig] = []
    typing_app = typer.Typer()
    typing_app.command()(with_settings(SweepConfig)(lambda config: seen.append(config)))
    CliRunner().invoke(typing_app, ["--d", "100,200", "--d", "300", "--alpha", "0.5, 1"], catch_exceptions=False)
    assert (seen[0].d, seen[0].alpha, seen[0].signal_strength) == ((100, 200, 300), (0.5, 1.0), ())


def test_every_reader_takes_a_store_and_json() -> None:
    """A reader prints what it found; those that write files say where, and the rest works on no store."""
    writers = {"pack", "publish", "export", "laws", "import", "import-index", "import-scores", "prune"}
    storeless = {"explain", "schema", "doctor", "predict", "list"}

    def walk(command: Any, words: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
        below = getattr(command, "commands", {})
        found = [(words, command)] if not below else []
        return found + [one for name, child in below.items() for one in walk(child, (*words, name))]

    for words, command in walk(typer.main.get_command(app)):
        options = {option for parameter in command.params for option in parameter.opts}
        name = words[-1]
        assert "--json" in options or name in writers | {"schema"}, words
        assert "--store" in options or name in storeless or words[-2:] == ("empirical", "recipes"), words


# A first run that makes sense.


def test_a_run_takes_the_rate_of_the_published_search_for_its_setting() -> None:
    hard = RunConfig(difficulty="high")
    found = as_searched(hard)
    assert (found.lr, found.epochs, found.forget_batch_size) == (0.001, 3, 16), "by five seeds; by one it is 0.01"
    assert RunConfig().lr == 0.02, "ids of records rest on the defaults of the fields"
    assert as_searched(RunConfig(difficulty="high", rule="sam-0.3")) == RunConfig(difficulty="high", rule="sam-0.3")
    assert as_searched(RunConfig(dataset="signal-noise", augment="none")).lr == 0.02


# Packages that others hide.


def test_a_module_that_hides_ours_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert shadowed() == {}
    (tmp_path / "theory.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "theory", raising=False)
    assert shadowed() == {"theory": str(tmp_path / "theory.py")}
    (row,) = [row for row in examine() if row["check"] == "theory"]
    assert row["state"] == "missing"
    assert "pipx" in row["remedy"]
