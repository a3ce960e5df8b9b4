#!/usr/bin/env python3
"""Say what the styles of a character LM are worth: is text of a style recognised, by judges that are not the model?

    python scripts/evaluate_style.py checkpoints/styles --style-from file -o style.json
    python scripts/evaluate_style.py MODEL.pt --data data/styles --style-from file --seeds 1 2 3 -o style.json

Text that the model was not trained on (the validation split, as the checkpoint's own options cut it) is divided per
style in three: the judges, two classifiers of different families, learn from the first part and are tested on the
second; the third is real text for the model to continue, classify and predict. With several documents a style the
parts hold different documents; with one file a style they are disjoint stretches of it.

Reported: the judges' accuracy on unseen text; consistency of real, generated, mixed and random text; success in style
transfer; the model's own style head; the loss under a true, inferred, wrong and no style; and the loss in one pass
beside the honest one, of each character from its prefix alone. A checkpoint without styles gets what applies to it;
one that sees the future (--style-inference published) gets no judgement of what it writes.
"""

import argparse
import json
import math
import sys
import tempfile
from pathlib import Path

SHARES = (0.6, 0.2, 0.2)  # of the text: judges learn, judges are tested, the model is judged


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("checkpoint", type=Path, help="checkpoint file of the task char_lm, or its folder")
    add("--data", nargs="+", metavar="PATH", help="files or folders with text (default: what it was trained on)")
    add("--style-from", choices=("file", "folder", "jsonl", "none"), help="what tells a document's style (as trained)")
    add("-o", "--output", type=Path, required=True, metavar="FILE", help="JSON with all numbers")
    add("--seeds", type=int, nargs="+", default=[1, 2, 3], help="of judges and samples (default: 1 2 3)")
    add("--samples", type=int, default=4, help="texts a style and seed (default: %(default)s)")
    add("--sample-length", type=int, default=2000, help="characters of each (default: %(default)s)")
    add("--lengths", type=int, nargs="+", default=[50, 100, 200, 500, 1000], help="windows (default: 50 ... 1000)")
    add("--window", type=int, default=200, help="window of transfer and confusion (default: %(default)s)")
    add("--temperature", type=float, default=0.8, help="default: %(default)s")
    add("--top-k", type=int, default=200, help="default: %(default)s")
    add("--cost-windows", type=int, default=128, help="blocks a style to predict (default: %(default)s)")
    add("--honest-tokens", type=int, default=8192, help="characters predicted from their prefix alone; 0: none "
        "(default: %(default)s)")  # fmt: skip
    add("--device", default="cpu", help="default: %(default)s")
    args = parser.parse_args(argv)
    if args.sample_length < 2 * max(args.lengths) or args.window > args.sample_length:
        parser.error("--sample-length is at least twice the longest of --lengths, and no less than --window")
    if min(args.samples, args.cost_windows, *args.lengths) < 1 or args.honest_tokens < 0:
        parser.error("--samples, --cost-windows and --lengths are at least 1, --honest-tokens at least 0")
    return args


def held_out(args, lm):
    """Return {style: its held-out documents}; the one style is "" where the data has none."""
    from omegaconf import OmegaConf

    from plugins import checkpoints
    from plugins.data.text.char_corpus import open_corpus
    from plugins.errors import UserError
    from plugins.hub import find_checkpoint
    from plugins.tasks.char_lm import CharLMConfig, reading
    from plugins.tasks.windows import corpus_spec

    path = find_checkpoint(str(args.checkpoint))
    trained = checkpoints.read_state(path)["cfg"]["task"]
    names = CharLMConfig.__dataclass_fields__
    cfg = OmegaConf.create({name: trained[name] for name in names if name in trained})
    if args.data:
        cfg.data, cfg.valid_data = ":".join(args.data), None
        cfg.valid_fraction = cfg.valid_fraction or 0.1
    if args.style_from:
        cfg.style_from = args.style_from
    with tempfile.TemporaryDirectory() as cache:
        corpus = open_corpus(corpus_spec(cfg, reading(cfg, lm.dictionary.unit)), cache)
        split = corpus.split("valid", lm.dictionary, corpus.styles, lm.block_size, str(path))
        labels = [0] * len(split.starts) if split.labels is None else split.labels.tolist()
        found = {style: [] for style in corpus.styles or [""]}
        for start, end, label in zip(split.starts, split.ends, labels, strict=True):
            ids = split.ids[start:end] if split.table is None else split.table[split.ids[start:end]]
            found[(corpus.styles or [""])[label]].append(lm.dictionary.decode(ids))
    empty = next((style for style, documents in found.items() if not documents), None)
    if empty is not None:
        raise UserError(f"style {empty!r} has no held-out text: raise --valid-fraction in training")
    return found


def generate(args, lm, real, styles, given):
    """Return {condition: {seed: {style: texts}}}, continuing real text or nothing, with a style given or not.

    Conditions: ``free``, no prompt and no style; ``prompted``, a prompt of the style; ``given``, no prompt and the
    style; ``transfer``, a prompt of another style and the style. A prompt is a block of real text, each sample's own.
    """
    import torch
    from tqdm import tqdm

    asked = [k for k in range(len(styles)) for _ in range(args.samples)]  # (n,) of the samples of a seed
    names = ["free", "prompted", *(["given", "transfer"] if given else [])]
    made = {name: {} for name in names}
    jobs = [(name, seed) for name in names for seed in args.seeds]
    for name, seed in tqdm(jobs, desc="samples", unit="batch", leave=False, disable=None):
        sources = {"prompted": asked, "transfer": [(k + 1 + seed % (len(styles) - 1)) % len(styles) for k in asked]}
        prompts = start_tokens(lm, len(asked))
        if name in sources:
            prompts = torch.stack([prompt_from(lm, real[k], seed, i) for i, k in enumerate(sources[name])])
        mixture = None
        if name in ("given", "transfer"):
            mixture = torch.eye(len(styles), device=lm.device)[[lm.styles.index(styles[k]) for k in asked]]
        texts = sample(args, lm, prompts, mixture, seed)
        made[name][seed] = {k: [text for text, of in zip(texts, asked, strict=True) if of == k] for k in set(asked)}
    return made


