"""`repro empirical`: one network cell, or a grid of them."""

from pathlib import Path
from typing import Annotated

import typer

from repro.cli_output import DEFAULT_STORE, JsonOption, StoreOption, emit

app = typer.Typer(help="Unlearning experiments with networks.", no_args_is_help=True, rich_markup_mode=None)
