"""Prepare a data folder from text of any size: survey, train a tokenizer, encode shards, join them."""

import hashlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from plugins.atomic import make_folder, rename_new, temporary_folder
from plugins.data.mlm.corpus import Corpus, CorpusSettings, StoredSurvey, text_digest
from plugins.data.mlm.encoding import BlockEncoder
from plugins.data.mlm.folder import MANIFEST, check_output, folder_files, new_folder, raw_folder
from plugins.data.mlm.shard import SplitReport, encode_shard, join_shards
from plugins.data.mlm.workers import ordered_map
from plugins.data.text.tokenizers import (
    GPT2_FILES,
    SENTENCEPIECE_FILE,
    GPT2Tokenizer,
    LineTokenizer,
    SentencePieceTokenizer,
)
from plugins.errors import UserError
from plugins.files import check_not_read, read_json, write_json
from plugins.locks import try_lock

VOCABULARY = 8000
SETTINGS = "settings.json"


class Preparation(CorpusSettings):
    """The preparation of a data folder."""

    def inputs(self) -> list[str | Path]:
        """Return the files and folders that are read."""
        gpt2 = [Path(self.gpt2_dir, name) for name in GPT2_FILES] if self.gpt2_dir else []
        model = [self.sentencepiece_model] if self.sentencepiece_model else []
        return [*(self.train or ()), *(self.valid or ()), *(self.test or ()), *model, *gpt2]

    def run(self) -> list[SplitReport]:
        """Prepare the folder; progress goes to stderr.

        With several shards each is kept in ``OUTPUT.shards`` once it is complete, and a later call with the same
        settings continues with the others. The call that completes the last one joins them and removes that folder.

        Returns:
            The size of each split; nothing if other shards are missing.

        Raises:
            UserError: a file cannot be read or would be overwritten, there is too little text, or the folder may not or
                cannot be written. Nothing but complete shards is written then.
        """
        check_output(self.output, self.force)  # before minutes of work
        check_not_read([os.path.join(self.output, name) for name in folder_files(self.shards)], self.inputs())
        given = self.given_tokenizer()
        if self.shards == 1:
            with new_folder(self.output, self.force) as folder, raw_folder(folder) as work:
                shards = Shards(self, Corpus(self, spool=work), work, given)
                shards.complete([0])
                return shards.join(folder)
        work = Path(f"{os.path.realpath(self.output)}.shards")
        shards = Shards(self, Corpus(self, spool=None), work, given)
        shards.open()
        shards.complete(range(self.shards) if self.shard_index is None else [self.shard_index])
        return shards.join_if_complete()

    def given_tokenizer(self) -> LineTokenizer | None:
        """Return the tokenizer that the settings name, or None if one is to be trained."""
        if self.gpt2_dir:
            return GPT2Tokenizer(self.gpt2_dir)
        if self.sentencepiece_model:
            return SentencePieceTokenizer.from_file(self.sentencepiece_model)
        return None

    def unfinished(self) -> int:
        """Return how many shards of several are missing after :meth:`run` returned nothing."""
        work = Path(f"{os.path.realpath(self.output)}.shards")
        return sum(not shard_path(work, index).exists() for index in range(self.shards))


