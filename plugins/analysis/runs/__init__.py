"""Training runs: logs, curves, groups of runs, grids, drawings."""