def start_tokens(lm, count):
    """Return the start of a text without a prompt (count, 1): a line break, or the first character there is."""
    return lm.encode("\n" if "\n" in lm.characters else lm.characters[0]).expand(count, 1)


def prompt_from(lm, text, seed, number):
    """Return a block (T,) of a text, another for every seed and sample."""
    tokens = lm.encode(text)
    start = 7919 * (seed + 101 * number) % (len(tokens) - lm.block_size)
    return tokens[start : start + lm.block_size]


def sample(args, lm, prompts, mixture, seed):
    """Return texts that continue prompts (n, T), each row with its own mixture of styles (n, K), or as inferred.

    :meth:`plugins.hub.CharLM.sample` draws one prompt and one style at a time; here all go side by side.
    """
    import functools

    import torch

    from plugins.modules import sampling

    generator = torch.Generator(lm.device)
    generator.manual_seed(seed)
    cache = lm.model.new_cache(len(prompts))
    options = {"temperature": args.temperature, "top_k": args.top_k, "generator": generator}
    steps = sampling.generate(
        lambda tokens: lm.model(tokens, cache=cache, styles=mixture)[0][:, -1],  # (n, T, V) -> (n, V)
        functools.partial(sampling.draw, **options), prompts, args.sample_length, lm.block_size, lm.default_refresh,
        cache,
    )  # fmt: skip
    return [lm.dictionary.decode(row) for row in torch.stack(list(steps), dim=1).cpu()]


def own_numbers(args, lm, real, styles, given):
    """Return what the model says of real text: its style head, the cost of styles, the honest loss."""
    import torch

    from plugins.analysis.styles import evaluation
    from plugins.analysis.styles.effects import windows_of

    found = {}
    windows = [windows_of(lm, text, args.cost_windows) for text in real]
    if given:
        labels = [torch.full((len(rows),), lm.styles.index(style)) for rows, style in zip(windows, styles, strict=True)]
        together, labels = torch.cat(windows)[:, :-1], torch.cat(labels).to(lm.device)
        if lm.model(together[:1, :1])[1]["style_logits"] is not None:
            asked = sorted({1, 8, 16, 32, 64, 128, lm.block_size})
            found["head"] = evaluation.head_accuracy(lm.model, together, labels, asked) | {"styles": lm.styles}
        found["cost"] = {
            style: evaluation.style_cost(losses_of(lm, rows), lm.styles.index(style), len(lm.styles))
            for rows, style in zip(windows, styles, strict=True)
        }
    if args.honest_tokens:
        count = math.ceil(args.honest_tokens / lm.block_size / len(windows))
        rows = torch.cat([windows_of(lm, text, count) for text in real])
        found["loss"] = evaluation.honest_loss(lm.model, rows, progress=True)
    return found


def losses_of(lm, rows):
    from plugins.analysis.styles import evaluation

    return lambda style: evaluation.nats(lm.model, rows, None if style is None else style.to(lm.device)).cpu()


def main():
    args = parse_args()
    from plugins.analysis.runs.grids import without_nan
    from plugins.analysis.styles import report as style_report
    from plugins.analysis.styles.classifiers import partition
    from plugins.errors import UserError, report_in_one_line
    from plugins.files import write_text
    from plugins.hub import CharLM

    report_in_one_line()
    lm = CharLM.from_pretrained(str(args.checkpoint)).to(args.device)
    documents = held_out(args, lm)
    styles = [style for style in documents if style]
    judged = len(styles) > 1 and not lm.sees_the_future  # what it writes is no claim about a language model
    parts = list(zip(*(partition(documents[style], SHARES) for style in documents), strict=True))
    short = min(len(text) for text in parts[2])
    if short <= max(lm.block_size, args.sample_length if judged else 0):
        raise UserError(
            f"only {short} characters of held-out text to judge the model by: more than a block ({lm.block_size}), and "
            "than --sample-length where samples are judged, are needed; give more text, or a shorter --sample-length"
        )
    given = bool(styles) and sorted(lm.styles) == sorted(styles) and lm.model.num_styles == len(styles)
    result = {
        "checkpoint": str(args.checkpoint),
        "options": {name: value for name, value in vars(args).items() if name not in ("checkpoint", "output")},
        "styles": styles,
        "chance": 1 / len(styles) if styles else None,
        "model_has_these_styles": given,
        "sees_the_future": lm.sees_the_future,
        "characters": {name: dict(zip(documents, map(len, part), strict=True))
                       for name, part in zip(("judges_learn", "judges_tested", "model_judged"), parts, strict=True)},
        **own_numbers(args, lm, parts[2], styles, given),
    }  # fmt: skip
    if judged:
        texts = generate(args, lm, parts[2], styles, given)
        report = style_report.Judging(styles, args.lengths, args.window, args.seeds[0])
        result |= report.judge(parts, texts, args.sample_length, args.samples * len(args.seeds))
        result["samples"] = texts
    write_text(args.output, json.dumps(without_nan(result), indent=1, default=str) + "\n")
    print(style_report.tables(result))
    print(f"all numbers, and the samples, are in {args.output}")


if __name__ == "__main__":
    sys.exit(main())
