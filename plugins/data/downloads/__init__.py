"""Named public datasets, fetched from their canonical addresses."""
