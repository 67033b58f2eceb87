"""Metrics: each is a function from an evaluation to named numbers."""
