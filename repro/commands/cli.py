"""`repro`: the command line. Commands import their package inside the function, so that `--help` is instant."""

import sys
from collections.abc import Callable
from typing import Any

import typer

from repro import __version__
from repro.commands import figures, models, records, studies, theory
from repro.commands.extras import lacking
from repro.commands.output import say
from repro.records.errors import ReproError

app = typer.Typer(
    help="Sharpness-aware machine unlearning: exact theory, network experiments, figures.",
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None,
)  # fmt: skip
app.add_typer(theory.app, name="theory")
app.add_typer(studies.app, name="empirical")
app.add_typer(models.app, name="models")
app.command("check")(studies.check)
for name, command in {**figures.COMMANDS, **records.COMMANDS}.items():
    app.command(name)(command)

# The base of every usage error, wherever this version of typer keeps it.
UsageError: Any = typer.BadParameter.__mro__[1]


@app.callback(invoke_without_command=True)
def version(show: bool = typer.Option(False, "--version", help="Print the version and stop.")) -> None:
    """Sharpness-aware machine unlearning: exact theory, network experiments, figures."""
    if show:
        say(__version__)
        raise typer.Exit()


def main() -> None:
    """Run the command line; errors end as one line on standard error and an exit code."""
    sys.exit(run(lambda: app(standalone_mode=False)))


def run(command: Callable[[], Any]) -> int:
    """Run a command and return its exit code: 2 usage, 3 data missing, 4 memory, 5 diverged, 6 integrity."""
    try:
        code = command()
        return code if isinstance(code, int) else 0
    except ReproError as error:
        return _fail(str(error), error.exit_code)
    except ModuleNotFoundError as error:
        missing = lacking(error)
        if missing is None:
            raise
        return _fail(str(missing), missing.exit_code)
    except UsageError as error:
        return _fail(error.format_message(), 2)
    except typer.Abort:
        return _fail("interrupted: finished runs are kept; run the same command again for the rest", 130)
    except KeyboardInterrupt:
        return _fail("interrupted: finished runs are kept; run the same command again for the rest", 130)
    except BrokenPipeError:
        sys.stderr.close()
        return 141


def _fail(message: str, code: int) -> int:
    typer.echo("error: " + " ".join(message.split()), err=True)
    return code
