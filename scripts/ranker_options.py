"""Options of the commands that rank texts by specifications. Imports nothing heavy, so that ``--help`` is fast."""

import argparse


def add(parser: argparse.ArgumentParser, checkpoint: str = "--checkpoint") -> None:
    """Add ``--ranker``, ``--aggregate`` and the option that names the model of ``--ranker embeddings``."""
    add = parser.add_argument
    add("--ranker", choices=["tfidf", "bm25", "embeddings"], default="tfidf", help="compare texts with the "
        "examples by words, or by the vectors of a model (default: %(default)s)")  # fmt: skip
    add(checkpoint, dest="ranker_checkpoint", metavar="CKPT", help="model of --ranker embeddings: trained with "
        "--task embedding, or any language model")  # fmt: skip
    methods = [prefix + name for prefix in ("contrast-", "") for name in ("rrf", "borda", "median", "mean")]
    add(
        "--aggregate",
        choices=methods,
        default=methods[0],
        help="how the rankings by each query are combined (%(default)s)",
    )
    parser.set_defaults(ranker_flag=checkpoint)


def check(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Exit if ``--ranker embeddings`` has no model, or another ranker has one."""
    if (args.ranker == "embeddings") != bool(args.ranker_checkpoint):
        parser.error(f"--ranker embeddings and {args.ranker_flag} must be given together")


def ranker(args: argparse.Namespace):
    """Return the ranker: its name, or the function that embeds texts; blank texts have the vector 0."""
    if args.ranker != "embeddings":
        return args.ranker
    import numpy as np

    from plugins import hub

    embedder = hub.Embedder.from_pretrained(args.ranker_checkpoint)

    def embed(texts):
        found = np.zeros((len(texts), embedder.width), np.float32)
        rows = [i for i, text in enumerate(texts) if text.strip()]
        found[rows] = embedder.encode([texts[i] for i in rows])
        return found

    return embed
