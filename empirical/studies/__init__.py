"""Many runs: recipes, grids, processes and what a study should give."""
