"""Analysis of models and runs: arrays in, arrays out. Only ``*plots`` draw, and import matplotlib when they do."""
