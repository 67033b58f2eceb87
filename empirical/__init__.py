"""Network experiments: train, unlearn and evaluate with any method, gradient rule and forget set.

The package imports nothing until an attribute is asked for, so the command line needs no torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

try:
    from repro.base.errors import DivergedError
    from repro.base.extras import missing_extra
except ModuleNotFoundError as error:
    import repro

    line = f"repro: {repro.__file__} hides the package of this project; install into an environment of its own"
    raise ModuleNotFoundError(line, name=error.name) from None

if TYPE_CHECKING:  # what completion and type checkers see
    from empirical.exchange.comparison import compare
    from empirical.exchange.in_memory import UnlearningWarning, evaluate, unlearn
    from empirical.runs.run import run
    from empirical.settings.run_config import RunConfig, Runtime
    from empirical.studies.grid import run_grid
    from empirical.studies.plan import plan
    from empirical.studies.recipe import load_recipe

_HOME = {
    "RunConfig": "empirical.settings.run_config",
    "Runtime": "empirical.settings.run_config",
    "run": "empirical.runs.run",
    "unlearn": "empirical.exchange.in_memory",
    "UnlearningWarning": "empirical.exchange.in_memory",
    "evaluate": "empirical.exchange.in_memory",
    "compare": "empirical.exchange.comparison",
    "load_recipe": "empirical.studies.recipe",
    "run_grid": "empirical.studies.grid",
    "plan": "empirical.studies.plan",
}

__all__ = [
    "DivergedError", "RunConfig", "Runtime", "UnlearningWarning", "compare", "evaluate", "load_recipe", "plan", "run",
    "run_grid", "unlearn",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import what an attribute names.

    Raises:
        ModuleNotFoundError: in one line with what to install, where a package of an extra is missing.
    """
    if name not in _HOME:
        raise AttributeError(f"module 'empirical' has no attribute {name!r}")
    try:
        return getattr(importlib.import_module(_HOME[name]), name)
    except ModuleNotFoundError as error:
        if line := missing_extra(error):
            raise ModuleNotFoundError(str(line), name=error.name) from None
        raise


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
