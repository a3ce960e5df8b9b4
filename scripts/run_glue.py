#!/usr/bin/env python3
"""Fine-tune a masked LM on GLUE for all requested tasks, learning rates and seeds, and write tables.

    python scripts/run_glue.py --glue-dir GLUE --checkpoint CKPT --tasks all --seeds 1 2 3 --output DIR
    python scripts/run_glue.py --glue-dir GLUE --checkpoint CKPT --tasks RTE MRPC --lr 1e-5 2e-5 3e-5 --output DIR

Each run is the fairseq-train command in the first line of its train.log. Hyperparameters are RoBERTa's (10 epochs, 6 %
warm-up, polynomial decay, dropout 0.1, weight decay 0.1; learning rate and batch size by task) unless --config or the
options below change them. Finished runs are skipped and interrupted ones resumed. Dictionary and tokenizer must be next
to CKPT.

Written are DIR/results.{json,csv,md}, which keep the tasks of earlier calls for the same CKPT; in DIR/TASK, for the
best run, {train,eval,all}_results.json, the model card README.md and predict_results_TASK.txt if there is a test split;
in DIR/TASK/RUN the checkpoint and the validation predictions.
"""

import argparse
import os
import shlex
import sys

import command
import flags
import job_options

NUMBERS = {"epochs": int, "warmup": float, "dropout": float, "weight_decay": float, "clip_norm": float,
           "layer_lr_decay": float, "reinit_layers": int, "max_positions": int, "max_tokens": int}  # fmt: skip
WORDS = {
    "epochs": "number of epochs (default: 10)",
    "warmup": "fraction of the updates with warm-up (default: 0.06)",
    "dropout": "dropout of the encoder, its attention and the head (default: 0.1)",
    "weight_decay": "weight decay of matrices (default: 0.1)",
    "clip_norm": "maximum norm of the gradients; 0: no limit (default: 0)",
    "layer_lr_decay": "learning rate of each layer relative to the one above it (default: 1)",
    "reinit_layers": "number of top layers to reinitialize (default: 0)",
    "max_positions": "longest input in tokens (default: the model's, or 512)",
    "max_tokens": "largest number of tokens in a batch, padding included (default: no limit)",
}


def parse_args(argv=None):
    """Parse the command line, before anything heavy is imported."""
    parser = command.Parser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("--glue-dir", "--hf-dataset", required=True, metavar="DIR",
        help="folder with CoLA/, RTE/, ... of the official files, or of Parquet files or saved datasets")  # fmt: skip
    add("--checkpoint", required=True, metavar="CKPT", help="pretrained model, with its tokenizer next to it")
    add("--output", required=True, metavar="DIR", help="folder to write")
    add("--tasks", nargs="+", default=["all"], metavar="TASK", help="names, YAML files of your own, or all (default)")
    add("--seeds", nargs="+", type=flags.seed, metavar="N", help="(default: 1 2 3)")
    add("--lr", nargs="+", type=flags.rate, metavar="LR",
        help="peak learning rates to try (default: 1e-5, RTE, STS-B 2e-5)")  # fmt: skip
    add(
        "--batch-size",
        nargs="+",
        type=int,
        metavar="N",
        help="batch sizes to try (default: 16, or 32 for the four large tasks)",
    )
    for name, kind in NUMBERS.items():
        add("--" + name.replace("_", "-"), type=kind, metavar="N", help=WORDS[name])
    pools = ["bos", "mean", "max", "attention"]
    add("--pooler-type", choices=pools, help="input of the classification head (default: bos)")
    add("--intermediate", metavar="TASK", help="fine-tune on this task first, and start other tasks from its model")
    add(
        "--intermediate-for",
        nargs="+",
        metavar="TASK",
        help="tasks that start from its model (default: RTE MRPC STS-B)",
    )
    add("--config", metavar="YAML", help="hyperparameters in a file; see examples/glue/recipes")
    add("--options", metavar="'--FLAG ...'", help="more options of fairseq-train")
    flags.add_skip_bad_rows(parser)
    add("--cache-dir", metavar="DIR", help="cache of tokenized files, or none (default: under ~/.cache)")
    add("--cpu", action="store_true", help="do not use a GPU")
    job_options.add(parser, None, "one per GPU, else what cores and memory allow")
    command.add_user_dir(parser)
    return parser.parse_args(argv)


def main():
    args = parse_args()
    own = [name for name in args.tasks if name.endswith((".yaml", ".yml"))]
    command.check_inputs([*own, args.config], [args.glue_dir], [args.checkpoint])
    command.check_outputs(folders=[args.output])
    command.check_tasks((name for name in args.tasks if name.lower() != "all"), "--tasks", args.glue_dir)
    if not own:  # else these may name a task of a YAML file
        command.check_tasks([args.intermediate], "--intermediate", args.glue_dir)
        command.check_tasks(args.intermediate_for or [], "--intermediate-for")
    from plugins import user_dir
    from plugins.errors import report_in_one_line
    from plugins.files import check_not_read
    from plugins.glue import hyperparameters, session

    report_in_one_line()
    written = [os.path.join(args.output, name) for name in ("results.json", "results.csv", "results.md")]
    check_not_read([args.output, *written], [*own, args.config, args.checkpoint])
    user_dir.load(args.user_dir)
    same = ("glue_dir", "checkpoint", "output", "tasks", "seeds", "intermediate", "intermediate_for", "config",
            "skip_bad_rows", "cache_dir", "jobs")  # fmt: skip
    request = session.GlueRequest(
        **{name: getattr(args, name) for name in same}, command=shlex.join(["python", *sys.argv]),
        hyperparameters={name: getattr(args, name) for name in hyperparameters.HYPERPARAMETERS},
    )  # fmt: skip
    session.run(request, job_options.resources(args, args.cpu))


if __name__ == "__main__":
    command.run(main, job_options.INTERRUPTED)
