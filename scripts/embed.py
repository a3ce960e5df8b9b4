#!/usr/bin/env python3
"""Convert texts to vectors: one text per line or JSON record, any checkpoint, one .npz file.

    python scripts/embed.py checkpoints/mine texts.txt -o vectors.npz
    python scripts/embed.py checkpoints/mlm a.txt b.txt --pooling max --normalize --dtype bfloat16 -o vectors.npz

The file has ``vectors`` (N, d) float32, ``index`` (FILE:LINE) and ``text_hash`` (the first 8 bytes of the SHA-256 of
each text). Texts are read, sorted by length and embedded in blocks; memory holds one block at a time. Blank lines
are left out.
"""

import argparse
import itertools

import choices
import command
import flags


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = command.Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    flags.add_checkpoint(parser)
    add("files", metavar="TEXTS", nargs="+", help="UTF-8 files of one text per line, or of JSON records with text")
    flags.add_output(parser, "FILE", "output file, .npz")
    add("--batch-size", type=flags.positive, default=64, metavar="N", help="texts per forward pass (%(default)s)")
    add("--pooling", help="bos, mean, max, attention or last (default: as trained, else mean)")
    add("--normalize", action="store_true", default=None, help="scale vectors to length one (default: as trained)")
    flags.add_dtype(parser, "bfloat16")
    flags.add_device(parser)
    command.add_user_dir(parser)
    args = parser.parse_args(argv)
    if args.output.suffix != ".npz":
        parser.error(f"-o {args.output}: name a .npz file")
    return args


def main() -> None:
    """Run the command."""
    args = parse_args()
    command.check_inputs(args.files, checkpoints=[args.checkpoint])
    command.check_outputs([args.output])
    command.check_names([args.pooling], choices.POOLINGS, "--pooling")
    import torch

    import plugins.hub
    from plugins import user_dir
    from plugins.data.embedding import vectors
    from plugins.embeddings import texts
    from plugins.errors import report_in_one_line
    from plugins.files import check_not_read

    report_in_one_line()
    check_not_read([args.output], [args.checkpoint, *args.files])
    user_dir.load(args.user_dir)
    embedder = plugins.hub.Embedder.from_pretrained(args.checkpoint, args.pooling, args.normalize)
    embedder.to(args.device, getattr(torch, args.dtype))
    lines = texts.lines(args.files)  # opened once: a pipe cannot be read again
    if (first := next(lines, None)) is None:
        command.stop(f"{', '.join(args.files)}: no text")
    read, named, indexed = itertools.tee(itertools.chain([first], lines), 3)  # holds one block

    def blocks():
        given, names = (text for _, text in read), (name for name, _ in named)
        for block, found in embedder.stream(given, args.batch_size, progress=True, names=names):
            yield block, [name for name, _ in itertools.islice(indexed, len(found))], found

    rows, width = vectors.write(args.output, blocks())
    print(f"written: {args.output} ({rows:,} vectors of {width} dimensions)")


if __name__ == "__main__":
    command.run(main)
