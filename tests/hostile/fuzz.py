"""Mutate files for a while and give them to every reader: ``python tests/hostile/fuzz.py --seconds 600``.

A reader may return a result or raise one :class:`plugins.errors.UserError`. Anything else is a finding: it is printed
with the file, which is kept in ``--findings``, and the exit status is 1. hypothesis draws the mutations.
"""

import argparse
import contextlib
import io
import json
import logging
import os
import resource
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(Path(__file__).parent)]
MOST_MEMORY = 1 << 20  # KiB that all readers together may add
MOST_SECONDS = 10.0  # of a reader with a file of some kilobytes

INTERESTING = st.sampled_from([
    b"\x00", b"\xff", b"\n", b"\r", b"\t", b'"', b"\x1b[31m", b"\xef\xbb\xbf", b"\xe2\x80\xae", b"[" * 500, b"{" * 500,
    b"9" * 5000, b"1e999", b"-1", b"NaN", b"null", b"${oc.env:HOME}", b"!!python/object:os.system", b"&a [*a]",
    b"../" * 9, b"https://example.org", b"=1+1", b"\x80\x04", b"PK\x03\x04", b"true", b"4294967296",
])  # fmt: skip
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@st.composite
def mutated_bytes(draw, data):
    """Return bytes with up to eight changes: replaced, inserted, removed, doubled or cut off."""
    data = bytearray(data)
    for _ in range(draw(st.integers(1, 8))):
        where = draw(st.integers(0, len(data)))
        match draw(st.integers(0, 4)):
            case 0:
                data[where : where + draw(st.integers(0, 4))] = draw(st.binary(max_size=4))
            case 1:
                data[where:where] = draw(INTERESTING)
            case 2:
                del data[where : where + draw(st.integers(1, 200))]
            case 3:
                data[where:where] = data[where : where + draw(st.integers(1, 200))]
            case 4:
                del data[where:]
    return bytes(data)


@st.composite
def mutated_plain(draw, value):
    """Return plain data in which values somewhere are replaced, removed or renamed."""
    for _ in range(draw(st.integers(1, 4))):
        value = _change(draw, value)
    return value


def _change(draw, value, depth=0):
    if isinstance(value, dict) and value and (depth < 1 or draw(st.integers(0, 3))):
        key = draw(st.sampled_from(sorted(value, key=str)))
        changed = dict(value)
        match draw(st.integers(0, 5)):
            case 0:
                del changed[key]
            case 1:
                changed[draw(PLAIN.filter(lambda k: isinstance(k, (str, int))))] = changed.pop(key)
            case _:
                changed[key] = _change(draw, value[key], depth + 1)
        return changed
    if isinstance(value, list) and value and draw(st.integers(0, 3)):
        index = draw(st.integers(0, len(value) - 1))
        return [*value[:index], _change(draw, value[index], depth + 1), *value[index + 1 :]]
    return draw(PLAIN)


class Readers:
    """Good files of every kind, and what reads them."""

    def __init__(self, folder: Path):
        import torch
        import toy

        from plugins import checkpoints, hub
        from plugins.data.text.causal_tokenizers import Characters
        from plugins.data.text.token_dictionary import TokenDictionary
        from plugins.models.causal_lm import CausalLanguageModel

        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.torch = folder, torch
        data = toy.make_data(folder / "data")
        toy.save_masked_lm(self.made("masked"), data)
        toy.save_char_lm(toy.make_char_lm(styles=("a", "b")), self.made("char") / "checkpoint_best.pt")
        sizes = {"decoder_layers": 1, "decoder_attention_heads": 2, "decoder_embed_dim": 8, "block_size": 8}
        model = checkpoints.new_model(CausalLanguageModel, sizes, TokenDictionary(Characters("abcd")))
        checkpoints.write_causal_lm(self.made("causal") / "checkpoint_best.pt", model)
        self.states = {
            place / "checkpoint_best.pt": torch.load(place / "checkpoint_best.pt", weights_only=True)
            for place in (folder / "masked", folder / "char", folder / "causal")
        }
        self.files = {
            folder / "causal" / "characters.json": (None, None, lambda p: hub.load(str(p.parent))),
            folder / "masked" / "dict.txt": (None, None, lambda p: hub.load(str(p.parent))),
            folder / "masked" / "sentencepiece.bpe.model": (None, None, lambda p: hub.load(str(p.parent))),
        }
        self.files |= (
            text_files(self.made("texts")) | diagnostics_files(self.made("diagnostics")) | rows_files(self.made("rows"))
        )
        for path, (write, content, _) in list(self.files.items()):
            if write is not None:
                write(path, content)
            elif not path.exists():
                del self.files[path]
        self.good = {path: path.read_bytes() for path in (*self.files, *self.states)}

    def made(self, name):
        (self.folder / name).mkdir(exist_ok=True)
        return self.folder / name

    def check_good(self):
        """Check that every reader accepts the unmutated file; otherwise the fuzzer would test nothing."""
        for path, (_, _, read) in self.files.items():
            read(path)
        for path in self.states:
            self.load(path)

    def load(self, path):
        from plugins import hub

        return hub.load(str(path))

    @contextlib.contextmanager
    def replaced(self, path, content):
        path.write_bytes(content)
        try:
            yield
        finally:
            path.write_bytes(self.good[path])

    def with_plain(self, path, draw):
        """Return the bytes of a checkpoint whose options and bookkeeping are mutated."""
        state = dict(self.states[path])
        part = draw(st.sampled_from(sorted(set(state) - {"model"})))
        state[part] = draw(mutated_plain(state[part]))
        if draw(st.booleans()):
            names = sorted(state["model"])
            name = draw(st.sampled_from(names))
            weights = dict(state["model"])
            weights[name] = draw(st.sampled_from([
                weights[name].flatten(), weights[name].flatten()[:0], weights[name].half(), weights[name].bool(),
                self.torch.ones(()).expand(10**5, 10**5), weights[name] * float("nan"), weights[name].to_sparse(),
            ]))  # fmt: skip
            state["model"] = weights
        file = io.BytesIO()
        self.torch.save(state, file)
        return file.getvalue()


