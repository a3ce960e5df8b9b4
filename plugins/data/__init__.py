"""Text in, fairseq data folders out: corpora, tokenizers, datasets and their file formats."""
