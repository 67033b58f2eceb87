"""Figures of the exact theory, named after the statement they are about (see `figures.catalogue`)."""
