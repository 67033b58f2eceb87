"""The mean field: what n coupled samples do on average, followed by a few representative ones."""
