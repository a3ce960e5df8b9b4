"""What a data set teaches, what it leaks, and which of its labels are likely wrong. Arrays in, arrays out."""
