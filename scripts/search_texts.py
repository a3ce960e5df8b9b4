#!/usr/bin/env python3
"""Find the texts that are most similar to queries: exact search by cosine among the vectors of scripts/embed.py.

    python scripts/search_texts.py checkpoints/mine vectors.npz texts.txt --query "a walk by the sea" -k 5
    python scripts/search_texts.py checkpoints/mine vectors.npz texts.txt --queries queries.txt --csv found.csv

TEXTS are files that were embedded; a text that has changed since then is detected by its hash and is an error. So are
vectors of another checkpoint or pooling: the first texts are embedded again and compared.
"""

import argparse
from pathlib import Path

import choices
import command
import flags

SHOWN = 5  # texts for each query
CHECKED = 8  # texts that are embedded again, to find out whether the vectors are those of the checkpoint


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = command.Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("checkpoint", metavar="CKPT", help="checkpoint that computed the vectors")
    add("vectors", type=Path, metavar="NPZ", help="file of scripts/embed.py")
    add("files", metavar="TEXTS", nargs="+", help="files that were embedded")
    add("--query", action="append", default=[], metavar="TEXT", help="a query; may be repeated")
    add("--queries", metavar="FILE", help="file of queries, one per line")
    add(
        "-k",
        type=flags.positive,
        metavar="N",
        help=f"texts to show for each query ({SHOWN}, or all if there are fewer)",
    )
    add("--pooling", help="as in scripts/embed.py")
    flags.add_device(parser)
    add("--csv", type=Path, metavar="FILE", help="write query, rank, cosine, index and text, too")
    command.add_user_dir(parser)
    args = parser.parse_args(argv)
    if not args.query and not args.queries:
        parser.error("give --query TEXT or --queries FILE")
    for query in args.query:
        if not query.strip():
            parser.error(f"--query {query!r}: no text")
    return args


def main() -> None:
    """Run the command."""
    args = parse_args()
    command.check_inputs([args.vectors, *args.files, args.queries], checkpoints=[args.checkpoint])
    command.check_outputs([args.csv])
    command.check_names([args.pooling], choices.POOLINGS, "--pooling")
    import plugins.hub
    from plugins import user_dir
    from plugins.analysis.metrics.retrieval import search
    from plugins.data.embedding import vectors
    from plugins.embeddings import evaluation, texts
    from plugins.errors import UserError, report_in_one_line
    from plugins.files import check_not_read

    report_in_one_line()
    check_not_read([args.csv], [args.checkpoint, args.vectors, *args.files, args.queries])
    user_dir.load(args.user_dir)
    queries = args.query + ([text for _, text in texts.lines([args.queries])] if args.queries else [])
    if not queries:
        raise UserError(f"{args.queries}: no queries; write one per line")
    stored, found = vectors.read(args.vectors), list(texts.lines(args.files))
    if not found:
        raise UserError(f"{', '.join(args.files)}: no text")
    places = {int(value): place for place, value in enumerate(stored.text_hash)}
    rows = [places.get(vectors.text_hash(text)) for _, text in found]
    if None in rows:
        name = found[rows.index(None)][0]
        raise UserError(f"{name}: this text is not in {args.vectors}; embed the files again")
    embedder = plugins.hub.Embedder.from_pretrained(args.checkpoint, args.pooling).to(args.device)
    if embedder.width != stored.vectors.shape[1]:
        width = stored.vectors.shape[1]
        raise UserError(f"{args.vectors}: {width} dimensions, but {args.checkpoint} has {embedder.width}")
    again = embedder.encode([text for _, text in found[:CHECKED]])
    names = [name for name, _ in found[:CHECKED]]
    vectors.check_model(args.vectors, stored.vectors[rows[:CHECKED]], again, names, args.checkpoint)
    index, cosine = search(embedder.encode(queries), stored.vectors[rows], args.k or min(SHOWN, len(found)))
    table = []
    for query, numbers, values in zip(queries, index, cosine, strict=True):
        print(query)
        for rank, (number, value) in enumerate(zip(numbers, values, strict=True), start=1):
            name, text = found[number]
            print(f"  {rank}. {value:.3f}  {name}  {text[:100]}")
            table.append({"query": query, "rank": rank, "cosine": f"{value:.6f}", "index": name, "text": text})
    if args.csv:
        evaluation.write_table(args.csv, table)
        print(f"written: {args.csv}")


if __name__ == "__main__":
    command.run(main)
