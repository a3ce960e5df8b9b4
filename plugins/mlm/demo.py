"""Pretrain four small masked language models and compare them."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plugins import hub
from plugins.analysis import plots
from plugins.analysis.runs import curves, logs
from plugins.compat.precision import has_bfloat16
from plugins.errors import UserError, printable
from plugins.files import check_not_read, opened, write_json
from plugins.hub import sharing
from plugins.jobs import Job, Resources, Runner
from plugins.mlm import demo_data

USER_DIR = Path(__file__).resolve().parents[1]
# The published configurations at a smaller size, see README.md.
VARIANTS = {
    "baseline": "--head roberta",
    "learned-clap": "--head clap --no-layernorm-embedding",
    "alibi": "--head roberta --positions alibi",
    "zero-clap": "--head clap --positions alibi --omit-mask --scale-embeddings --no-layernorm-embedding",
}
# Less than one epoch, so no dropout; many small batches, because few large ones learn only frequencies.
OPTIONS = (
    "--user-dir {user_dir} --cpu --task clap_masked_lm --criterion clap_masked_lm --arch clap_roberta_tiny "
    "--dropout 0 --attention-dropout 0 --tokens-per-sample 64 --batch-size 16 --optimizer fused_adamw "
    "--weight-decay 0.01 --clip-norm 1 --lr 3e-3 --lr-scheduler polynomial_decay --num-workers 0 "
    "--log-format json --no-epoch-checkpoints --keep-interval-updates 1 --save-interval 1000000 "
    "--validate-interval 1000000"
)
VALIDATIONS = 10


@dataclass(frozen=True)
class Demo:
    """The options of the demo.

    Attributes:
        output: folder for data, models and results.
        data: text files; without any, English prose of the Python installation.
        jsonl_key: field of JSON records with the text.
        vocab_size: largest size of the dictionary.
        variants: names of :data:`VARIANTS`.
        updates: number of updates of each model.
        threads: CPU threads.
        mixed_precision: ``none`` or ``bf16``; None: bf16 where the GPU, or without one the CPU, has it in hardware.
        seed: random seed of the weights and the masks.
        force: repeat finished steps too.
        share: folder to which the best model is written for sharing, see :func:`plugins.hub.sharing.slim`; or None.
    """

    output: Path
    data: Sequence[str]
    jsonl_key: str
    vocab_size: int
    variants: Sequence[str]
    updates: int
    threads: int
    mixed_precision: str | None
    seed: int
    force: bool
    share: Path | None = None

    @property
    def precision(self) -> str:
        """The ``--mixed-precision`` of the models."""
        return self.mixed_precision or ("bf16" if has_bfloat16() else "none")

    def run(self) -> None:
        """Prepare the data, train the models, print and draw the results; finished steps are skipped.

        Raises:
            UserError: an unknown variant, unusable text, a failed training, or a folder that cannot be written.
        """
        start = time.monotonic()
        for name in self.variants:
            if name not in VARIANTS:
                raise UserError(f"--variants {name}: choose one of {', '.join(VARIANTS)}")
        written = [self.output / name for name in ("data.json", "results.json", "validation_curves.png")]
        written += [] if self.share is None else [self.share / "checkpoint_best.pt"]
        check_not_read(written, self.data)
        data = demo_data.prepare(self.output, self.data, self.jsonl_key, self.vocab_size, self.threads, self.force)
        if self.precision == "bf16":
            print("training in bfloat16 under autocast (--mixed-precision none: in float32)")
        self.train(data)
        self.report(data)
        seconds = time.monotonic() - start
        print(f"\n{seconds:.0f} s in all with --threads {self.threads}; everything is in {self.output}/")

    def train(self, data: dict[str, Any]) -> None:
        """Train the models with fairseq-train, one after the other; skip finished ones, resume interrupted ones."""
        jobs = []
        for name in self.variants:
            options = self.command(name)
            identity = {"recipe": options, "data": data}
            words = ("fairseq-train", *options)
            jobs.append(
                Job(name, words, self.updates, identity, checkpoints=("checkpoint_best.pt",), finish=drop_stages)
            )
        resources = Resources(threads=self.threads)
        with Runner(
            self.output, resources, total=len(jobs), changed="redo", fresh=self.force, title="models"
        ) as runner:
            done = runner.done(jobs)
            for name in self.variants:
                folder = self.output / name
                state = "resuming" if (folder / "checkpoint_last.pt").exists() and not self.force else "training"
                what = "finished already" if name in done else f"{state}, {self.updates} updates"
                print(f"{name}: {what} (log: {folder / 'train.log'})", flush=True)
            runner.run(jobs)

    def command(self, name: str) -> list[str]:
        """Return the arguments of fairseq-train for a model."""
        every = max(1, self.updates // VALIDATIONS)
        warmup = 3 * self.updates // 10  # with a tenth, some seeds learn token frequencies only
        schedule = (
            f"--max-update {self.updates} --total-num-update {self.updates} --warmup-updates {warmup} "
            f"--save-interval-updates {every} --log-interval {max(1, self.updates // 100)} "
            f"--seed {self.seed} --mixed-precision {self.precision}"
        )
        options = [part.format(user_dir=os.path.relpath(USER_DIR)) for part in OPTIONS.split()]
        places = [str(self.output / "data"), "--save-dir", str(self.output / name)]
        return [*places, *VARIANTS[name].split(), *options, *schedule.split()]

    def report(self, data: dict[str, Any]) -> None:
        """Print the table and the filled masks, draw the curves, write results.json."""
        unigram = data["unigram_perplexity"]
        print(f"\n{'model':<14}{'parameters':>12}{'valid. ppl':>12}{'tokens/s':>10}{'seconds':>9}")
        print(f"{'(unigram)':<26}{unigram:>12.1f}")
        results, found = {}, {}
        for name in self.variants:
            with opened(self.output / name / "train.log") as log:
                records = logs.read_log(log)
            model: Any = hub.load(str(self.output / name / "checkpoint_best.pt"))  # a masked LM
            parameters = sum(p.numel() for p in model.parameters())
            s, found[name] = curves.summarize(records), curves.curve(records, "ppl")
            print(f"{name:<14}{parameters:>12,}{s.perplexity:>12.1f}{s.tokens_per_second:>10,.0f}{s.seconds:>9.0f}")
            results[name] = {"parameters": parameters, **vars(s), "validation": [c.tolist() for c in found[name]]}
        best = min(results, key=lambda name: results[name]["perplexity"])
        print_masks(data["sentences"], self.output / best / "checkpoint_best.pt", best)
        if self.share is not None:
            path = self.share / "checkpoint_best.pt"
            sharing.slim(self.output / best, path)
            print(f"\n{path}: {best} without the optimizer state, {path.stat().st_size / 1e6:.1f} MB")
        draw(self.output / "validation_curves.png", found, unigram, best)
        settings = {"threads": self.threads, "seed": self.seed, "mixed_precision": self.precision}
        write_json(self.output / "results.json", {**settings, "data": data, "models": results}, indent=1)


def drop_stages(folder: Path, device: str) -> dict:
    """Delete the checkpoints of earlier stages of a finished model."""
    for path in folder.glob("checkpoint_*_*.pt"):
        path.unlink()
    return {}


def print_masks(sentences: Sequence[str], checkpoint: Path, name: str) -> None:
    """Print sentences with the three most probable words for the mask of each."""
    print(f"\nmasks filled by {name}:")
    model: Any = hub.load(str(checkpoint))  # a masked LM
    filled = model.fill_mask(sentences, topk=3)
    for sentence, answers in zip(sentences, filled, strict=True):
        # sentencepiece writes ▁ for a blank, which may be a token by itself
        words = "   ".join(f"{word.strip() or '▁'} {probability:.2f}" for _, probability, word in answers)
        print(printable(f"  {sentence}\n    {words}"))


def draw(path: Path, found: dict, unigram: float, best: str) -> None:
    """Draw the validation curves."""
    updates, values = found[best]
    title = f"{best} has the lowest validation perplexity, {min(values):.0f}, after {max(updates)} updates"
    subtitle = "models of about a million parameters, one run each with the same data, seed and schedule"
    plots.validation_curves(path, found, title, subtitle, unigram)
    print(f"\nvalidation curves: {path}")
