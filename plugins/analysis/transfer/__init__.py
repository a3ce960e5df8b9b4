"""Transfer between tasks: task embeddings, training-free feature scores, evaluation of rankings."""
