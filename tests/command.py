"""A command line as a user types it, run by the process of the tests: importing costs each test nothing."""

import contextlib
import io
import os
from pathlib import Path
from typing import NamedTuple
from unittest import mock

from repro.commands.cli import app, run

ROOT = Path(__file__).parents[1]


class Answer(NamedTuple):
    """What a command did: its exit code and what it wrote."""

    returncode: int
    stdout: str
    stderr: str


def environment() -> dict[str, str]:
    """Return the environment of a user who set no variable of ours."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("REPRO_")}
    return clean | {"PYTHONPATH": str(ROOT)}


def repro(folder: Path, *words: str, **variables: str) -> Answer:
    """Run a command in `folder`, with these variables of the environment."""
    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.dict(os.environ, environment() | variables, clear=True),
        contextlib.chdir(folder),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        code = run(lambda: app([*words], standalone_mode=False))
    return Answer(code, out.getvalue(), err.getvalue())
