"""Which extra brings an optional package: a command that lacks one says the line that installs it."""

from repro.base.errors import MissingDataError

PROJECT = "sharpness-aware-unlearning"
# The module that is imported -> the extra of pyproject.toml that installs it.
EXTRAS = {
    "torch": "networks", "torchvision": "networks", "sklearn": "networks", "ot": "networks", "timm": "networks",
    "safetensors": "networks", "umap": "figures", "submitit": "cluster", "huggingface_hub": "hub",
    "tensorboard": "track", "trackio": "track",
}  # fmt: skip


def install_line(extra: str) -> str:
    """Return the line that installs an extra."""
    return f"pip install '{PROJECT}[{extra}]'"


def missing_extra(error: ModuleNotFoundError) -> MissingDataError | None:
    """Return what to tell a user whose installation lacks a package, or None when no extra would bring it."""
    module = (error.name or "").partition(".")[0]
    if module not in EXTRAS:
        return None
    extra = EXTRAS[module]
    return MissingDataError(f"{module} is not installed; the extra `{extra}` brings it: {install_line(extra)}")
