"""Data set diagnostics: usable information, leaks, and likely label errors. Arrays in, arrays out."""