def text_files(folder):
    """Return {path: (write, content, read)} of the files of tasks, options, characters, logs and summaries."""
    import toy

    from plugins import files
    from plugins.analysis.runs import logs
    from plugins.data.glue import reader as glue_reader
    from plugins.data.glue import specs
    from plugins.data.summaries import reader as summaries
    from plugins.hub.characters import read_characters

    spec = {"name": "mine", "files": {"train": "train.tsv", "valid": "dev.tsv"}, "text": ["text"],
            "label": "label", "labels": ["yes", "no"], "metrics": ["accuracy"]}  # fmt: skip
    pairs = "article,highlights\n" + "".join(f'"a text, {i}","its {i}"\n' for i in range(9))
    lines = "".join(json.dumps({"document": f"text {i}", "summary": "s"}) + "\n" for i in range(9))
    log = toy.inner_line(10) + toy.valid_line(20, "3.5")
    task = specs.SPECS["CoLA"]
    cola = "".join(f"gj04\t{i % 2}\t\tA sentence {i}.\n" for i in range(9))
    return {
        folder / "spec.yaml": (files.write_text, json.dumps(spec), lambda p: specs.read(str(p))),
        folder / "options.yaml": (files.write_text, "a: [1, 2]\nb: {c: yes}\n", files.read_yaml),
        folder / "train.tsv": (files.write_text, cola, lambda p: glue_reader.read(p, task, "train")),
        folder / "rows.csv": (files.write_text, pairs, lambda p: list(summaries.read(p))),
        folder / "rows.jsonl": (files.write_text, lines, lambda p: list(summaries.read(p))),
        folder / "characters.json": (files.write_text, '{"0": "a", "1": "b"}', read_characters),
        folder / "config.json": (files.write_text, '{"a": [1, {"b": null}], "c": 1.5}', files.read_json),
        folder / "train.log": (files.write_text, log, lambda p: logs.read_run(p)),
    }


def diagnostics_files(folder):
    """Return {path: (write, content, read)} of the files that the diagnostics read."""
    from plugins import files
    from plugins.diagnostics import datasets, formats, mending, planted, specifications

    spec = "- {name: a, label: x, queries: [one, two], held_out: [three]}\n- {name: b, label: y, queries: [four]}\n"
    table = "text,label\n" + "".join(f'"text, {i}",{"xy"[i % 2]}\n' for i in range(9))
    review = {"row": 0, "index": "0", "texts": ["a"], "given_label": "x", "label": "y", "is_error": True}
    pvi = "sentence1,label,H_yb,H_yx\n" + "".join(f"text {i},{i % 2},1.0,0.{i}\n" for i in range(9))
    return {
        folder / "specs.yaml": (files.write_text, spec, specifications.read),
        folder / "rows.csv": (files.write_text, table, lambda p: datasets.read_files([p])),
        folder / "train.csv": (files.write_text, table, lambda p: mending.cells(p, ["text"], "label")),
        folder / "review.jsonl": (files.write_text, json.dumps(review) + "\n", mending.read_review),
        folder / "pvi.csv": (files.write_text, pvi, formats.read),
        folder / "planted.npz": (lambda p, _: planted.write(p, toy_planted()), "", lambda p: planted.read([p])),
    }


