#!/usr/bin/env python3
"""Fine-tune a masked LM on GLUE: every task, learning rate and seed asked for, then the tables.

    python scripts/run_glue.py --glue-dir GLUE --checkpoint CKPT --tasks all --seeds 1 2 3 --output DIR
    python scripts/run_glue.py --glue-dir GLUE --checkpoint CKPT --tasks RTE MRPC --lr 1e-5 2e-5 3e-5 --output DIR

Each run is the fairseq-train command that its train.log begins with. The recipe is RoBERTa's (10 epochs, 6 % warm-up,
polynomial decay, dropout 0.1, weight decay 0.1; learning rate and batch size by task), or what --config and the options
below make of it. Finished runs are not done again; interrupted ones go on. Dictionary and tokenizer lie beside CKPT.

DIR gets results.json, .csv and .md, which keep the tasks of earlier calls for the same CKPT; DIR/TASK, for the best
run, {train,eval,all}_results.json, the model card README.md and predict_results_TASK.txt if there is a test split;
DIR/TASK/RUN its checkpoint and its validation predictions.
"""

import argparse
import dataclasses
import os
import shlex
import sys
from pathlib import Path

import job_options

NUMBERS = {"epochs": int, "warmup": float, "dropout": float, "weight_decay": float, "clip_norm": float,
           "layer_lr_decay": float, "reinit_layers": int, "max_positions": int, "max_tokens": int}  # fmt: skip
WORDS = {
    "epochs": "passes over the training data (default: 10)",
    "warmup": "share of the updates in which the learning rate grows (default: 0.06)",
    "dropout": "of the encoder, its attention and the head (default: 0.1)",
    "weight_decay": "of matrices (default: 0.1)",
    "clip_norm": "largest norm of a gradient; 0: no limit (default: 0)",
    "layer_lr_decay": "learning rate of each layer relative to the one above it (default: 1)",
    "reinit_layers": "top layers that start from random values (default: 0)",
    "max_positions": "longest input in tokens (default: the model's, or 512)",
    "max_tokens": "most tokens in a batch, padding included (default: no limit)",
}


