"""Data sets, their files, and the choice of the forget set."""
