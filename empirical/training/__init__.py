"""Gradient rules, batches and the loop: the only place where an optimizer steps."""
