"""Text for every task: sources, documents, tokenizers, dictionaries, windows, caches."""
