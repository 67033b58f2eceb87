"""What this machine has, what is missing, and the command that installs it."""

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from repro.base.environment import ALONE, shadowed
from repro.base.errors import MissingDataError
from repro.base.extras import install_line
from repro.commands.gpu import gpu_warnings
from repro.records.provenance import processor
from repro.terminal.output import JsonOption, emit

REQUIRED = (
    "numpy", "scipy", "numba", "matplotlib", "seaborn", "pandas", "pyarrow", "jinja2", "pillow", "typer", "rich",
    "filelock",
)  # fmt: skip
# Optional package -> (extra that brings it, what it is for).
OPTIONAL = {
    "torch": ("networks", "`repro run`"),
    "torchvision": ("networks", "ResNet-18 and larger, CIFAR"),
    "scikit-learn": ("networks", "the digits, membership attacks"),
    "POT": ("networks", "entanglement"),
    "safetensors": ("networks", "weights on disk"),
    "timm": ("networks", "vit-s, timm:NAME"),
    "umap-learn": ("figures", "fig-umap"),
    "submitit": ("cluster", "SLURM"),
}
LOWEST = {"filelock": (4, 2, 6)}  # every store needs what older versions lack
OLDEST, NEWEST = (3, 11), (3, 14)


def examine(data_root: Path | None = None) -> list[dict[str, Any]]:
    """Return one row per check: its name, what was found, and the remedy if something is missing."""
    supported = OLDEST <= sys.version_info[:2] <= NEWEST
    return [
        _row("python", platform.python_version(), supported, "use Python 3.11 to 3.14"),
        *(_row(name, f"hidden by {path}", False, ALONE) for name, path in shadowed().items()),
        *packages(),
        _device(),
        _portable(),
        *(
            {"check": check, "state": "warning", "found": found, "remedy": remedy}
            for check, found, remedy in gpu_warnings()
        ),
        _data(data_root),
        _browser(),
    ]


def packages() -> list[dict[str, Any]]:
    """Return one row per package: `ok`, `missing`, or `optional` if only some features need the missing package."""
    rows = [_package(name, "pip install sharpness-aware-unlearning") for name in REQUIRED]
    optional = OPTIONAL.items()
    return rows + [_package(name, f"{install_line(extra)} ({why})", optional=True) for name, (extra, why) in optional]


def _row(check: str, found: str, ok: bool, remedy: str, optional: bool = False) -> dict[str, Any]:
    state = "ok" if ok else ("optional" if optional else "missing")
    return {"check": check, "state": state, "found": found, "remedy": "" if ok else remedy}


def _package(name: str, remedy: str, optional: bool = False) -> dict[str, Any]:
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return _row(name, "not installed", False, remedy, optional)
    lowest = LOWEST.get(name, ())
    if tuple(int(part) for part in version.split(".")[:3] if part.isdigit()) < lowest:
        return _row(name, f"{version}, older than {'.'.join(map(str, lowest))}", False, remedy, optional)
    return _row(name, version, True, remedy)


def _device() -> dict[str, Any]:
    if importlib.util.find_spec("torch") is None:
        return _row("device", "unknown without torch", False, install_line("networks"), optional=True)
    import torch

    name = torch.cuda.get_device_name() if torch.cuda.is_available() else f"cpu, {os.cpu_count()} cores"
    advice = "bf16 in hardware" if multiplies_bf16() else "no bf16 in hardware: keep --precision fp32"
    return _row("device", f"{name}, {advice}", True, "")


def _portable() -> dict[str, Any]:
    vectors = processor()
    remedy = "portable runs need an x86-64 processor with AVX2"
    return _row("portable numbers", vectors, "avx2" in vectors.split(", "), remedy, optional=True)


def multiplies_bf16() -> bool:
    """Return whether the device has bf16 arithmetic: every supported GPU has; a CPU needs AMX or AVX-512 BF16."""
    import torch

    cpu: Any = torch.cpu
    return torch.cuda.is_available() or cpu._is_amx_tile_supported() or cpu._is_avx512_bf16_supported()


def _data(root: Path | None) -> dict[str, Any]:
    folder = root or (Path(os.environ["REPRO_DATA"]) if os.environ.get("REPRO_DATA") else None)
    if folder and not folder.is_dir():
        return _row("data", f"no folder {folder}", False, "name one of Parquet files: --data-root or REPRO_DATA")
    files = sorted(path.name for path in folder.glob("*.parquet")) if folder else []
    found = ", ".join(["digits (embedded)", "signal-noise (drawn)", *files])
    remedy = "set REPRO_DATA to a folder of Parquet files, or pass --allow-download for CIFAR"
    return _row("data", found, bool(files), remedy, optional=True)


def _browser() -> dict[str, Any]:
    found = shutil.which("chromium") or shutil.which("google-chrome")
    remedy = "apt-get install chromium chromium-driver (browser tests only)"
    return _row("browser", "found" if found else "not found", bool(found), remedy, optional=True)


def doctor(
    data_root: Annotated[Path | None, typer.Option(envvar="REPRO_DATA", help="Folder of image Parquet files.")] = None,
    json: JsonOption = False,
) -> None:
    """Report Python, packages, device and data found, and the command that brings what is missing."""
    rows = examine(data_root)
    emit(rows, as_json=json)
    missing = [row["check"] for row in rows if row["state"] == "missing"]
    if missing:
        raise MissingDataError(f"missing: {', '.join(missing)}; see the remedies above")
