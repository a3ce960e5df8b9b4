"""GLUE end to end: plans of fine-tuning runs, the runs, predictions and reports."""
