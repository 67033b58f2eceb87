"""Checks of environment variables that libraries read as numbers, made before these libraries are imported."""

import os
import re
from collections.abc import Mapping

from repro.base.errors import ConfigError

# The lowest allowed values: of torchrun's variables, of numba's and OpenMP's, and of the date in figures.
LOWEST = {
    "WORLD_SIZE": 1, "RANK": 0, "LOCAL_RANK": 0, "NUMBA_NUM_THREADS": 1, "OMP_NUM_THREADS": 1, "SOURCE_DATE_EPOCH": 0,
}  # fmt: skip
TORCHRUN = ("RANK", "MASTER_ADDR", "MASTER_PORT")


def check_environment(environment: Mapping[str, str] = os.environ) -> None:
    """Raise `ConfigError` for a variable that is no whole number or too small, and if torchrun's are incomplete."""
    for name, lowest in LOWEST.items():
        value = environment.get(name)
        if value is not None and not (re.fullmatch(r"\d{1,12}", value) and int(value) >= lowest):
            raise ConfigError(f"{name} = {value[:40]!r}: must be a whole number >= {lowest}; correct it, or unset it")
    if int(environment.get("WORLD_SIZE", "1")) > 1:
        missing = [name for name in TORCHRUN if not environment.get(name)]
        if missing:
            raise ConfigError(f"WORLD_SIZE = {environment['WORLD_SIZE']}: {', '.join(missing)} must be set too; "
                              "start the processes with torchrun, or unset WORLD_SIZE")  # fmt: skip
