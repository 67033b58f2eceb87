"""`repro`: the command line. Commands import their package inside the function, so that `--help` is instant."""

import io
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import typer

from repro import __version__
from repro.base.ending import Ending, Stopped
from repro.base.environment import check_environment
from repro.base.errors import ReproError, lacks_memory, of_the_system
from repro.base.extras import missing_extra
from repro.base.files import collect_damage
from repro.base.settings import reject
from repro.commands import doctor, empirical, export, figures, models, records, studies, theory, words
from repro.terminal.output import printable, say

app = typer.Typer(
    help="Sharpness-aware machine unlearning: exact theory, network experiments, figures.",
    no_args_is_help=True, add_completion=True, pretty_exceptions_enable=False, rich_markup_mode="rich",
)  # fmt: skip
FIRST, THINGS, HELP = "Start here", "Studies, records, the paper", "Help"
GROUPS: dict[str, tuple[str, dict[str, Callable[..., None]]]] = {
    "study": (
        "Studies: recipes of many runs.",
        {"list": studies.recipes, "plan": studies.plan, "run": studies.grid, "status": studies.status,
         "check": studies.check, "estimate": empirical.memorization},
    ),
    "records": (
        "What runs left behind, your own and the published.",
        {**records.COMMANDS, "diff": empirical.diff, "evaluate": empirical.evaluate, "export": export.export,
         "import-index": empirical.import_index, "import-scores": empirical.import_scores},
    ),
    "paper": ("The paper's claims, figures and tables, answered from records.", figures.COMMANDS),
}  # fmt: skip


def group(name: str, about: str, commands: Mapping[str, Callable[..., None]]) -> typer.Typer:
    """Add a group of commands, and return it."""
    found = typer.Typer(help=about, no_args_is_help=True, rich_markup_mode="rich")
    for verb, command in commands.items():
        found.command(verb)(command)
    app.add_typer(found, name=name, rich_help_panel=THINGS)
    return found


app.add_typer(theory.app, name="theory", rich_help_panel=FIRST)
app.command("run", rich_help_panel=FIRST)(empirical.run)
app.command("figures", rich_help_panel=FIRST)(figures.figures)
app.command("compare", rich_help_panel=FIRST)(figures.compare)
groups = {name: group(name, about, commands) for name, (about, commands) in GROUPS.items()}
app.add_typer(models.app, name="models", rich_help_panel=THINGS)
app.command("explain", rich_help_panel=HELP)(words.explain_word)
app.command("schema", rich_help_panel=HELP)(words.schema)
app.command("doctor", rich_help_panel=HELP)(doctor.doctor)
# Names from before version 0.3; version 0.4 may drop them.
app.add_typer(studies.app, name="empirical", hidden=True)
groups["records"].command("pack", hidden=True)(records.publish)
OLD = {**records.COMMANDS, **figures.COMMANDS, "pack": records.publish, "check": studies.check, "export": export.export}
for name in set(OLD) - {"figures", "compare", "publish"}:
    app.command(name, hidden=True)(OLD[name])

# The base of every usage error, wherever this version of typer keeps it.
UsageError: Any = typer.BadParameter.__mro__[1]
RESUMES = "finished runs are saved; run the same command again for the rest"


@app.callback(invoke_without_command=True)
def version(
    show: bool = typer.Option(False, "--version", help="Print the version and stop."),
    debug: bool = typer.Option(False, "--debug", help="Show the traceback of an unexpected error; may stand anywhere."),
) -> None:
    """Sharpness-aware machine unlearning: exact theory, network experiments, figures."""
    if show:
        say(__version__)
        raise typer.Exit()


def main() -> None:
    """Run the command line; errors end as one line on standard error and an exit code."""
    Ending().listen()
    debug = "--debug" in sys.argv
    words = [word for word in sys.argv[1:] if word != "--debug"]
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that lacks a letter gets its number
    os.environ["MPLBACKEND"] = "agg"  # every figure is a file: no window is ever opened, whatever the user's own says
    sys.exit(_flushed(run(lambda: _called(words), debug=debug)))


