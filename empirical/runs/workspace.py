"""The older name of `empirical.runs.resources`, for the tests of users' packages; until 0.4."""

from empirical.runs.resources import Resources as Workspace

__all__ = ["Workspace"]
