"""Rows of texts to embed: their shapes, their batches of classes, and the encoding of each model."""
