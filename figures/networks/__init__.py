"""Figures and tables of network runs, by what the paper shows or its reviewers asked for (see `figures.catalogue`)."""
