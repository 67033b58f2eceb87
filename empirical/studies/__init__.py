"""Many runs: a recipe names them, a search chooses what it leaves open, a grid computes what the store lacks.

recipe, search, study_runs   which runs a study has
finished                     which of them exist, in the store or published
grid, executors              compute the rest; any number of processes share the work through the store's leases
plan, cost                   what that would take
status, watch                where it stands
measure, compare             further metrics, and whether the numbers are as expected
"""
