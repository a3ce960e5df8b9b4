#!/usr/bin/env python3
"""Compare embedding losses under one budget: the same batches, a grid search for each loss, then several seeds.

    python scripts/compare_losses.py texts --checkpoint checkpoints/mlm --lrs 1e-4 1e-3 --seeds 3 -o comparison
    python scripts/compare_losses.py data --spec rows.yaml --checkpoint checkpoints/mlm --losses batch_hard triplet -o o

Each run is a fairseq-train process; finished runs are not repeated. The grid is searched with the first seed; the best
setting is repeated with the other seeds. The baselines are the untuned model, mean word vectors and TF-IDF. The setting
is chosen by kNN accuracy on one half of the validation rows; the scores are those of the other half.
"""

import argparse

import choices
import command
import flags
import job_options


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = command.Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("data", metavar="DATA", help="folder of CLASS.txt files, or of the files named by --spec")
    add("--spec", metavar="FILE", help="YAML file that describes labeled texts")
    add("--checkpoint", required=True, metavar="CKPT", help="model to start from")
    add("--losses", nargs="+", metavar="LOSS", help="losses to compare (default: all losses for labeled texts)")
    add(
        "--lrs",
        nargs="+",
        type=flags.rate,
        default=[1e-4, 1e-3],
        metavar="X",
        help="learning rates (1e-4 1e-3)",
    )
    add("--margins", nargs="+", type=float, default=[], metavar="X", help="margins to try besides each loss's default")
    add(
        "--passage-words",
        type=flags.positive,
        default=32,
        metavar="N",
        help="words in a passage (%(default)s)",
    )
    add("--rows", type=flags.positive, default=2000, metavar="N", help="validation rows, sampled at random: one "
        "half to choose the setting, the other to score (%(default)s)")  # fmt: skip
    job_options.add_runs(
        parser, 100, 32, None, 3, of="the best setting of each loss; the others are run with the first"
    )
    flags.add_output(parser, "DIR", "output folder of the runs and the table")
    job_options.add(parser, 1, "1")
    command.add_user_dir(parser)
    return parser.parse_args(argv)


def main() -> None:
    """Run the command."""
    args = parse_args()
    command.check_inputs([args.spec], [args.data], [args.checkpoint])
    command.check_outputs(folders=[args.output])
    command.check_names(args.losses or [], choices.LABELED_LOSSES, "--losses")
    import plugins.hub
    from plugins import user_dir
    from plugins.checkpoints import architecture, read_state
    from plugins.data.embedding.triplets import HARD
    from plugins.embeddings import comparison, evaluation, representations
    from plugins.errors import UserError, report_in_one_line
    from plugins.files import check_not_read, staging, write_json, write_text
    from plugins.jobs import Runner, digest, exclusive

    report_in_one_line()
    written = [args.output / name for name in ("metrics.json", "table.md")]
    check_not_read([args.output, *written], [args.checkpoint, args.spec])
    user_dir.load(args.user_dir)
    names = args.losses or comparison.comparable()
    for name in names:
        if name not in comparison.comparable():
            raise UserError(f"--losses {name}: losses for labeled texts are {', '.join(comparison.comparable())}")
    path, hard = plugins.hub.find_checkpoint(args.checkpoint), args.output / HARD
    finish = comparison.Evaluation(args.data, args.passage_words, args.spec, str(hard), args.rows)
    common = [*options(args), "--arch", architecture(read_state(path), path), "--finetune-from-model", path]
    settings, origin = comparison.grid(names, args.lrs, args.margins), digest(*finish.files(), path)
    total, runs = len(settings) + len(names) * (args.seeds - 1), args.output / "runs"
    with exclusive(runs), Runner(runs, job_options.resources(args), total=total) as runner:
        runner.done([comparison.job(setting, 1, common, args.updates, finish, origin) for setting in settings])
        if not any(runs.glob("*/run.json")):
            hard.unlink(missing_ok=True)  # of a search that was deleted, perhaps of other texts
        embedder, (texts, labels) = plugins.hub.Embedder.from_pretrained(path), finish.rows()
        untuned = embedder.encode(texts)
        triplets = evaluation.frozen_triplets(hard, untuned[1::2], texts[1::2], labels[1::2])
        others = {"untuned": untuned, **representations.baselines(texts, embedder)}
        scores = {name: [finish.score(vectors, labels, triplets)] for name, vectors in others.items()}
        found, best = comparison.search(runner, settings, args.seeds, common, args.updates, finish, origin)
    scores |= found
    chosen = {name: setting.name.removeprefix(f"{name}-") for name, setting in best.items()}
    text = comparison.table(scores, chosen)
    with staging(args.output) as folder:
        write_json(folder / "metrics.json", {"settings": chosen, "scores": scores}, indent=1)
        write_text(folder / "table.md", text + "\n")
    print(text)


def options(args: argparse.Namespace) -> list:
    """Return the options that all runs share."""
    import torch

    from plugins import user_dir

    spec = ["--spec", args.spec] if args.spec else ["--passage-words", args.passage_words]
    return [
        "--user-dir", user_dir.for_runs(), "--task", "embedding", "--criterion", "metric_learning", *spec,
        "--batch-size", args.batch_size, "--optimizer", "fused_adamw", "--clip-norm", 1, "--num-workers", 0,
        "--warmup-updates", max(1, args.updates // 10), "--lr-scheduler", "inverse_sqrt", "--no-epoch-checkpoints",
        "--log-format", "simple", "--log-interval", 10, "--disable-validation", "--no-save-optimizer-state",
        *([] if torch.cuda.is_available() else ["--cpu"]),
    ]  # fmt: skip


if __name__ == "__main__":
    command.run(main, job_options.INTERRUPTED)
