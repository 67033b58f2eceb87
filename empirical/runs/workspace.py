"""The name of `empirical.runs.resources` up to version 0.3, for tests of users' packages; gone in 0.5."""

from empirical.runs.resources import Resources as Workspace

__all__ = ["Workspace"]
