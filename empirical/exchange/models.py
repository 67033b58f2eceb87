"""Import a checkpoint as the original of a run, and export the three models of a run, with a card, for any program."""

import hashlib
import io
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError  # nosec B403 - what a refused file raises; nothing is unpickled
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from empirical.data.images import ImageSet
from empirical.metrics.evaluation import SETS
from empirical.models.network import Network, accuracy
from empirical.runs.resources import Resources
from empirical.runs.stages import FACTS, build_network, restore, weights
from empirical.settings.keys import ROLE_STAGES
from empirical.settings.run_config import RunConfig
from repro import __version__
from repro.base.errors import ConfigError, IntegrityError, MissingDataError
from repro.base.outputs import write_outputs
from repro.base.settings import build, reject
from repro.records.identity import run_id
from repro.records.record import Record

RECIPE = (
    "dataset", "dataset_options", "n_train", "model", "pretrain", "pretrain_epochs", "pretrain_lr",
    "pretrain_batch_size", "retrain", "original", "method", "method_options", "rule", "alpha", "difficulty",
    "forget_fraction", "epochs", "lr", "batch_size", "mask_fraction", "augment", "corruption", "precision", "preset",
)  # fmt: skip
SEEDS = ("seed", "unlearn_seed", "forget_seed")
LARGEST = 4.0  # GiB of a checkpoint; a larger one needs --largest
# What safetensors and torch raise on files of another format.
UNREADABLE = (RuntimeError, OSError, ValueError, TypeError, EOFError, KeyError, SafetensorError)
# How our wrappers name the layers of other libraries: torchvision's ResNets, timm's models.
RENAMED = (
    lambda name: name,
    lambda name: f"head.{name[3:]}" if name.startswith("fc.") else f"body.{name}",
    lambda name: f"net.{name}",
)


@dataclass(frozen=True)
class ImportedKey:
    """Identity of an imported model: the hash of its weights, its architecture and its data set."""

    model: str
    dataset: str
    dataset_options: str
    weights: str
    stage: str = "imported"


