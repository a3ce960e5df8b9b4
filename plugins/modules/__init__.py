"""Plain ``torch.nn`` building blocks, usable without fairseq. Nothing here imports another part of the package."""
