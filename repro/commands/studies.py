"""More of `repro empirical`: memorization scores, and files a user brings."""

from pathlib import Path
from typing import Annotated

import typer

from empirical.data.memorization import MemorizationConfig
from empirical.settings.run_config import RunConfig, Runtime
from repro.commands.empirical import app, with_runtime
from repro.commands.options import with_settings
from repro.commands.output import DEFAULT_STORE, JsonOption, StoreOption, emit, say
from repro.records.store import Store


@app.command()
@with_settings(MemorizationConfig)
@with_runtime
def memorization(
    runtime: Runtime, config: MemorizationConfig, store: StoreOption = DEFAULT_STORE, json: JsonOption = False
) -> None:
    """Estimate memorization scores with standard errors from models trained on random subsets."""
    Store(store).ensure_writable()
    from empirical.runs.subset_models import SubsetModels
    from empirical.runs.workspace import Workspace

    record = SubsetModels(config, Workspace(Store(store), runtime)).record()
    emit([{"number": name, "value": value} for name, value in record.result.items()], as_json=json)
    if not json:
        say(f"record: {record.run_id} (arrays: scores, errors, inside, correct)")


@app.command()
def import_index(
    path: Annotated[Path, typer.Argument(help="Row numbers to forget: .npy, or text with one a line.")],
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Keep your own forget set in the store, for --difficulty index --forget-index ID."""
    Store(store).ensure_writable()
    from empirical.runs.imports import import_index as keep

    record = keep(path, Store(store))
    say(f"kept {record.result['n']} rows: --difficulty index --forget-index {record.run_id}")


@app.command()
@with_settings(Runtime, skip=("device", "engine", "keep_models", "study"))
def import_scores(
    runtime: Runtime,
    path: Annotated[Path, typer.Argument(help="Published memorization scores, an .npz file with `tr_mem`.")],
    dataset: Annotated[str, typer.Option(help="The data set they belong to; labels are compared.")],
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Keep published memorization scores in the store, for --difficulty high --scores ID."""
    Store(store).ensure_writable()
    from empirical.runs.imports import import_scores as keep
    from empirical.runs.workspace import Workspace

    record = keep(path, RunConfig(dataset=dataset), Workspace(Store(store), runtime))
    say(f"kept {record.result['n']} scores: --scores {record.run_id}")
