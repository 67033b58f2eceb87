"""Means, effects with their intervals, noise floors and answers: one statistic for theory and networks alike."""
