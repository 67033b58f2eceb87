"""The card beside exported weights: what they are, how they were made, what they score, and how to load them."""

from collections.abc import Mapping

from empirical.data.images import ImageSet
from empirical.settings.run_config import RunConfig
from repro import __version__
from repro.records.record import Record

SETS = ("retain", "forget", "test")
RECIPE = (
    "dataset", "dataset_options", "n_train", "model", "pretrain", "pretrain_epochs", "pretrain_lr",
    "pretrain_batch_size", "retrain", "original", "method", "method_options", "rule", "alpha", "difficulty",
    "forget_fraction", "epochs", "lr", "batch_size", "mask_fraction", "augment", "corruption", "precision", "preset",
)  # fmt: skip
SEEDS = ("seed", "unlearn_seed", "forget_seed")


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
    parts = [*head, *about, *loading, *_numbers(record, hashes), *_settings(config), *_files(hashes)]
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


def _numbers(record: Record, hashes: Mapping[str, str]) -> list[str]:
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


def _files(hashes: Mapping[str, str]) -> list[str]:
    return ["## Hashes", "", *(f"- `{role}.safetensors` sha256 {digest}" for role, digest in hashes.items())]
