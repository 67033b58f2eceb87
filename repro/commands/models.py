"""`repro models`: the weights a store keeps, and what frees the disk of them."""

import json as json_text
import shutil
from pathlib import Path
from typing import Annotated, Any

import typer

from repro.commands.output import DEFAULT_STORE, JsonOption, StoreOption, emit, say
from repro.records.errors import IntegrityError
from repro.records.settings import choose
from repro.records.store import Store

app = typer.Typer(help="Weights of trained models in your store.", no_args_is_help=True, rich_markup_mode=None)
STAGES = ("pretrain", "retrain", "unlearn", "subset")


@app.command("list")
def list_models(store: StoreOption = DEFAULT_STORE, json: JsonOption = False) -> None:
    """List the stages whose weights are kept."""
    rows = [_row(folder) for folder in Store(store).models()]
    emit(rows, as_json=json, empty="no weights kept yet")
    if rows and not json:
        say(f"{len(rows)} models, {sum(row['bytes'] for row in rows) / 1e6:.1f} MB")


@app.command()
def prune(
    stage: Annotated[
        list[str] | None, typer.Option(help="Stages to free: unlearn (the default), subset, retrain, pretrain.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be freed and stop.")] = False,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Delete weights; every number stays, and metrics asked for later take training again."""
    wanted = [choose("stage", name, STAGES) for name in stage or ["unlearn"]]
    freed = 0
    chosen = [(folder, row) for folder in Store(store).models() if (row := _row(folder))["stage"] in wanted]
    for folder, row in chosen:
        freed += row["bytes"]
        if not dry_run:
            (folder / "provenance.json").unlink()  # the marker first: half a model is no model
            shutil.rmtree(folder)
    say(f"{'would free' if dry_run else 'freed'} {freed / 1e6:.1f} MB of {len(chosen)} models")


def _row(folder: Path) -> dict[str, Any]:
    try:
        config = json_text.loads((folder / "config.json").read_text())["config"]
    except (OSError, ValueError, KeyError) as error:
        raise IntegrityError(f"model {folder.name}: unreadable ({error}); delete its folder") from error
    names = ("stage", "dataset", "model", "method", "rule", "seed")
    size = sum(path.stat().st_size for path in folder.iterdir())
    return {"id": folder.name} | {name: config.get(name, "") for name in names} | {"bytes": size}
