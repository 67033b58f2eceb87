"""Network experiments: train, unlearn and evaluate with any method, gradient rule and forget set.

The package imports nothing until an attribute is asked for, so that building a command line needs no torch.
"""

import importlib
from typing import Any

_HOME = {
    "RunConfig": "empirical.config",
    "Runtime": "empirical.config",
    "run": "empirical.pipeline",
    "load_recipe": "empirical.grid",
    "run_grid": "empirical.grid",
    "plan": "empirical.grid",
}

__all__ = ["RunConfig", "Runtime", "load_recipe", "plan", "run", "run_grid"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'empirical' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)
