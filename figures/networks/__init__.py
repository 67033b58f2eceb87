"""Figures and tables of network runs, one item of the paper or of its reviewers a file (see `figures.catalogue`)."""
