"""The paper's theoretical claims and sweeps: a grid of cells and one analysis each; a sweep gives no answer."""
