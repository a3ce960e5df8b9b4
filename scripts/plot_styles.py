#!/usr/bin/env python3
"""Draw the styles of a character LM: their embeddings, the style of a text, and what each style changes.

    python scripts/plot_styles.py checkpoints/styles --text drama.txt novel.txt -o plots
    python scripts/plot_styles.py checkpoints/styles --text drama.txt novel.txt --evaluation style.json -o plots

A text with the name of a style (drama.txt) counts as text of it. Use text that the model was not trained on. The file
of scripts/evaluate_style.py -o style.json for the same model adds the judges' verdict on its text.

Writes styles.json with all arrays, and
    embeddings.png, texts.png   the style embeddings, and windows of several texts as the style classifier sees them
    ribbon_TEXT.png             the probabilities of the styles along the start of each text
    modulation.png, modulation_strength.png   what each style multiplies and adds, by layer
    attention.png, attention_head.png         how much of each head's attention a style moves; the head it moves most
    perplexity.png              of each text under each forced style
    confusion.png               the style that the model infers for windows of each text
    consistency.png, confusion_given.png      with --evaluation: the judges on real and generated text
"""

import argparse
import re
import sys
from pathlib import Path

import command
import flags

DRAWINGS = (
    "embeddings", "texts", "modulation", "modulation_strength", "attention", "attention_head", "perplexity",
    "confusion", "consistency", "confusion_given",
)  # fmt: skip


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = command.Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("checkpoint", metavar="CKPT", help="checkpoint of the task char_lm with styles, or its folder")
    add("--text", type=Path, nargs="+", required=True, metavar="FILE", help="texts in UTF-8")
    flags.add_output(parser, "DIR", "output folder", "plots")
    add("--evaluation", type=Path, metavar="JSON", help="file of scripts/evaluate_style.py for the checkpoint")
    add("--judge", choices=("svm", "bayes"), default="svm", help="judge whose results are drawn (default: %(default)s)")
    add(
        "--windows",
        type=flags.positive,
        default=100,
        metavar="N",
        help="blocks of each text to read (default: %(default)s)",
    )
    add(
        "--characters",
        type=flags.positive,
        default=360,
        metavar="N",
        help="characters of each text in its ribbon (default: %(default)s)",
    )
    flags.add_device(parser)
    command.add_user_dir(parser)
    args = parser.parse_args(argv)
    names = [path.stem for path in args.text]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        parser.error(f"--text: two texts have the name {twice}; rename one")
    files = {}
    for name in names:  # "a b" and "a_b" would share a drawing
        if (other := files.setdefault(file_name(name), name)) != name:
            parser.error(f"--text: {other} and {name} would both be drawn in ribbon_{file_name(name)}.png; rename one")
    return args


def file_name(text: str) -> str:
    """Return the name of a text in the name of its ribbon's file."""
    return re.sub(r"[^\w.-]+", "_", text)


def read_text(path: Path) -> str:
    """Return a text; an empty one is an error."""
    from plugins import files
    from plugins.data.text.records import check_plain
    from plugins.errors import UserError

    check_plain(path)
    text = files.read_text(path)
    if not text:
        raise UserError(f"{path}: empty file; give a text")
    return text


def windows_by_text(args: argparse.Namespace, lm, texts: dict[str, str]) -> dict:
    """Return blocks (N, block + 1) of each text that is long enough for one.

    Raises:
        UserError: a text contains an unknown character, or all are too short.
    """
    from plugins.analysis.styles import effects
    from plugins.errors import UserError

    windows = {}
    for path, (name, text) in zip(args.text, texts.items(), strict=True):
        try:
            length = len(lm.encode(text))
            if length > lm.block_size:
                windows[name] = effects.windows_of(lm, text, args.windows)
                continue
        except UserError as error:
            raise UserError(f"{path}: {error}") from error
        print(f"{path}: {length} characters, not more than the block of {lm.block_size}: drawn as a ribbon only",
              file=sys.stderr)  # fmt: skip
    if not windows:
        raise UserError(f"--text: a text of more than {lm.block_size} characters is needed")
    return windows


def read_evaluation(path: Path | None, lm, judge: str) -> dict:
    """Return the content of an evaluation, empty if none is given.

    Raises:
        UserError: it is of another model, or lacks the judge.
    """
    from plugins.analysis.runs import bars
    from plugins.errors import UserError

    if path is None:
        return {}
    found = bars.read_evaluation(path)
    if found["model_has_these_styles"] != (sorted(found["styles"]) == sorted(lm.styles)):
        note = f"styles {', '.join(found['styles']) or 'none'}; the model has {', '.join(lm.styles)}"
        raise UserError(f"{path}: belongs to another model, with {note}")
    if found.get("judges") and not found["judges"].get(judge, {}).get("consistency"):
        raise UserError(f"{path}: no verdict of --judge {judge}; there are {', '.join(found['judges'])}")
    return found


def main() -> None:
    """Run the command."""
    args = parse_args()
    command.check_inputs([*args.text, args.evaluation], checkpoints=[args.checkpoint])
    command.check_outputs(folders=[args.output])
    from tqdm import tqdm

    from plugins import user_dir
    from plugins.analysis.styles.figures import StyleFigures, plain
    from plugins.errors import report_in_one_line
    from plugins.files import check_not_read, staging, without_nan, write_json
    from plugins.hub import CharLM

    report_in_one_line()
    user_dir.load(args.user_dir)
    ribbons = [f"ribbon_{file_name(path.stem)}" for path in args.text]
    written = ["styles.json", *(f"{name}.png" for name in (*DRAWINGS, *ribbons))]
    check_not_read(
        [args.output, *(args.output / name for name in written)], [args.checkpoint, args.evaluation, *args.text]
    )
    texts = {path.stem: read_text(path) for path in args.text}
    lm = CharLM.from_pretrained(args.checkpoint).to(args.device)
    lm.check_styles()
    windows, evaluation = windows_by_text(args, lm, texts), read_evaluation(args.evaluation, lm, args.judge)
    with staging(args.output) as folder:
        figures = StyleFigures(lm, texts, windows, folder, evaluation, args.judge, args.characters)
        for name, draw in (bar := tqdm(figures.steps().items(), unit="step", leave=False, disable=None)):
            bar.set_description(name)
            draw()
        found = {"checkpoint": args.checkpoint} | without_nan(plain(figures.found))
        write_json(folder / "styles.json", found)
    for reason in figures.missing:
        print(reason, file=sys.stderr)
    print(f"figures and styles.json are in {args.output}")


if __name__ == "__main__":
    command.run(main)
