"""Training runs as child processes."""
