"""Exact Gram-space simulation of the paper's theory: float64, any dimension, no explicit weights."""

from importlib import import_module
from typing import Any

_HOME = {
    "TheoryConfig": "theory.config",
    "Trajectory": "theory.engine",
    "simulate": "theory.engine",
    "run_study": "theory.study",
    "summarize": "theory.study",
}
__all__ = ["TheoryConfig", "Trajectory", "run_study", "simulate", "summarize"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'theory' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
