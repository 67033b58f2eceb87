"""What prevents good use of an NVIDIA device: a CPU-only torch, an old driver, no compiler."""

import importlib.metadata
import importlib.util
import os
import shutil
import sysconfig
from pathlib import Path

# CUDA version of a torch wheel -> the oldest Linux driver it runs on (NVIDIA's table of minor version compatibility).
OLDEST_DRIVER = {11: (450, 80), 12: (525, 60), 13: (580, 65)}
Warning_ = tuple[str, str, str]


def gpu_warnings(root: Path = Path("/")) -> list[Warning_]:
    """Return (check, what was found, remedy) for each problem; empty without an NVIDIA device or torch.

    Args:
        root: of the file system; tests pass their own.
    """
    driver = installed_driver(root)
    if driver is None or importlib.util.find_spec("torch") is None:
        return []
    wheel = torch_cuda()
    found = [driver_warning(driver, wheel)]
    if wheel is not None:
        found.append(compiler_warning())
    return [one for one in found if one is not None]


def why_no_device(root: Path = Path("/")) -> str:
    """Return in one line why torch finds no GPU: the driver, the CUDA version of torch, or the visible devices.

    Args:
        root: of the file system; tests pass their own.
    """
    driver, wheel = installed_driver(root), torch_cuda()
    version = importlib.metadata.version("torch")
    built = f"torch {version} is built for {'the CPU alone' if wheel is None else f'CUDA {_dotted(wheel)}'}"
    if driver is None:
        return f"torch finds no GPU: no NVIDIA driver is loaded here (/proc/driver/nvidia/version); {built}"
    warning = driver_warning(driver, wheel)
    if warning is not None:
        return f"torch finds no GPU: {warning[1]}; {warning[2]}"
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    seen = "is not set" if visible is None else f"= {visible!r}"
    return f"torch finds no GPU: driver {_dotted(driver)} is loaded, {built}, CUDA_VISIBLE_DEVICES {seen}"


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def installed_driver(root: Path) -> tuple[int, int] | None:
    """Return the version of the NVIDIA kernel driver, `(major, minor)`; None if there is no device.

    It is `(0, 0)` if there is a device whose driver does not state its version.
    """
    said = root / "proc/driver/nvidia/version"
    if said.is_file():
        words = said.read_text(encoding="utf-8").replace("\n", " ").split()
        versions = [word.split(".") for word in words if word.count(".") and word.replace(".", "").isdigit()]
        return (int(versions[0][0]), int(versions[0][1])) if versions else (0, 0)
    return (0, 0) if (root / "dev/nvidia0").exists() else None


def torch_cuda() -> tuple[int, int] | None:
    """Return the CUDA version torch was built for, `(major, minor)`; None of a CPU-only build."""
    import torch

    version = torch.version.cuda
    if not version:
        return None
    major, minor = version.split(".")[:2]
    return int(major), int(minor)


def driver_warning(driver: tuple[int, int], wheel: tuple[int, int] | None) -> Warning_ | None:
    """Return what is wrong between a driver and torch, or None."""
    if wheel is None:
        version = importlib.metadata.version("torch")
        remedy = "reinstall it from PyPI, or from the index that pytorch.org names for your CUDA version"
        return "torch for the GPU", f"torch {version} is CPU-only, with an NVIDIA device here", remedy
    oldest = OLDEST_DRIVER.get(wheel[0])
    if oldest is None or driver == (0, 0) or driver >= oldest:
        return None
    found, needed, cuda = map(_dotted, (driver, oldest, wheel))
    said = f"driver {found} is older than {needed}, which CUDA {cuda} needs"
    return "driver", said, "update the driver, or install a torch built for an older CUDA version"


def compiler_warning() -> Warning_ | None:
    """Return whether `torch.compile` (the engine `graph`) lacks a C compiler or the headers of Python; None if not."""
    compiler = os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")
    headers = Path(sysconfig.get_paths()["include"]) / "Python.h"
    lacking = [name for name, there in (("a C compiler", compiler), ("Python.h", headers.is_file())) if not there]
    if not lacking:
        return None
    remedy = "apt-get install gcc python3-dev; until then --engine graph runs uncompiled"
    return "torch.compile", f"lacks {' and '.join(lacking)}", remedy
