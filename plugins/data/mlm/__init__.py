"""Masked language modeling: binarized data folders and masking."""
