#!/usr/bin/env python3
"""Continue a text with a character LM or a causal LM, printed as it is generated.

    python scripts/sample.py checkpoints/drama/checkpoint_best.pt --prompt "ROMEO:" --length 500
    python scripts/sample.py checkpoints/styles --start FILE:prompt.txt --num-samples 3 --style drama:0.7,novel:0.3

The checkpoint of a run of fairseq-train --task char_lm is self-contained; the tokenizer of a causal LM is in
its folder. Options may be written as in nanoGPT's sample.py (--start, --num_samples, --max_new_tokens, ...).
"""

import argparse
import re
import signal
import sys

import command
import flags

SEPARATOR = "---------------"
AT_ONCE = 32  # samples per batch: each needs its own cache


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line, before anything heavy is imported."""
    parser = command.Parser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    flags.add_checkpoint(parser)
    add("--prompt", "--start", default="", metavar="TEXT", help="text to continue, or FILE:prompt.txt (a line break)")
    add("--length", "--max-new-tokens", type=flags.natural, default=500, metavar="N",
        help="number of characters (char_lm) or tokens to generate (%(default)s)")  # fmt: skip
    add("--num-samples", type=flags.positive, default=1, metavar="N",
        help="number of samples; a single one is printed while it is generated (%(default)s)")  # fmt: skip
    flags.add_sampling(parser, 0.8, 200)
    flags.add_seed(parser, 1337)
    add("--style", metavar="S", help="NAME, NAME:WEIGHT,NAME:WEIGHT,... or none (inferred from the text)")
    refresh = "past the block, start the cache anew every N characters; 1: exact, but slow (an eighth of the block)"
    add("--refresh", type=flags.positive, metavar="N", help=refresh)
    add("--slide", action="store_true", help="past the block, let the cache slide: fastest; alibi and rotary positions")
    flags.add_dtype(parser, "bfloat16", "int8")
    flags.add_compile(parser, "for long texts")
    flags.add_device(parser, "; random numbers differ by device")
    given = sys.argv[1:] if argv is None else argv
    command.add_user_dir(parser)
    return parser.parse_args([re.sub(r"^--\w+", lambda m: m[0].replace("_", "-"), argument) for argument in given])


def main() -> None:
    """Run the command."""
    args = parse_args()
    command.check_inputs([command.file_named(args.prompt)], checkpoints=[args.checkpoint])
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # end quietly when the reader of a pipe does
    import torch

    import plugins.hub  # seconds, so not before the arguments are checked
    from plugins import user_dir
    from plugins.errors import printable, report_in_one_line
    from plugins.hub import language_model_of

    report_in_one_line()
    user_dir.load(args.user_dir)
    prompt = read_prompt(args.prompt)
    model = language_model_of(plugins.hub.load(args.checkpoint), args.checkpoint)
    check_kind(model, args)
    options = {
        "temperature": args.temperature,
        "top_k": args.top_k or None,
        "top_p": args.top_p,
        "refresh": args.refresh,
        "slide": args.slide,
        "compiled": args.compile,
    }
    if isinstance(model, plugins.hub.CharLM):
        options["style"] = read_style(args.style, model.styles)
    model.to(args.device, None if args.dtype == "float32" else getattr(torch, args.dtype))
    sys.stdout.reconfigure(errors="replace")
    for text in samples(model, prompt, args, options):
        print(printable(text) if sys.stdout.isatty() else text, end="", flush=True)


def check_kind(model, args: argparse.Namespace) -> None:
    """Raise an error for a model that cannot generate text, or a style for one without styles."""
    from plugins import hub
    from plugins.errors import UserError

    if isinstance(model, hub.RobertaInterface):
        raise UserError(f"{args.checkpoint}: a masked LM, which fills masks but cannot continue text")
    if args.style and not isinstance(model, hub.CharLM):
        raise UserError(f"--style {args.style}: {args.checkpoint} is not a character LM; only those have styles")


def samples(model, prompt: str, args: argparse.Namespace, options: dict):
    """Yield what to print: piece by piece for one sample, sample by sample for several."""
    if args.num_samples == 1:
        pieces = model.stream(prompt, args.length, seed=args.seed, **options)
        yield prompt
        yield from pieces
        yield "\n"
        return
    for first in range(0, args.num_samples, AT_ONCE):
        count = min(AT_ONCE, args.num_samples - first)
        texts = model.sample(prompt, args.length, seed=args.seed + first, n=count, **options)
        for i, text in enumerate([texts] if count == 1 else texts, start=first):
            yield (f"{SEPARATOR}\n" if i else "") + f"{prompt}{text}\n"


def read_prompt(prompt: str) -> str:
    """Return the prompt, or the content of the file that ``FILE:path`` names."""
    from plugins.files import opened

    path = command.file_named(prompt)
    if path is None:
        return prompt
    with opened(path) as file:
        return file.read()


def read_style(text: str | None, names: list[str]):
    """Return the style of ``--style`` in the form of :class:`plugins.hub.CharLM`."""
    from plugins.errors import UserError

    if text is None or text in names or ":" not in text:
        return text
    mixture = {}
    for part in text.split(","):
        name, _, weight = part.rpartition(":")
        if name.strip() in mixture:
            raise UserError(f"--style {text}: {name.strip()} has two weights")
        try:
            mixture[name.strip()] = float(weight)
        except ValueError:
            raise UserError(f"--style {text}: {part!r} is not NAME:WEIGHT, for example drama:0.7") from None
    return mixture


if __name__ == "__main__":
    command.run(main)
