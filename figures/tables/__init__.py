"""Records to frames: which runs are comparable, paired differences and intervals, as pandas tables.

Nothing here draws or judges, and nothing here imports the rooms that do.
"""
