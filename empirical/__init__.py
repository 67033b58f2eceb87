"""Network experiments: train, unlearn and evaluate with any method, gradient rule and forget set.

The package imports nothing until an attribute is asked for, so the command line needs no torch.
"""

import importlib
from typing import Any

_HOME = {
    "RunConfig": "empirical.settings.run_config",
    "Runtime": "empirical.settings.run_config",
    "run": "empirical.runs.run",
    "unlearn": "empirical.exchange.in_memory",
    "UnlearningWarning": "empirical.exchange.in_memory",
    "evaluate": "empirical.exchange.in_memory",
    "load_recipe": "empirical.studies.recipe",
    "run_grid": "empirical.studies.grid",
    "plan": "empirical.studies.plan",
}

__all__ = ["RunConfig", "Runtime", "UnlearningWarning", "evaluate", "load_recipe", "plan", "run", "run_grid", "unlearn"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'empirical' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)
