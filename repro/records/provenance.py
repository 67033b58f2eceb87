"""How a run came to be: code version, package versions, device, time. Never part of its identity, never a path."""

import importlib.metadata
import os
import platform
import re
import subprocess
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

# The variables that can change a number or a time. No other is ever saved: a variable may hold a secret or a path.
VARIABLES = (
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "CUBLAS_WORKSPACE_CONFIG",
    "NVIDIA_TF32_OVERRIDE", "ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "MKL_CBWR", "OPENBLAS_CORETYPE",
    "PYTHONHASHSEED", "SLURM_JOB_ID", "SLURM_ARRAY_TASK_ID", "SLURM_PROCID",
)  # fmt: skip
PLAIN = re.compile(r"[A-Za-z0-9:.,_+-]{1,64}")
VECTORS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "sve", "bf16")
PACKAGES = ("numpy", "scipy", "numba", "torch", "torchvision", "scikit-learn", "pandas")


@cache
def git_state() -> dict[str, Any]:
    """Return the commit of this checkout and whether tracked files differ from it; nulls outside a checkout."""
    here = Path(__file__).parents[2]
    if not (here / ".git").exists():  # an installed package may lie inside somebody else's checkout
        return {"commit": None, "dirty": None}
    commit = _git(here, "rev-parse", "HEAD")
    changed = _git(here, "status", "--porcelain", "--untracked-files=no")
    return {"commit": commit, "dirty": None if changed is None else bool(changed)}


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


@cache
def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that numbers depend on."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def environment_variables() -> dict[str, str]:
    """Return the allowed variables that are set to a plain word or number; nothing else of the environment."""
    found = {name: os.environ.get(name, "") for name in VARIABLES}
    return {name: value for name, value in found.items() if PLAIN.fullmatch(value)}


@cache
def processor() -> str:
    """Return the processor's name and its vector instructions: they decide the last digits of a network's numbers."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # not Linux
        return platform.processor() or platform.machine()
    said = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in reversed(lines))}
    flags = said.get("flags", said.get("Features", "")).split()
    return ", ".join([said.get("model name", platform.machine()), *(one for one in VECTORS if one in flags)])


def collect(*, study: str = "", device: str = "cpu", seconds: float | None = None, **extra: Any) -> dict[str, Any]:
    """Return the provenance of a run that ends now.

    Args:
        study: the recipe or study the run belongs to.
        device: the device's name, such as `cpu` or `NVIDIA H100 80GB HBM3`.
        seconds: wall time of the run, in seconds.
        **extra: further JSON values.
    """
    return {
        "study": study,
        "device": device,
        "seconds": seconds,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "git": git_state(),
        "versions": versions(),
        "environment": environment_variables(),
        "machine": {
            "system": platform.system(),
            "processor": platform.machine(),
            "cores": os.cpu_count(),
            "cpu": processor(),
        },
        **extra,
    }
