#!/usr/bin/env python3
"""Draw labeled texts in two dimensions, the same ones before and after tuning.

    python scripts/plot_embeddings.py checkpoints/mlm checkpoints/mine texts -o map.png
    python scripts/plot_embeddings.py vectors.npz data --spec rows.yaml --map tsne -o map.svg

The last argument is the folder of the labeled texts, as in scripts/evaluate_embeddings.py; before it, any number of
checkpoints or files of scripts/embed.py, one panel each.
"""

import argparse

import choices
import command
import flags


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = command.Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("sources", metavar="CKPT|NPZ", nargs="+", help="checkpoints, or files of scripts/embed.py")
    flags.add_labeled_texts(parser)
    add("--pooling", help="pooling of the checkpoints (default: as trained, else mean)")
    add("--map", choices=["pca", "tsne"], default="pca", help="projection to two dimensions (%(default)s)")
    flags.add_device(parser)
    flags.add_output(parser, "FILE", "the drawing")
    command.add_user_dir(parser)
    return parser.parse_args(argv)


def main() -> None:
    """Run the command."""
    args = parse_args()
    command.check_inputs([args.spec], [args.data], args.sources)
    command.check_outputs(figures=[args.output])
    command.check_names([args.pooling], choices.POOLINGS, "--pooling")
    command.check_tasks([args.glue_task], "--glue-task", args.data, own=False)
    import plugins.hub
    from plugins import user_dir
    from plugins.embeddings import figures, texts
    from plugins.errors import report_in_one_line
    from plugins.files import check_not_read

    report_in_one_line()
    check_not_read([args.output], [*args.sources, args.spec])
    user_dir.load(args.user_dir)
    rows = texts.labeled(args.data, args.spec, args.glue_task, args.split, args.passage_words, args.skip_bad_rows)
    panels = {}
    for source in args.sources:
        if texts.is_file_of_vectors(source):
            panels[source] = texts.stored(source, rows.texts[0])
        else:
            embedder = plugins.hub.Embedder.from_pretrained(source, args.pooling).to(args.device)
            panels[source] = embedder.encode(rows.texts[0])
    figures.maps(args.output, panels, rows.labels, rows.names, args.map)
    print(f"drawn: {args.output}")


if __name__ == "__main__":
    command.run(main)
