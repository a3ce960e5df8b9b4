"""Toy runs of ``--task embedding`` and ``--task preference`` inside this process."""

import random
from unittest.mock import patch

import toy
from fairseq import checkpoint_utils, options, tasks
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.logging import metrics
from fairseq_cli import train

GET_STATS = train.get_valid_stats
TOPICS = {
    "sea": "wave boat sail harbor tide salt fish island".split(),
    "wood": "tree leaf root moss deer path branch bird".split(),
    "city": "street tram crowd tower shop bridge lamp noise".split(),
}


def sentence(topic, draw):
    return " ".join(draw.choice(TOPICS[topic]) for _ in range(draw.randint(3, 7)))


def labeled(count, seed=0):
    """Return [(text, class)]: texts of three topics that share no word."""
    draw = random.Random(seed)
    return [(sentence(topic, draw), topic) for topic in sorted(TOPICS) for _ in range(count)]


def write_table(path, header, rows):
    lines = ["\t".join(map(str, row)) for row in [header, *rows]]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_rows(folder, kind, count=12):
    """Write train.tsv, dev.tsv and spec.yaml of a kind of rows; return the folder."""
    keys = "name: toy\nfiles: {train: train.tsv, valid: dev.tsv}\n"
    for split, seed in (("train", 0), ("dev", 1)):
        draw, texts = random.Random(seed), labeled(count, seed)
        other = {topic: sorted(set(TOPICS) - {topic}) for topic in TOPICS}
        pairs = [(text, sentence(topic, draw), sentence(draw.choice(other[topic]), draw)) for text, topic in texts]
        rows = {
            "labeled": (("text", "topic"), texts),
            "texts": (("text",), [row[:1] for row in texts]),
            "pairs": (("a", "b"), [row[:2] for row in pairs]),
            "triplets": (("a", "p", "n"), pairs),
            "margins": (("a", "p", "n", "margin"), [(*row, 1.5) for row in pairs]),
            "labeled pairs": (("a", "b", "same"), [(r[0], r[1 + i % 2], 1 - i % 2) for i, r in enumerate(pairs)]),
            "scored pairs": (("a", "b", "score"), [(r[0], r[1 + i % 2], 5 - 4 * (i % 2)) for i, r in enumerate(pairs)]),
        }[kind]
        write_table(folder / f"{split}.tsv", *rows)
    keys += {
        "labeled": "text: text\nlabel: topic\n", "texts": "text: text\n", "pairs": "text: [a, b]\n",
        "triplets": "text: [a, p, n]\n", "margins": "text: [a, p, n]\nlabel: margin\n",
        "labeled pairs": "text: [a, b]\nlabel: same\nlabels: ['0', '1']\n",
        "scored pairs": "text: [a, b]\nlabel: score\nscale: [0, 5]\n",
    }[kind]  # fmt: skip
    (folder / "spec.yaml").write_text(keys, encoding="utf-8")
    return folder


def arguments(data, save_dir, *more, updates=4):
    """The options of a toy run with a masked LM; later ones win."""
    return [str(value) for value in (
        data, "--user-dir", toy.ROOT / "plugins", "--cpu", "--task", "embedding", "--criterion", "metric_learning",
        "--arch", "clap_roberta", "--encoder-layers", 2, "--encoder-embed-dim", 32, "--encoder-ffn-embed-dim", 64,
        "--encoder-attention-heads", 4, "--batch-size", 8, "--optimizer", "fused_adamw", "--lr", 3e-3,
        "--max-update", updates, "--seed", 1, "--num-workers", 0, "--log-format", "none", "--save-dir", save_dir,
        "--no-epoch-checkpoints", *more,
    )]  # fmt: skip


def config(given):
    return convert_namespace_to_omegaconf(options.parse_args_and_arch(options.get_training_parser(), given))


def run(given):
    """Train with the options of a command line, in this process; return what the last validation logged."""
    if hasattr(checkpoint_utils.save_checkpoint, "best"):  # fairseq keeps the best score of a process
        del checkpoint_utils.save_checkpoint.best
    metrics.reset()
    seen = []
    with patch.object(train, "get_valid_stats", lambda *args: seen.append(GET_STATS(*args)) or seen[-1]):
        train.main(config(given))
    return seen[-1]


def one_batch(given):
    """Build task, model and criterion of a command line, and return them with a batch of the training rows."""
    cfg = config(given)
    task = tasks.setup_task(cfg.task)
    model, criterion = task.build_model(cfg.model), task.build_criterion(cfg.criterion)
    data = task.load_dataset("train")
    rows = data.batch_by_size(data.ordered_indices(), max_sentences=cfg.dataset.batch_size)[0]
    return task, model, criterion, data.collater([data[i] for i in rows])
