"""Metrics: each a function from one evaluation to named numbers."""
