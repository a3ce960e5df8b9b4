"""Data pipeline from text to fairseq data folders: corpora, tokenizers, datasets and their file formats."""