def rows_files(folder):
    """Return {path: (write, content, read)} of the files that embeddings and preferences read."""
    from plugins import files
    from plugins.data.embedding import rows, specs, vectors
    from plugins.data.preference import rows as preferences

    spec = {"name": "mine", "files": {"train": "train.tsv"}, "text": ["a", "b"], "label": "label",
            "labels": ["yes", "no"]}  # fmt: skip
    pairs = specs.RowSpec("mine", {"train": "train.tsv"}, ("a", "b"), "label", ("yes", "no"), (), {}, ())
    table = "a\tb\tlabel\n" + "".join(f"one {i}\ttwo {i}\t{('yes', 'no')[i % 2]}\n" for i in range(9))
    chosen = "".join(json.dumps({"chosen": f"good {i}", "rejected": "bad", "margin": 1.5}) + "\n" for i in range(9))
    rated = "text,score\n" + "".join(f"text {i},0.{i}\n" for i in range(9))
    return {
        folder / "spec.yaml": (files.write_text, json.dumps(spec), lambda p: specs.read(str(p))),
        folder / "train.tsv": (files.write_text, table, lambda p: rows.read(p, pairs)),
        folder / "chosen.jsonl": (files.write_text, chosen, preferences.read),
        folder / "rated.csv": (files.write_text, rated, preferences.read),
        folder / "vectors.npz": (lambda p, _: vectors.write(p, [toy_vectors()]), "", vectors.read),
    }


def toy_vectors():
    import numpy as np

    return np.ones((3, 2), np.float32), ["0", "1", "2"], ["a", "b", "c"]


def toy_planted():
    import numpy as np

    from plugins.diagnostics import planted

    labels = np.arange(6) % 2
    one = planted.Planting("pair", 0.1, 1, 1 - labels)
    return planted.Planted(labels, ["x", "y"], labels, [one], [np.zeros((1, 6, 2), np.float32)])


class Report:
    """The outcome for each file."""

    def __init__(self, findings: Path):
        self.findings, self.counts, self.found = findings, Counter(), {}

    def attempt(self, kind, path, read):
        from plugins.errors import UserError

        begun = time.process_time()
        try:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                read(path)
            outcome = "result"
        except UserError as error:
            outcome = "error in one line"
            if "\n" in str(error) or len(str(error)) > 2100:
                self.keep(kind, path, f"not one line of at most 2,100 characters: {str(error)[:200]!r}")
        except Exception as error:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{Path(frame.filename).name}:{frame.lineno}"
            self.keep(kind, path, f"{type(error).__name__} at {where}: {str(error)[:120]}", (type(error), where))
            outcome = "finding"
        if time.process_time() - begun > MOST_SECONDS:
            self.keep(kind, path, f"took {time.process_time() - begun:.0f} s", ("slow", kind))
        self.counts[kind, outcome] += 1

    def keep(self, kind, path, what, key=None):
        key = (kind, key or what)
        if key not in self.found:
            self.findings.mkdir(parents=True, exist_ok=True)
            kept = self.findings / f"{len(self.found):03d}-{path.name}"
            kept.write_bytes(path.read_bytes())
            print(f"{kind}: {what} ({kept})", flush=True)
            self.found[key] = what


def fuzz_file(path: Path, readers: Readers, report: Report, seed: int) -> None:
    """Give 20 mutations of a file to its reader."""
    read = readers.files[path][2] if path in readers.files else readers.load
    checks = list(HealthCheck)

    @seeded(seed)
    @settings(max_examples=20, deadline=None, database=None, suppress_health_check=checks, print_blob=False)
    @given(st.data())
    def one(data):
        plain = path in readers.states and data.draw(st.integers(0, 3))
        content = readers.with_plain(path, data.draw) if plain else data.draw(mutated_bytes(readers.good[path]))
        with readers.replaced(path, content):
            report.attempt(f"{path.parent.name}/{path.name}", path, read)

    one()


def run(seconds: float, seed: int, folder: Path, findings: Path) -> Report:
    """Fuzz every reader in turn until the time is over."""
    readers, report = Readers(folder), Report(findings)
    readers.check_good()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    end, round_ = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        round_ += 1
        for path in (*readers.files, *readers.states):
            fuzz_file(path, readers, report, seed * 1_000_003 + round_)
            if time.monotonic() > end:
                break
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory
    report.counts["memory", "MiB added"] = grown >> 10
    if grown > MOST_MEMORY:
        report.found["memory", "grown"] = f"{grown >> 10} MiB added"
        print(f"memory: {grown >> 10} MiB added")
    return report


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="how long (default: 60)")
    parser.add_argument("--seed", type=int, default=1, help="of the mutations (default: 1)")
    parser.add_argument("--findings", type=Path, default=Path("findings"), help="folder for what was found")
    args = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        report = run(args.seconds, args.seed, Path(folder), args.findings)
    kinds = sorted({kind for kind, _ in report.counts})
    for kind in kinds:
        print(f"{kind:40}", ", ".join(f"{n:,} {what}" for (k, what), n in sorted(report.counts.items()) if k == kind))
    files = sum(n for (_, what), n in report.counts.items() if what != "MiB added")
    print(f"{files:,} files, {len(report.found)} findings")
    return 1 if report.found else 0


if __name__ == "__main__":
    sys.exit(main())
