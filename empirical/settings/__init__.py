"""What a run is: its config, rule labels and what identifies it. Imports no torch."""
