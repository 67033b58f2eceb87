"""The paper's theoretical claims and sweeps: a grid of settings and one analysis each. A sweep gives no answer."""