def _called(words: list[str]) -> Any:
    """Run a command line, unless processes of torchrun would each do the whole of it side by side."""
    check_environment()
    together = int(os.environ.get("WORLD_SIZE", "1")) > 1 and "TORCHELASTIC_RUN_ID" in os.environ
    if together and words[:1] != ["run"] and words[:2] != ["empirical", "run"]:
        raise reject(
            "torchrun", " ".join(words[:2]), "`repro run`", "its processes train one network; other work: --workers"
        )
    return app(words, standalone_mode=False)


def run(command: Callable[[], Any], *, debug: bool = False) -> int:
    """Run a command and return its exit code.

    2 usage, 3 data missing, 4 memory, 5 diverged, 6 integrity, 7 disk full, 130 Ctrl-C, 128 + n ended by signal n, 1
    an unexpected error. A command that named damage but did all the rest returns 6.
    """
    with collect_damage(lambda line: typer.echo("damaged: " + printable(line), err=True)) as damaged:
        code = _run(command, debug)
    return code or (_fail(f"{len(damaged)} damaged, named above; the rest is done", 6) if damaged else 0)


def _run(command: Callable[[], Any], debug: bool) -> int:
    try:
        code = command()
        return code if isinstance(code, int) else 0
    except ReproError as error:
        return _fail(str(error), error.exit_code)
    except ModuleNotFoundError as error:
        missing = missing_extra(error)
        if missing is None:
            raise
        return _fail(str(missing), missing.exit_code)
    except UsageError as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            say(error.ctx.get_help())  # a group without a command: its help, as it is
            return 2
        rare = any("--set" in one.opts for one in error.ctx.command.params) if error.ctx else False
        hint = "; rare settings are given as --set NAME=VALUE" if rare and "No such option" in str(error) else ""
        return _fail(error.format_message() + hint, 2)
    except Stopped as stopped:
        return _fail(f"ended by {stopped}: {RESUMES}", 128 + stopped.signal if stopped.signal else 0)
    except (typer.Abort, KeyboardInterrupt):
        return _fail(f"interrupted: {RESUMES}", 130)
    except BrokenPipeError:
        return _silenced(141)
    except Exception as error:
        if debug and not isinstance(error, MemoryError):
            raise
        if lacks_memory(error):
            return _fail(f"out of memory ({str(error)[:200] or 'no more to be had'}); {RESUMES}", 4)
        if isinstance(error, OSError):
            known = of_the_system(error)
            return _fail(str(known), known.exit_code)
        first = (str(error).splitlines() or [""])[0][:200]
        return _fail(f"unexpected {type(error).__name__}: {first}; its traceback is {_keep_traceback()}", 1)


def _keep_traceback() -> str:
    """Return where the traceback of the error in hand was written."""
    try:
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", errors="backslashreplace", prefix="repro-", suffix=".txt", delete=False
        ) as file:
            file.write(traceback.format_exc())
    except OSError:
        return "nowhere, for no file can be written: run it again with --debug"
    return f"in {file.name}"


def _flushed(code: int) -> int:
    """Return the exit code after the last output has left: a full disk or a closed pipe is noticed here."""
    try:
        if sys.stdout:
            sys.stdout.flush()
    except BrokenPipeError:
        return _silenced(141)
    except OSError as error:
        known = of_the_system(error)
        return code or _silenced(_fail(f"standard output: {known}", known.exit_code))
    return code


def _silenced(code: int) -> int:
    """Discard remaining output, so that the interpreter's last flush raises nothing."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    return code


def _fail(message: str, code: int) -> int:
    with suppress(OSError, ValueError):  # standard error may be full or closed
        typer.echo("error: " + printable(" ".join(message.split())), err=True)
    return code
