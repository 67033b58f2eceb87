"""Portable runs: they give the same numbers, bit for bit, on every x86-64 processor with AVX2.

By default torch, oneDNN, MKL and OpenBLAS choose their kernels by the processor. Kernels add in different orders, so
the last digits differ between machines, and training amplifies the differences. A portable run uses the AVX2 kernels
and a single thread, and takes about 1.6 times the CPU time. The libraries read these settings when they are loaded, so
they must be set before torch is imported. Two metrics still differ in the sixteenth digit, where numpy chooses its
instructions: `distances`, and the curve of `attacks`. Imports no torch.
"""

import os
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from repro.base.errors import ConfigError
from repro.base.settings import reject

# The kernels of each library: torch's own, oneDNN's convolutions, MKL's and OpenBLAS's matrix products.
ENVIRONMENT = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_CBWR": "COMPATIBLE",
    "OPENBLAS_CORETYPE": "Haswell",
}
REMEDY = f"start Python with {' '.join(f'{name}={value}' for name, value in ENVIRONMENT.items())}"


def prepare_portable(configs: Iterable[Any]) -> None:
    """Set the environment of portable runs if these runs ask for it; call this before torch is imported.

    Child processes inherit the environment.

    Args:
        configs: the runs, or memorization estimates, of this process and its workers.

    Raises:
        ConfigError: if only some of them are portable, or if torch is already imported without the environment.
    """
    wanted = {config.portable for config in configs}
    if len(wanted) > 1:
        raise ConfigError(
            "portable: some runs ask for it and others do not; a process computes only one kind: use --where"
        )
    if True not in wanted:
        return
    if "torch" in sys.modules and not _is_set(os.environ):
        raise reject("portable", True, "False once torch is imported without its settings", REMEDY)
    os.environ.update(ENVIRONMENT)


def check_portable(*, device: str, threads: int) -> None:
    """Raise `ConfigError` unless this process computes portable numbers."""
    import torch

    if device != "cpu":
        raise reject("portable", True, f"False on a {device} device", "use --device cpu")
    if threads != 1:
        raise reject("portable", True, f"False with threads = {threads}", "use --threads 1")
    if torch.backends.cpu.get_cpu_capability() != "AVX2" or not _is_set(os.environ):
        raise reject("portable", True, "False, as torch does not use its AVX2 kernels", REMEDY)
    torch.use_deterministic_algorithms(True)


def _is_set(environment: Mapping[str, str]) -> bool:
    return all(environment.get(name) == value for name, value in ENVIRONMENT.items())
