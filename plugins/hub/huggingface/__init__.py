"""Folders of Hugging Face transformers: models of this package to and from them."""
