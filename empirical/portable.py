"""Portable numbers: a run gives the same numbers, bit for bit, on every x86-64 processor with AVX2.

By default torch, oneDNN, MKL and OpenBLAS choose their kernels by the processor. Kernels add in different orders, so
that the last digits differ from one machine to another, and training makes small differences large. A portable run
fixes the kernels to those of AVX2, uses one thread, and takes about 1.6 times the CPU time. The libraries read their
choice when they are loaded: it has to be made before torch is imported. Two metrics still differ in the sixteenth
digit, where numpy chooses its own instructions: `distances`, and the curve of `attacks`. Imports no torch.
"""

import os
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from repro.base.errors import ConfigError
from repro.base.settings import reject

# Which kernels each library takes: torch's own, oneDNN's convolutions, MKL's and OpenBLAS's matrix products.
ENVIRONMENT = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_CBWR": "COMPATIBLE",
    "OPENBLAS_CORETYPE": "Haswell",
}
REMEDY = f"start Python with {' '.join(f'{name}={value}' for name, value in ENVIRONMENT.items())}"


def prepare_portable(configs: Iterable[Any]) -> None:
    """Set the environment of portable runs where these runs ask for it; call it before torch is imported.

    Processes that this one starts inherit it.

    Args:
        configs: the runs, or estimates of memorization, that this process and its workers compute.

    Raises:
        ConfigError: when some of them are portable and others are not, and when torch is imported already without the
            environment.
    """
    wanted = {config.portable for config in configs}
    if len(wanted) > 1:
        raise ConfigError(
            "portable: some runs ask for it and others do not; one process computes one kind: use --where"
        )
    if True not in wanted:
        return
    if "torch" in sys.modules and not _is_set(os.environ):
        raise reject("portable", True, "False once torch is imported without its settings", REMEDY)
    os.environ.update(ENVIRONMENT)


def check_portable(*, device: str, threads: int) -> None:
    """Raise `ConfigError` unless what this process computes is portable.

    Args:
        device: type of the device, as torch names it.
        threads: CPU threads of this process; portable sums are taken by one.
    """
    import torch

    if device != "cpu":
        raise reject("portable", True, f"False on a {device} device", "use --device cpu")
    if threads != 1:
        raise reject("portable", True, f"False with threads = {threads}", "use --threads 1")
    if torch.backends.cpu.get_cpu_capability() != "AVX2" or not _is_set(os.environ):
        raise reject("portable", True, "False where torch computes with other kernels than those of AVX2", REMEDY)
    torch.use_deterministic_algorithms(True)


def _is_set(environment: Mapping[str, str]) -> bool:
    return all(environment.get(name) == value for name, value in ENVIRONMENT.items())
