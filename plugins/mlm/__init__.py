"""What spans the floors for masked language models: the demo."""