def parse_args(argv=None):
    """Parse the command line. Nothing heavy is imported until it is known to be sound."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("--glue-dir", required=True, metavar="DIR", help="folder with CoLA/, RTE/, ... of the official files")
    add("--checkpoint", required=True, metavar="CKPT", help="pretrained model, its tokenizer beside it")
    add("--output", required=True, metavar="DIR", help="folder to write")
    add("--tasks", nargs="+", default=["all"], metavar="TASK", help="names, YAML files of your own, or all (default)")
    add("--seeds", nargs="+", type=int, metavar="N", help="(default: 1 2 3)")
    add("--lr", nargs="+", type=float, metavar="LR", help="peak learning rates to try (default: 1e-5, RTE, STS-B 2e-5)")
    add("--batch-size", nargs="+", type=int, metavar="N", help="to try (default: 16, or 32 for the four large tasks)")
    for name, kind in NUMBERS.items():
        add("--" + name.replace("_", "-"), type=kind, metavar="N", help=WORDS[name])
    pools = ["bos", "mean", "max", "attention"]
    add("--pooler-type", choices=pools, help="what the classification head sees (default: bos)")
    add("--intermediate", metavar="TASK", help="fine-tune on this task first, and start others from its model")
    add("--intermediate-for", nargs="+", metavar="TASK", help="which others (default: RTE MRPC STS-B)")
    add("--config", metavar="YAML", help="changes of the recipe; see examples/glue/recipes")
    add("--options", metavar="'--FLAG ...'", help="more options of fairseq-train")
    add("--skip-bad-rows", action="store_true", help="leave out malformed rows, and count them")
    add("--cache-dir", metavar="DIR", help="cache of tokenized files, or none (default: under ~/.cache)")
    add("--cpu", action="store_true", help="do not use a GPU")
    job_options.add(parser, None, "one per GPU, else what cores and memory allow")
    return parser.parse_args(argv)


def main():
    args = parse_args()
    from plugins.errors import report_in_one_line
    from plugins.glue import runs

    report_in_one_line()
    resources = job_options.resources(args, args.cpu)
    planned, setting = prepare(args, resources)
    if args.jobs is None:
        many = len(planned) if args.launcher == "submitit" else runs.fitting(args.checkpoint, args.threads, setting.cpu)
        resources = dataclasses.replace(resources, at_a_time=min(len(planned), many))
    print(f"{len(planned)} runs, {resources.at_a_time} at a time", flush=True)
    results = runs.do_all(planned, setting, resources)
    finish(results, setting)


def prepare(args, resources):
    """Return the runs and what they share; every mistake in the options is found here."""
    from plugins.data.glue import dataset
    from plugins.data.glue import specs as glue_specs
    from plugins.errors import UserError
    from plugins.glue import plan, runs

    if not os.path.exists(args.checkpoint):
        raise UserError(f"--checkpoint {args.checkpoint}: no such file")
    specs, flags = runs.choose_tasks(args.glue_dir, args.tasks)
    chosen = specs.values()
    content = plan.read_yaml(args.config, chosen) if args.config else {}
    receivers = [glue_specs.find(name, "--intermediate-for", chosen).name for name in args.intermediate_for or ()]
    intermediate = args.intermediate or content.get("intermediate")
    if intermediate:
        found, words = runs.choose_tasks(args.glue_dir, [intermediate], "--intermediate", chosen)
        (intermediate,) = found
        specs, flags = found | specs, words | flags
    given = {name: getattr(args, name) for name in plan.HYPERPARAMETERS}
    seeds = args.seeds or content.get("seeds") or [1, 2, 3]
    planned = plan.plan(list(specs), seeds, given, content, intermediate, receivers or plan.INTERMEDIATE_FOR)
    cache = args.cache_dir or dataset.default_cache()
    setting = runs.Setting(
        Path(args.glue_dir).resolve(), Path(args.checkpoint).resolve(), Path(args.output), specs, flags,
        resources.on_cpu, None if cache == "none" else cache, args.skip_bad_rows,
    )  # fmt: skip
    setting.output.mkdir(parents=True, exist_ok=True)
    return planned, setting


def finish(results, setting):
    """Print the tables and write every file."""
    from plugins.files import write_json, write_text
    from plugins.glue import report, runs

    others, specs = runs.of_other_tasks(setting)
    results, specs = results | others, setting.specs | specs
    by_task = report.cells(results, specs)
    perplexity = report.pretraining_perplexity(setting.checkpoint)
    paper, official = report.paper_table(by_task, perplexity), report.official_table(by_task)
    title = "The published table's columns (CoLA: accuracy, STS-B: squared error of label / 5 over ln 2)"
    if set(by_task) & set(report.PAPER):
        print(f"\n{title}\n{report.aligned(paper)}")
    print(f"\nOfficial metrics, in percent\n{report.aligned(official)}\n")
    warnings = report.warnings(by_task)
    for line in warnings:
        print(f"warning: {line}")
    command = shlex.join(["python", *sys.argv])
    lines = [f"    {command}", "", title + ".", "", report.markdown(paper), "", "Official metrics, in percent.", "",
             report.markdown(official), *(f"\nWarning: {line}." for line in warnings)]  # fmt: skip
    write_text(setting.output / "results.md", "\n".join(lines) + "\n")
    write_text(setting.output / "results.csv", "\n".join(report.as_csv(results, specs).splitlines()) + "\n")
    rows = [run.as_row() | result for run, result in results.items()]
    best = {task: found[0].best[1]["checkpoint"] for task, found in by_task.items()}
    everything = {"command": command, "checkpoint": str(setting.checkpoint), "perplexity": perplexity, "best": best,
                  "warnings": warnings, "runs": rows}  # fmt: skip
    write_json(setting.output / runs.RESULTS, everything, indent=1)
    for task in setting.specs:
        write_task(by_task[task][0], setting)
    print(f"everything is in {setting.output}/")


def write_task(cell, setting):
    """Write what Hugging Face users look for, about the best run of a task."""
    from plugins import hub
    from plugins.errors import UserError
    from plugins.files import write_json, write_text
    from plugins.glue import predict, report

    folder, result = setting.output / cell.spec.name, cell.best[1]
    for kind, content in report.hugging_face_results(result).items():
        write_json(folder / f"{kind}_results.json", content, indent=1)
    write_text(folder / "README.md", "\n".join(report.model_card(cell, setting.checkpoint).splitlines()) + "\n")
    model = hub.load(str(setting.output / result["checkpoint"]))
    for split in cell.spec.test_splits:
        try:
            given = predict.answers(model, setting.glue_dir, split, None, setting.cache, setting.skip_bad_rows)
        except UserError as error:
            print(f"no predictions for {split}: {error}")
            continue
        predict.write_predictions(folder / f"predict_results_{report.hugging_face_name(cell.spec, split)}.txt", given)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        job_options.interrupted()
