"""One run: its stages, its evaluations, its record."""
