"""GLUE from end to end: recipes, many fine-tuning runs, predictions and reports. It sits on top of everything else."""
