"""Checks before anything is imported: environment variables, a limit on memory, and packages that hide ours."""

import importlib.util
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from repro.base.errors import ConfigError, OutOfMemoryError_

# The lowest allowed values: of torchrun's variables, of numba's and OpenMP's, and of the date in figures.
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
            raise ConfigError(f"{name} = {value[:40]!r}: must be a whole number >= {lowest}; correct it, or unset it")
    if int(environment.get("WORLD_SIZE", "1")) > 1:
        missing = [name for name in TORCHRUN if not environment.get(name)]
        if missing:
            raise ConfigError(f"WORLD_SIZE = {environment['WORLD_SIZE']}: {', '.join(missing)} must be set too; "
                              "start the processes with torchrun, or unset WORLD_SIZE")  # fmt: skip


PACKAGES = ("repro", "theory", "empirical", "figures")
HOME = Path(__file__).parents[2]
ALONE = "install into an environment of its own: `pipx install` or `uv tool install sharpness-aware-unlearning[all]`"


def shadowed() -> dict[str, str]:
    """Return which of our four packages another module of the same name hides, and its path."""
    found = {}
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        places = [spec.origin] if spec and spec.origin else list(spec.submodule_search_locations or ()) if spec else []
        if places and Path(places[0]).resolve() != (HOME / name / "__init__.py").resolve():
            found[name] = str(places[0])
    return found


def memory_limit() -> float:
    """Return how many bytes of memory this process may have; infinite where there is no limit."""
    if sys.platform == "win32":
        return float("inf")
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    return float("inf") if limit == resource.RLIM_INFINITY else float(limit)
