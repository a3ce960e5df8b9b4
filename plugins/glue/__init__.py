"""GLUE from end to end: plans of fine-tuning runs, the runs, predictions and reports; built on everything else."""
