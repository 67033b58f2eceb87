"""Studies: which runs belong together, where they are read from, and where each of them stands."""
