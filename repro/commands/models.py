"""`repro models`: the weights a store keeps, and what frees the disk of them."""

import json as json_text
import math
import re
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from empirical.settings.run_config import KIND, RunConfig, Runtime
from repro.base.errors import IntegrityError, MissingDataError
from repro.base.files import read_bytes
from repro.base.settings import choose, reject
from repro.records.store import Store
from repro.records.upkeep import require_store
from repro.terminal.options import several
from repro.terminal.output import DEFAULT_STORE, ForceOption, JsonOption, StoreOption, emit, say

app = typer.Typer(help="Weights of trained models in your store.", no_args_is_help=True, rich_markup_mode="rich")
STAGES = ("pretrain", "retrain", "unlearn", "subset")


@app.command("list")
def list_models(store: StoreOption = DEFAULT_STORE, json: JsonOption = False) -> None:
    """List the stages whose weights are stored."""
    rows = [_row(folder) for folder in Store(store).stages.all()]
    emit(rows, as_json=json, empty="no weights stored yet")
    if rows and not json:
        say(f"{len(rows)} models, {sum(row['bytes'] for row in rows) / 1e6:.1f} MB")


@app.command("export")
def export_run(
    run: Annotated[str, typer.Argument(help="A run of your store: its id, or enough of its first digits.")],
    to: Annotated[str, typer.Option("--to", help="A folder, or hub:NAME to upload a repository of that name.")],
    force: ForceOption = False,
    data_root: Annotated[str, typer.Option(envvar="REPRO_DATA", help="Folder of local image files.")] = "",
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Write a run's original, retrained and unlearned weights with a model card that plain torch can follow."""
    from empirical.exchange.models import export_models
    from empirical.runs.resources import Resources
    from repro.records.published import readers
    from repro.records.record import pick, read_records

    record = pick(read_records(readers(Store(store)), KIND), run)
    resources = Resources(Store(store), Runtime(device="cpu", data_root=data_root))
    if not to.startswith("hub:"):
        for path in export_models(record, resources, Path(to), force=force):
            say(str(path))
        return
    with tempfile.TemporaryDirectory() as folder:
        export_models(record, resources, Path(folder))
        upload(Path(folder), to.removeprefix("hub:"))
    say(f"uploaded {to.removeprefix('hub:')}")


def upload(folder: Path, name: str) -> None:
    """Upload the files of a folder to a repository of the hub, and create it if it does not exist.

    Raises:
        ConfigError: when the hub does not take such a name.
        MissingDataError: when it cannot be reached, or refuses the login.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        HTTPError,  # pyright: ignore[reportPrivateImportUsage]  # of whichever client
        LocalTokenNotFoundError,
    )

    hub = HfApi()
    try:
        hub.create_repo(name, exist_ok=True)
        hub.upload_folder(repo_id=name, folder_path=folder)
    except HFValidationError as error:
        raise reject("--to", f"hub:{name}", "hub:OWNER/NAME of letters, digits, dots and dashes") from error
    except (HfHubHTTPError, LocalTokenNotFoundError, HTTPError, OSError) as error:
        reason = " ".join(str(error).split())[:160]
        raise MissingDataError(
            f"hub {name}: not uploaded ({reason}); needs a network and the token that `hf auth login` keeps, "
            "or --to a folder"
        ) from error


@app.command("import")
def import_checkpoint(
    path: Annotated[Path, typer.Argument(help="A .safetensors, .pth or .pt file of weights.")],
    name: Annotated[str, typer.Option("--as", help="Its name for runs: --original NAME.")],
    model: Annotated[str, typer.Option(help="Its architecture, such as resnet18 or timm:NAME.")],
    dataset: Annotated[str, typer.Option(help="The data set it was trained on, such as cifar10.")],
    dataset_options: Annotated[str, typer.Option(help="Settings of the data set.")] = "",
    largest: Annotated[float, typer.Option(help="Largest file that is read, in GiB, > 0.")] = 4.0,
    data_root: Annotated[str, typer.Option(envvar="REPRO_DATA", help="Folder of local image files.")] = "",
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Store a checkpoint from elsewhere, to unlearn from it with `repro run --original NAME`."""
    Store(store).ensure_writable()
    from empirical.exchange.models import import_model
    from empirical.runs.resources import Resources

    if not re.fullmatch(r"[\w.-]+", name):
        raise reject("--as", name, "letters, digits, dots and dashes")
    if not 0 < largest < math.inf:
        raise reject("--largest", largest, "> 0 GiB, a finite number")
    config = RunConfig(model=model, dataset=dataset, dataset_options=dataset_options, augment="none")
    resources = Resources(Store(store), Runtime(data_root=data_root))
    folder = import_model(path, config, resources, name=name, largest=largest)
    found = json_text.loads((folder / "provenance.json").read_bytes())["test_accuracy"]
    say(f"saved as {name} ({folder.name}); test accuracy here {found:.4f}")
    say(f"repro run --original {name} --model {model} --dataset {dataset} --retrain none")


@app.command()
def prune(
    stage: Annotated[
        list[str] | None, typer.Option(help="Stages to delete: unlearn (the default), subset, retrain, pretrain.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would be deleted and stop.")] = False,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Delete weights; all numbers stay, but a metric added later needs training again."""
    wanted = [choose("stage", name, STAGES) for name in several(stage) or ["unlearn"]]
    home = Store(store)
    require_store(home)
    chosen = [folder for folder in home.stages.all() if _row(folder)["stage"] in wanted]
    freed = sum(path.stat().st_size for folder in chosen for path in home.stages.files(folder) if path.is_file())
    for folder in chosen if not dry_run else []:
        for path in home.stages.remove(folder):
            say(f"not ours, left: {path}")
    say(f"{'would free' if dry_run else 'freed'} {freed / 1e6:.1f} MB of {len(chosen)} models")


def _row(folder: Path) -> dict[str, Any]:
    names = ("stage", "dataset", "model", "method", "rule", "seed")
    try:
        config = json_text.loads(read_bytes(f"{folder}/config.json"))["config"]
        shown = {name: config.get(name, "") for name in names}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise IntegrityError(f"model {folder.name}: unreadable ({error}); delete its folder") from error
    size = sum(path.stat().st_size for path in folder.iterdir())
    return {"id": folder.name} | shown | {"bytes": size}
