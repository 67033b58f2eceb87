"""Records to frames: which runs are comparable, what they are compared with, and numbers as text.

Nothing here draws or judges, and nothing here imports the rooms that do.
"""
