"""Means, effects with their intervals, noise floors and answers: the same statistics for theory and networks."""
