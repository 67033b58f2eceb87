"""What a run is: its config, rule labels and discrepancy switches. Imports no torch."""
