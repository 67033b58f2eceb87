"""What the environment sets, before any library reads it: variables that are numbers, and a limit on memory."""

import os
import re
import sys
from collections.abc import Mapping

from repro.base.errors import ConfigError, OutOfMemoryError_

# The lowest value of each: those of torchrun, of numba and OpenMP, and the date that figures carry.
LOWEST = {
    "WORLD_SIZE": 1, "RANK": 0, "LOCAL_RANK": 0, "NUMBA_NUM_THREADS": 1, "OMP_NUM_THREADS": 1, "SOURCE_DATE_EPOCH": 0,
}  # fmt: skip
TORCHRUN = ("RANK", "MASTER_ADDR", "MASTER_PORT")
LEAST = 2**30  # bytes: below it, OpenBLAS asks for memory for ever while scipy is loaded


def check_environment(environment: Mapping[str, str] = os.environ) -> None:
    """Refuse an environment in which the libraries could not be loaded.

    Raises:
        ConfigError: for a variable that is no whole number, or too small, and for half of torchrun's.
        OutOfMemoryError_: for a limit on memory that no library could be loaded under.
    """
    if (limit := memory_limit()) < LEAST:
        said = f"memory limit = {limit / 2**20:.0f} MiB (`ulimit -v`): must be at least {LEAST / 2**20:.0f} MiB"
        raise OutOfMemoryError_(f"{said}; raise it, or `ulimit -v unlimited`")
    for name, lowest in LOWEST.items():
        value = environment.get(name)
        if value is not None and not (re.fullmatch(r"\d{1,12}", value) and int(value) >= lowest):
            raise ConfigError(f"{name} = {value[:40]!r}: must be a whole number >= {lowest}; unset it, or set one")
    if int(environment.get("WORLD_SIZE", "1")) > 1:
        missing = [name for name in TORCHRUN if not environment.get(name)]
        if missing:
            raise ConfigError(f"WORLD_SIZE = {environment['WORLD_SIZE']}: {', '.join(missing)} must be set too; "
                              "start the processes with torchrun, or unset WORLD_SIZE")  # fmt: skip


def memory_limit() -> float:
    """Return how many bytes of memory this process may have; infinite where there is no limit."""
    if sys.platform == "win32":
        return float("inf")
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    return float("inf") if limit == resource.RLIM_INFINITY else float(limit)
