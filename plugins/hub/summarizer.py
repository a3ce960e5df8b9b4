"""Summaries by a causal LM, or by copying the first sentences."""

import itertools
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from plugins import checkpoints
from plugins.analysis.metrics import rouge
from plugins.checkpoints import find_checkpoint
from plugins.data.summaries.dataset import Layout
from plugins.errors import UserError, check
from plugins.modules import generation
from plugins.modules.constraints import Constraints

from .causal_lm import CausalLM
from .gpt2 import is_folder

SORTED_AT_ONCE = 16  # batches, within which documents are sorted by length so that little is padding


class Summarizer:
    """A causal LM that continues a document and a separator with a summary.

    Args:
        lm: a :class:`plugins.hub.CausalLM`.
        separator: a token of the model, written ``<|...|>``; words; or "" for none.

    Raises:
        UserError: the model has no such token.
    """

    def __init__(self, lm: CausalLM, separator: str):
        known = len(lm.dictionary)
        self.lm, self.layout = lm, Layout.of(separator, lm.dictionary)
        check(
            len(lm.dictionary) == known,
            f"--separator {separator}: the model has no such token; use the one that it was trained with, or words",
        )

    @classmethod
    @checkpoints.reading_once()
    def from_pretrained(
        cls, path: str | Path, separator: str | None = None, base: str | Path | None = None
    ) -> "Summarizer":
        """Load a checkpoint, by default with the separator of its training.

        Args:
            path, base: those of :meth:`plugins.hub.CausalLM.from_pretrained`.
            separator: see the class; required for a model that was not trained to summarize.

        Raises:
            UserError: a file is missing or damaged, or the separator is not known.
        """
        if separator is None and not is_folder(path):
            separator = (checkpoints.read_state(find_checkpoint(path)).get("task_state") or {}).get("separator")
        if separator is None:
            raise UserError(
                f"{path}: was not trained by --task summarization; give the text before a summary, for example "
                "--separator 'TL;DR:'"
            )
        return cls(CausalLM.from_pretrained(path, None if base is None else str(base)), separator)

    def summaries(
        self, documents: Iterable[str], names: Iterable[Any] | None = None, max_length: int = 64, min_length: int = 0,
        no_repeat_ngram: int = 0, force: Sequence[str] = (), forbid: Sequence[str] = (),
        document_tokens: int | None = None, batch_size: int = 8, compiled: bool | None = None, **search: Any,
    ) -> Iterator[str]:  # fmt: skip
        """Check the arguments, and return an iterator over the summaries of documents, in their order.

        Args:
            documents: any iterable of texts; they are read as they are needed.
            names: an iterable of their names, which seed what is drawn for each (their numbers).
            max_length, min_length: most and fewest tokens of a summary.
            no_repeat_ngram: no n-gram of this length occurs twice in a summary; 0 for no such rule.
            force: words that every summary contains, as the tokenizer writes them at the start of a text or within it.
            forbid: texts that no summary contains, as given or capitalized, also within longer words and however the
                tokenizer splits them.
            document_tokens: cut documents to so many tokens (as many as fit the model).
            batch_size: documents side by side.
            compiled: see :meth:`plugins.hub.CausalLM.steps`.
            search: the fields of :class:`plugins.modules.generation.Search`.

        Raises:
            UserError: an argument is invalid, or leaves no room for a document.
        """
        room = self.lm.block_size - max_length
        check(
            room > len(self.layout.separator),
            f"a summary of {max_length} tokens leaves no room for a document: the model takes {self.lm.block_size}",
        )
        check(batch_size > 0, f"batch_size {batch_size}: must be positive")
        check(document_tokens is None or document_tokens > 0, f"document_tokens {document_tokens}: must be positive")
        room = min(room, (document_tokens or room) + len(self.layout.separator))
        forms = forbidden_forms(force, forbid)
        forced = tuple(self.ways(word) for word in force)
        breaks = self.spelling(forms) if forms else None
        try:
            rules = Constraints(self.layout.end, max_length, min_length, no_repeat_ngram, (), forced, breaks)
            chosen = generation.Search(**search)
        except (ValueError, TypeError) as error:
            raise UserError(str(error)) from None
        named = zip(itertools.count() if names is None else names, documents)  # noqa: B905 (there may be more names)
        return self.in_order(named, room, rules, chosen, batch_size, compiled)

    def ways(self, word: str) -> tuple[tuple[int, ...], ...]:
        """Return the tokens of a word at the start of a text and within it.

        Raises:
            UserError: the tokenizer cannot encode the word.
        """
        encode = self.lm.dictionary.tokenizer.encode
        return tuple(dict.fromkeys(tuple(encode(blank + word)) for blank in ("", " ")))

    def spelling(self, texts: Sequence[str]) -> Callable[[Sequence[int]], bool]:
        """Return a function that decides whether the last of several tokens completes one of ``texts`` (in NFC).

        Characters that are invisible inside a word do not hide one.
        """
        visible = [rouge.normalized(text) or text for text in texts]
        longest = max(map(len, texts))

        def completes(tokens: Sequence[int]) -> bool:
            context = 4 * longest + 8  # a character is up to four tokens, one per byte
            while True:
                text = unicodedata.normalize("NFC", self.lm.decode(list(tokens[-context:])))
                seen = rouge.normalized(text)
                if len(seen) > longest or context >= len(tokens):
                    return any(form in text for form in texts) or any(form in seen for form in visible)
                context *= 2  # invisible characters fill it

        return completes

    def in_order(
        self,
        named: Iterator[tuple[Any, str]],
        room: int,
        rules: Constraints,
        search: generation.Search,
        batch_size: int,
        compiled: bool | None,
    ) -> Iterator[str]:
        """Yield the summaries of (name, document) pairs in their order, generated in batches of similar length.

        Raises:
            UserError: a document has no tokens, and the model has no separator.
        """
        while some := list(itertools.islice(named, SORTED_AT_ONCE * batch_size)):
            prompts = [self.prompt(document, room) for _, document in some]
            for (name, _), prompt in zip(some, prompts, strict=True):
                check(len(prompt), f"document {name}: has no tokens, and the model has no separator to begin with")
            order = sorted(range(len(some)), key=lambda i: len(prompts[i]))
            found: dict[int, str] = {}
            for first in range(0, len(order), batch_size):
                batch = order[first : first + batch_size]
                texts = generation.generate(
                    self.lm.stepper, [prompts[i] for i in batch], rules, search, [some[i][0] for i in batch], compiled
                )
                found |= {i: self.lm.decode(text).strip() for i, text in zip(batch, texts, strict=True)}
            yield from (found[i] for i in range(len(some)))

    def prompt(self, document: str, room: int) -> Tensor:
        """Return the tokens (T,) of a document, cut to ``room``, and the separator."""
        tokens = self.layout.prompt(self.lm.dictionary.tokenizer.encode(document), room)
        return tokens.to(self.lm.device)


def forbidden_forms(force: Sequence[str], forbid: Sequence[str]) -> tuple[str, ...]:
    """Return the forms of forbidden texts, as given and capitalized, in NFC.

    Raises:
        UserError: an empty text, or a forced word that contains a forbidden text, with or without characters that are
            invisible inside a word.
    """
    forms = tuple(unicodedata.normalize("NFC", form) for text in forbid for form in (text, text.capitalize()))
    check(all(forms), "--forbid '': every summary contains the empty text; give a word")
    for word in force:
        spellings = unicodedata.normalize("NFC", word), rouge.normalized(word)
        forbidden = next((f for f in forms for text in spellings if (rouge.normalized(f) or f) in text), None)
        check(forbidden is None, f"--force {word} --forbid {forbidden}: the same text is forced and forbidden")
    return tuple(dict.fromkeys(forms))


class Lead:
    """The baseline that copies the first sentences of a document."""

    def __init__(self, sentences: int):
        self.sentences = sentences

    def summaries(self, documents: Iterable[str]) -> Iterator[str]:
        """Yield the first sentences of documents."""
        for document in documents:
            yield "\n".join(itertools.islice(rouge.sentences(document), self.sentences))
