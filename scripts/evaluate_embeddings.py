#!/usr/bin/env python3
"""Evaluate the embeddings of labeled texts: neighbors, clusters, triplets, geometry; with three baselines.

    python scripts/evaluate_embeddings.py checkpoints/mine texts --untuned checkpoints/mlm -o evaluation
    python scripts/evaluate_embeddings.py vectors.npz data --spec rows.yaml -o evaluation
    python scripts/evaluate_embeddings.py checkpoints/mine GLUE --glue-task STS-B -o evaluation

DATA is a folder of CLASS.txt files, or of the files that --spec or --glue-task names. Written: ``metrics.json``,
``embedding_metrics.csv``, ``triplet_evaluation_{random,hard}_results.csv``, ``hard_triplets.npy`` (made once, from the
untuned model if there is one, and used again), ``geometry.csv`` (one row per layer and pooling), ``table.md``,
``map.png``, ``distances.png``. AMI and ARI are corrected for chance; the v-measure is not.

Rows of other kinds are evaluated, too: scored pairs by their correlations, labeled pairs by average precision, pairs by
how often a text finds its partner, triplets by accuracy. Without classes there are no frozen triplets and no figures.
"""

import argparse

import choices
import command
import flags


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = command.Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("source", metavar="CKPT|NPZ", help="checkpoint, or a file of scripts/embed.py")
    flags.add_labeled_texts(parser, "a GLUE task (CoLA, for example)")
    add("--untuned", metavar="CKPT", help="the model before tuning, evaluated for comparison")
    add("--pooling", help="pooling of the checkpoint (default: as trained, else mean)")
    add("--whiten", type=int, metavar="N", help="also evaluate without the mean and the top N components")
    add(
        "--max-rows",
        type=flags.positive,
        default=10_000,
        metavar="N",
        help="maximum number of rows; more are sampled (%(default)s)",
    )
    add("--map", choices=["pca", "tsne"], default="pca", help="projection of the figure (%(default)s)")
    flags.add_device(parser)
    flags.add_output(parser, "DIR", "folder of the results")
    command.add_user_dir(parser)
    return parser.parse_args(argv)


def main() -> None:
    """Run the command."""
    args = parse_args()
    command.check_inputs([args.spec], [args.data], [args.source, args.untuned])
    command.check_outputs(folders=[args.output])
    command.check_names([args.pooling], choices.POOLINGS, "--pooling")
    command.check_tasks([args.glue_task], "--glue-task", args.data, own=False)
    import numpy as np

    from plugins import user_dir
    from plugins.data.embedding import specs, triplets
    from plugins.embeddings import evaluation, figures, representations, texts
    from plugins.errors import report_in_one_line
    from plugins.files import check_not_read, staging, write_text

    report_in_one_line()
    names = ("metrics.json", "embedding_metrics.csv", "geometry.csv", "table.md", "map.png", "distances.png")
    check_not_read([args.output, *(args.output / name for name in names)], [args.source, args.untuned, args.spec])
    user_dir.load(args.user_dir)
    rows, spec = texts.read_rows(
        args.data, args.spec, args.glue_task, args.split, args.passage_words, args.skip_bad_rows
    )
    chosen = np.sort(np.random.default_rng(0).permutation(len(rows))[: args.max_rows])
    words, labels = [column[i] for column in rows.texts for i in chosen], None
    if rows.labels is not None:
        labels = rows.labels[chosen]
    if spec.kind == specs.LABELED:
        evaluation.check_classes(labels, f"{args.data} ({args.split})")
    vectors, embedder = representations.of_model(
        args.source, words, args.untuned, args.pooling, args.whiten, args.device
    )
    shown = {name: vectors[name] for name in sorted(vectors, key=lambda name: name != "untuned")}  # before, then after
    everything = vectors | representations.baselines(words, embedder)
    with staging(args.output) as folder:
        if spec.kind == specs.LABELED:
            kept, new = args.output / triplets.HARD, folder / triplets.HARD
            place, first = kept if kept.exists() else new, next(iter(shown.values()))
            hard = evaluation.frozen_triplets(place, first, words, labels)
            found = {name: evaluation.evaluate(rows, labels, hard) for name, rows in everything.items()}
            figures.maps(folder / "map.png", shown, labels, rows.names, args.map)
            figures.pair_distances(folder / "distances.png", shown, labels)
            table = evaluation.table(found)
        else:
            found = {name: evaluation.evaluate_rows(spec.kind, rows, labels) for name, rows in everything.items()}
            table = evaluation.table(found, dict.fromkeys((*specs.METRICS[spec.kind], *evaluation.SHOWN[-1:])))
        evaluation.write(folder, found)
        if embedder is not None:
            layers = embedder.layers(words[:2000], poolings=("mean", "max", "last"))
            evaluation.write_table(folder / "geometry.csv", evaluation.geometry_by_layer(layers))
        write_text(folder / "table.md", table + "\n")
    print(table)
    print(f"written: {args.output}")


if __name__ == "__main__":
    command.run(main)