class Shards:
    """The shards of a preparation in their folder: each is complete or missing.

    Args:
        settings: settings of the preparation.
        corpus: its text.
        work: the folder.
        given: the tokenizer; None if one is to be trained.
    """

    def __init__(self, settings: Preparation, corpus: Corpus, work: Path, given: LineTokenizer | None):
        self.settings, self.corpus, self.work, self.given = settings, corpus, work, given
        self.survey: StoredSurvey | None = None
        self.tokenizer = given

    def open(self) -> None:
        """Create the folder, or check that an earlier call created it with the same settings.

        Raises:
            UserError: the settings or the files are others.
        """
        settings = self.corpus.fingerprint() | {"tokenizer": self.tokenizer_record()}
        path = self.work / SETTINGS
        if self.work.exists() and any(self.work.iterdir()):
            found = read_json(path, dict) if path.exists() else {}
            if changed := [name for name in settings if found.get(name) != settings[name]]:
                raise UserError(
                    f"{self.work}: started with other {' and '.join(changed)}; remove this folder to start again, or "
                    "give the settings of the interrupted call to continue it"
                )
            return
        make_folder(self.work)
        write_json(path, settings)

    def tokenizer_record(self) -> dict[str, Any]:
        """Return the name and the digests of the files of the given tokenizer, or what is to be trained."""
        if self.given is None:
            return {"name": "sentencepiece", "vocab_size": self.settings.vocab_size}
        return described(self.given)

    def complete(self, indices: Sequence[int]) -> None:
        """Encode those of some shards that are missing.

        Raises:
            UserError: a file cannot be read, has no text, is not UTF-8, or there is too little text.
        """
        missing = [index for index in indices if not shard_path(self.work, index).exists()]
        self.begin(missing)
        if not missing:
            return
        assert self.tokenizer is not None
        options = self.corpus.options
        encoder = BlockEncoder(self.tokenizer, options.jsonl_key, options.whole_documents)
        with ordered_map(encoder, options.workers) as encode:
            for index in missing:
                path = shard_path(self.work, index)
                with temporary_folder(path) as part:
                    encode_shard(part, self.corpus.work(self.survey, index), encoder.encode, encode)
                    rename_new(part, path)  # unless another process has written it

    def begin(self, missing: Sequence[int]) -> None:
        """Survey the text and train the tokenizer where that is needed, or read what an earlier call found."""
        settings = self.settings
        if settings.valid and not settings.deduplicate and self.given is not None:
            return
        alone = settings.shard_index is not None
        folder = self.work / (f"survey-{settings.shard_index}" if alone else "survey")
        if not folder.exists():
            with temporary_folder(folder) as part:
                wanted = list(missing) if alone else list(range(settings.shards))
                _, lines = self.corpus.survey(part, wanted, sample=self.given is None)
                if lines is not None:
                    (part / SENTENCEPIECE_FILE).write_bytes(self.trained(lines))
                rename_new(part, folder)
        self.survey = StoredSurvey(folder)
        if self.given is None:
            self.tokenizer = SentencePieceTokenizer.from_file(folder / SENTENCEPIECE_FILE)

    def trained(self, lines: Sequence[str]) -> bytes:
        """Return a new sentencepiece model."""
        settings = self.settings
        size, exact = (VOCABULARY, False) if settings.vocab_size is None else (settings.vocab_size, True)
        # sentencepiece reports no progress: show a bar without a length
        what = f"training a sentencepiece model on {len(lines):,} lines"
        with tqdm(desc=what, bar_format="{desc}", leave=False, disable=None):
            tokenizer = SentencePieceTokenizer.train(lines, size, exact=exact, seed=settings.seed)
        return tokenizer.files()[SENTENCEPIECE_FILE]

    def join(self, folder: Path) -> list[SplitReport]:
        """Write the data folder, with a manifest, from the complete shards."""
        assert self.tokenizer is not None
        options, paths = self.corpus.options, [shard_path(self.work, i) for i in range(self.settings.shards)]
        reports, record = join_shards(folder, paths, self.tokenizer, self.corpus.splits)
        if self.corpus.documents is not None:
            digest = text_digest(self.corpus.documents)
            record["sources"]["train"] = [{"installed documentation": len(self.corpus.documents), "sha256": digest}]
        names = ("items", "jsonl_key", "valid_fraction", "deduplicate", "shards", "seed")
        manifest = {
            "format": 1,
            "settings": {name: getattr(options, name) for name in names},
            "tokenizer": described(self.tokenizer),
            "duplicates": self.survey.duplicates if self.survey and options.deduplicate else None,
        }
        dictionary = hashlib.sha256((folder / "dict.txt").read_bytes()).hexdigest()
        record["files"]["dict.txt"] = {"bytes": (folder / "dict.txt").stat().st_size, "sha256": dictionary}
        write_json(folder / MANIFEST, manifest | record, indent=1)
        return reports

    def join_if_complete(self) -> list[SplitReport]:
        """Write the data folder and remove the shards if all are complete and no other process does so."""
        if self.settings.unfinished():
            return []
        lock = try_lock(self.work)
        if lock is None:
            return []
        with lock:
            if self.settings.unfinished():  # another process has just joined them
                return []
            with new_folder(self.settings.output, self.settings.force) as folder:
                reports = self.join(folder)
            shutil.rmtree(self.work)
        return reports


def shard_path(work: Path, index: int) -> Path:
    """Return the folder of a complete shard."""
    return work / f"{index:05d}"


def described(tokenizer: LineTokenizer) -> dict[str, Any]:
    """Return the name of a tokenizer and the SHA-256 of each of its files."""
    files = {name: hashlib.sha256(content).hexdigest() for name, content in tokenizer.files().items()}
    return {"name": tokenizer.name, "files": files}
