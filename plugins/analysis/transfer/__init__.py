"""How tasks relate: embeddings of tasks, scores of features without training, judgments of rankings."""
