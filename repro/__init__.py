"""The front door (command line) and the floor (identity, store, provenance) of the toolkit."""

__version__ = "0.3.0"
