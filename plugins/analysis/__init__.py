"""Look at models and runs: arrays in, arrays out. Only ``plots`` draws, and imports matplotlib when it does."""
