"""Settings of a run: its config, the labels of its rules, its ids. Imports no torch."""
