"""How near predictions and test errors are to the truth, and the intervals that follow from it."""
