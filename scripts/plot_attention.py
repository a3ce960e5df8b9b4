#!/usr/bin/env python3
"""Draw the attention of a model's heads on a text: all heads, or a large map of one.

    python scripts/plot_attention.py checkpoints/nano "To be, or not to be"
    python scripts/plot_attention.py checkpoints/nano "To be, or not to be" --layer 2 --head 1 -o head.png
    python scripts/plot_attention.py checkpoints/mlm "The <mask> is green." --json attention.json

Query position runs down, key position across, from right to left where the text does. Layers and heads count from 0.
"""

import argparse

import command
import flags
import reading


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = command.Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    flags.add_checkpoint(parser)
    add("text", metavar="TEXT", help="the text, or FILE:text.txt; it may contain <mask> for a masked LM")
    add("--layer", type=int, metavar="L", help="with --head: draw a large map of this head only")
    add("--head", type=int, metavar="H")
    reading.add_output(parser, "attention.png", "tokens and weights, [layer][head][query][key]")
    args = parser.parse_args(argv)
    if (args.layer is None) != (args.head is None):
        parser.error("--layer and --head must be given together")
    return args


def main() -> None:
    """Run the command."""
    args = parse_args()
    reading.check(args)
    import numpy as np  # seconds, so not before the arguments are checked

    from plugins.analysis.attention import plots as attention_plots
    from plugins.analysis.attention.capture import attention_of
    from plugins.errors import report_in_one_line
    from plugins.files import write_json

    report_in_one_line()
    lm, text = reading.opened(args, predicts=False)
    tokens, attention = attention_of(lm, text)
    if args.layer is None:
        read = "".join(map(attention_plots.visible, tokens))
        title = f"All heads, reading {read[:50]}{' ...' * (len(read) > 50)}"
        attention_plots.attention_grid(args.output, tokens, attention, title)
    else:
        weights = head_of(attention, args.layer, args.head)
        attention_plots.attention_map(
            args.output, tokens, weights, f"Attention of layer {args.layer}, head {args.head}"
        )
    print(f"figure: {args.output}")
    if args.json:
        weights = np.concatenate([layer.numpy() for layer in attention]).astype(float)  # (L, H, T, T)
        write_json(args.json, {"tokens": tokens, "attention": weights.round(6).tolist()})
        print(f"weights: {args.json}")


def head_of(attention, layer: int, head: int):
    """Return the weights (T, T) of one head."""
    from plugins.errors import UserError

    layers, heads = len(attention), attention[0].size(1)
    if not (0 <= layer < layers and 0 <= head < heads):
        raise UserError(
            f"--layer {layer} --head {head}: the model has layers 0 to {layers - 1} and heads 0 to {heads - 1}"
        )
    return attention[layer][0, head]


if __name__ == "__main__":
    command.run(main)