def import_model(path: Path, config: RunConfig, resources: Resources, *, name: str, largest: float = LARGEST) -> Path:
    """Convert a checkpoint to safetensors, once, and return its folder in the store.

    Args:
        path: `.safetensors`, or what `torch.save` wrote: a mapping of tensors, or one that holds it under `state_dict`
            or `model`. It is read with `weights_only`, so that no code in it runs.
        config: names the architecture and the data set it was trained on.
        resources: the store and where images are.
        name: by which runs name it.
        largest: of the file, in GiB.

    Raises:
        MissingDataError: when the file is not there.
        IntegrityError: when it cannot be read as tensors.
        ConfigError: when it is too large, does not fit the architecture, naming the first difference, or when
            another model has the name.
    """
    if not path.is_file():
        raise MissingDataError(f"checkpoint {path.name}: not found; give the path of a .safetensors, .pth or .pt file")
    if path.stat().st_size > largest * 2**30:
        raise reject(
            "checkpoint size", f"{path.stat().st_size / 2**30:.2f} GiB", f"at most {largest:g} GiB", "--largest"
        )
    images = resources.images(config)
    network = build_network(config, images, seed=0, device=resources.device)
    found = tensors_for(read_tensors(path), network.model.state_dict(), config.model)
    content = save(found)
    network.model.load_state_dict(found, strict=True)
    facts = {
        "name": name, "file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "test_accuracy": accuracy(network, images.test_images, images.test_labels),
    }  # fmt: skip
    key = ImportedKey(config.model, config.dataset, config.dataset_options, hashlib.sha256(content).hexdigest())
    if resources.store.stages.imported(name) not in ("", run_id("model", key)):
        raise reject("--as", name, "a name that no other model of the store has", "choose another")
    return resources.store.stages.save(key, content, resources.provenance(**dict.fromkeys(FACTS), **facts))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint by name, on the CPU.

    Raises:
        IntegrityError: when it holds anything else, or cannot be read.
    """
    try:
        content: Any = (
            load(path.read_bytes())
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    except UnpicklingError as error:  # torch's own words end in how to run the code in the file
        reason = "neither safetensors nor tensors that torch.save wrote; objects are not read, for they are code"
        raise IntegrityError(f"checkpoint {path.name}: {reason}; save model.state_dict()") from error
    except UNREADABLE as error:
        reason = " ".join(str(error).split())[:160]
        raise IntegrityError(f"checkpoint {path.name}: cannot be read as weights ({reason})") from error
    for key in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise IntegrityError(f"checkpoint {path.name}: holds no mapping of tensors by name; save model.state_dict()")
    found = {str(name).removeprefix("module."): value for name, value in content.items()}
    if len(found) < len(content):
        twice = next(name for name in content if f"module.{name}" in content)
        raise IntegrityError(f"checkpoint {path.name}: holds both {twice} and module.{twice}; save one of them")
    return found


def tensors_for(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], model: str) -> dict[str, Tensor]:
    """Return tensors under the names an architecture has, in its precision.

    Raises:
        ConfigError: naming the first tensor that is missing, left over, of another shape or sort, or not finite.
    """
    names = min(RENAMED, key=lambda rename: len({rename(name) for name in found} ^ set(wanted)))
    renamed = {names(name): value for name, value in found.items()}
    differing = sorted(set(renamed) ^ set(wanted))
    if differing:
        state = "is missing" if differing[0] in wanted else "is not of this architecture"
        raise ConfigError(f"checkpoint: {differing[0]} {state} ({len(differing)} names differ from {model})")
    for name, value in wanted.items():
        if renamed[name].shape != value.shape:
            shapes = tuple(renamed[name].shape), tuple(value.shape)
            raise ConfigError(f"checkpoint: {name} has the shape {shapes[0]}, {model} on these images has {shapes[1]}")
    return {name: _converted(name, renamed[name].detach(), value.dtype) for name, value in wanted.items()}


def _converted(name: str, found: Tensor, wanted: torch.dtype) -> Tensor:
    """Return a tensor in another precision; real numbers stay real, whole numbers whole."""
    dense = found.layout is torch.strided and found.device.type == "cpu" and not found.is_quantized
    if not dense or found.is_complex() or found.is_floating_point() != wanted.is_floating_point:
        kind = str(found.dtype if dense else found.layout if found.device.type == "cpu" else found.device)
        raise ConfigError(f"checkpoint: {name} is {kind.removeprefix('torch.')}: must hold {wanted} or the like")
    converted = found.to(wanted).contiguous().clone()
    if not bool(converted.isfinite().all()):
        raise ConfigError(f"checkpoint: {name} holds a number that is not finite in {wanted}")
    return converted


def export_models(record: Record, resources: Resources, folder: Path, *, force: bool = False) -> list[Path]:
    """Write the models of a run for any program with torch, and a model card that says how to load them.

    `<role>.safetensors` hold the weights, `network.pt2` the network itself as a `torch.export` program into which any
    of them loads; `README.md` is the card.

    Raises:
        MissingDataError: when weights are not stored; the message names the command that trains them again.
        ConfigError: for a file there that is not ours, unless forced.
    """
    config = build(RunConfig, record.config)
    parents = record.result["parents"]
    ids = {role: parents[stage] for role, stage in ROLE_STAGES.items() if stage in parents}
    stored = {role: known for role, one in ids.items() if (known := resources.store.stages.read(one))}
    lost = [role for role in ids if role not in stored]
    if lost:
        again = "`repro run` or `grid` in this store trains them (`repro records show` lists its settings)"
        raise MissingDataError(f"run {record.run_id}: the weights of {', '.join(lost)} are not in the store; {again}")
    images = resources.images(config)
    network = build_network(config, images, seed=0, device=torch.device("cpu"))
    parts = {role: save(weights(restore(network, known, ids[role]))) for role, (known, _) in stored.items()}
    program = exported_program(network, images.image_shape)
    hashes = {role: hashlib.sha256(content).hexdigest() for role, content in parts.items()}
    card = model_card(record, config, images, hashes=hashes, portable=bool(program))
    files = {f"{role}.safetensors": content for role, content in parts.items()} | {"README.md": card.encode()}
    return sorted(write_outputs(folder, files | ({"network.pt2": program} if program else {}), force=force))


def exported_program(network: Network, shape: tuple[int, ...]) -> bytes:
    """Return the network as a program for batches of any size; no bytes where torch cannot write one."""
    buffer = io.BytesIO()
    model: nn.Module = network.model.eval()
    example = torch.zeros(2, *shape, dtype=network.dtype)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's notes on its own internals
            batch = torch.export.Dim("batch", min=1)
            torch.export.save(torch.export.export(model, (example,), dynamic_shapes=({0: batch},)), buffer)
    except (RuntimeError, ValueError, TypeError, AssertionError):  # control flow that depends on data, mostly
        return b""
    return buffer.getvalue()


def model_card(
    record: Record, config: RunConfig, images: ImageSet, *, hashes: Mapping[str, str], portable: bool
) -> str:
    """Return the card as Markdown with the front matter of a hub."""
    head = ["---", "license: mit", "library_name: pytorch", "tags: [machine-unlearning, sharpness-aware]", "---", ""]
    title = f"# {config.model} on {config.dataset}: {config.method} with {config.rule}, run {record.run_id}"
    about = [
        title, "",
        f"Written by sharpness-aware-unlearning {__version__}: {', '.join(hashes)}. The original was trained on all",
        "images, the retrained one afresh without the forget set; the unlearned one is the original after unlearning.",
        "", "Licence: MIT for the weights made here; the terms of the data set and of an imported original stay",
        "theirs.", "",
    ]  # fmt: skip
    loading = loading_lines(config, images, portable, list(hashes)[-1])
    parts = [*head, *about, *loading, *_number_lines(record, hashes), *_settings(config), *_hash_lines(hashes)]
    return "\n".join(parts) + "\n"


def loading_lines(config: RunConfig, images: ImageSet, portable: bool, role: str) -> list[str]:
    """Return the part of a card that loads the weights of a role and normalizes images as the network does."""
    shape = ", ".join(map(str, images.image_shape))
    kind = ", dtype=torch.float64" if config.precision == "fp64" else ""
    mean, std = (
        f"torch.tensor({[round(value, 6) for value in part]}{kind})[:, None, None]"
        for part in (images.mean, images.std)
    )
    normalized = "(images - mean) / std"
    if config.fidelity.normalizes_twice(config.dataset):  # as the released code does (D16)
        normalized = f"({normalized} - mean) / std"
    if not portable:
        return ["## Loading", "", "torch.export cannot write this architecture down; build it with the package:", "",
                "```python", "from empirical.registry import load", "from safetensors.torch import load_file",
                f"model = load('models', NAME)(({shape}), {images.classes})",
                f'model.load_state_dict(load_file("{role}.safetensors"))', "```", ""]  # fmt: skip
    return [
        "## Loading", "", "Torch and safetensors, nothing else:", "", "```python",
        "import torch", "from safetensors.torch import load_file", "", f"mean = {mean}", f"std = {std}",
        'network = torch.export.load("network.pt2").module()',
        f'network.load_state_dict(load_file("{role}.safetensors"))',
        f"logits = lambda images: network({normalized})", "```", "",
        f"`images` are floats in [0, 1] of shape (n, {shape}).", "",
    ]  # fmt: skip


def _number_lines(record: Record, hashes: Mapping[str, str]) -> list[str]:
    lines = ["## Numbers", "", "Accuracies in [0, 1].", "", "| model | retain | forget | test |", "|---|---|---|---|"]
    for role in hashes:
        prefix = "" if role == "unlearned" else f"{role}_"
        values = [record.result.get(f"{prefix}{name}_accuracy") for name in SETS]
        lines.append(f"| {role} | " + " | ".join("-" if one is None else f"{one:.4f}" for one in values) + " |")
    tow = record.result.get("tow")
    lines += [
        "",
        "ToW (tug of war, 1 is the retrained model): " + ("not measured" if tow is None else f"{tow:.4f}"),
        "",
    ]
    return lines


def _settings(config: RunConfig) -> list[str]:
    seeds = ", ".join(f"{name} {getattr(config, name)}" for name in SEEDS)
    rows = [f"| {name} | {getattr(config, name)} |" for name in RECIPE if getattr(config, name) != ""]
    return ["## Recipe", "", f"Seeds: {seeds}.", "", "| setting | value |", "|---|---|", *rows, ""]


def _hash_lines(hashes: Mapping[str, str]) -> list[str]:
    return ["## Hashes", "", *(f"- `{role}.safetensors` sha256 {digest}" for role, digest in hashes.items())]
