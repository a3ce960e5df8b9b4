"""Sentencepiece models, unigram or BPE, as pipelines of the tokenizers library with the same encoding."""

from collections.abc import Sequence
from typing import Any

import sentencepiece

from plugins.data.dictionaries import FILLER

from .protobuf import fields

SPACE = "\u2581"
# Numbers of sentencepiece_model.proto
PIECES, TRAINER, NORMALIZER = 1, 2, 3
MODEL_TYPE, BPE, BYTE_FALLBACK = 3, 2, 35
CHARSMAP, DUMMY_PREFIX, REMOVE_SPACES = 2, 3, 4
NORMAL, UNKNOWN, USER_DEFINED = 1, 2, 4
BLANKS = r"[\t-\r\x1c-\x20\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}]"  # Python's \s
CUT = "\x01"
NEVER = -1e6  # score of pieces that text must never become; any text costs less in other pieces


class Pieces:
    """The components of a sentencepiece model.

    Args:
        processor: the loaded model.
    """

    def __init__(self, processor: sentencepiece.SentencePieceProcessor):
        model = fields(processor.serialized_model_proto())
        trainer, normalizer = (fields(model.get(part, [b""])[-1]) for part in (TRAINER, NORMALIZER))
        pieces = [fields(piece) for piece in model[PIECES]]
        self.pieces = [(p[1][-1].decode(), p.get(2, [0.0])[-1], p.get(3, [NORMAL])[-1]) for p in pieces]
        self.unknown = next((piece for piece, _, kind in self.pieces if kind == UNKNOWN), "<unk>")
        self.is_bpe = trainer.get(MODEL_TYPE, [1])[-1] == BPE
        self.byte_fallback = bool(trainer.get(BYTE_FALLBACK, [0])[-1])
        self.charsmap = normalizer.get(CHARSMAP, [b""])[-1]
        self.dummy_prefix = bool(normalizer.get(DUMMY_PREFIX, [1])[-1])
        self.remove_spaces = bool(normalizer.get(REMOVE_SPACES, [1])[-1])

    def tokenizer(self, symbols: Sequence[str], unknown: str | None = None, by_blanks: bool = False) -> Any:
        """Return a tokenizer of the tokenizers library.

        Args:
            symbols: in the order of their indices; those that are not pieces are never produced from text.
            unknown: the symbol of unknown text; None for the model's own.
            by_blanks: white space that the normalizer leaves comes from no piece: fairseq joins pieces by blanks, and
                splits them at any white space.
        """
        from tokenizers import Tokenizer, decoders, pre_tokenizers

        unknown = unknown or self.unknown
        # Normalized text has no blank, so it never becomes a filler.
        symbols = [symbol.replace(FILLER, f"{FILLER} ") if symbol.startswith(FILLER) else symbol for symbol in symbols]
        model = self.bpe(symbols, unknown) if self.is_bpe else self.unigram(symbols, unknown)
        tokenizer = Tokenizer(model)
        tokenizer.normalizer = self.normalizer()
        if splits := self.splits(symbols, by_blanks):
            tokenizer.pre_tokenizer = pre_tokenizers.Sequence(splits)
        steps = [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
        if self.dummy_prefix:
            steps.append(decoders.Strip(" ", 1, 0))
        tokenizer.decoder = decoders.Sequence(steps)
        return tokenizer

    def normalizer(self) -> Any:
        """Return the equivalent of sentencepiece's normalizer, including whitespace."""
        from tokenizers import Regex, normalizers

        steps: list[Any] = []
        if self.charsmap:
            # The library maps whole grapheme clusters, sentencepiece the longest prefix: compose what can be composed,
            # and end each cluster before a mark.
            steps += [normalizers.NFC(), normalizers.Replace(Regex(r"(?=\p{M})"), CUT)]
            steps += [normalizers.Precompiled(self.charsmap), normalizers.Replace(CUT, "")]
        if self.remove_spaces:
            steps += [normalizers.Replace(Regex(" {2,}"), " "), normalizers.Replace(Regex("^ +| +$"), "")]
        if self.dummy_prefix:
            steps.append(normalizers.Prepend(SPACE))
        steps.append(normalizers.Replace(" ", SPACE))
        if self.remove_spaces:
            steps.append(normalizers.Replace(Regex(f"{SPACE}+$"), ""))
        return normalizers.Sequence(steps)

    def splits(self, symbols: Sequence[str], by_blanks: bool) -> list[Any]:
        """Return the pre-tokenizer; no piece crosses its cuts."""
        from tokenizers import Regex, pre_tokenizers

        steps, scores = [], self.scores()
        if by_blanks:
            steps.append(pre_tokenizers.Split(Regex(BLANKS), "removed"))
        if self.byte_fallback:  # unknown characters would cost more than a symbol that no text may become
            unknown = set("".join(set(symbols) - scores.keys())) - set("".join(scores))
            if unknown:
                characters = "".join(f"\\x{{{ord(character):x}}}" for character in sorted(unknown))
                steps.append(pre_tokenizers.Split(Regex(f"[{characters}]"), "isolated"))
        return steps

    def scores(self) -> dict[str, float]:
        """Return {piece: score} of the pieces that text can become."""
        normal = [score for _, score, kind in self.pieces if kind == NORMAL]
        top = max(normal, default=0.0)
        found = {}
        for piece, score, kind in self.pieces:
            if kind == NORMAL:
                found[piece] = score
            elif kind == USER_DEFINED:  # preferred over all others, as in unigram_model.cc
                found[piece] = len(piece.encode()) * top - 0.1
        return found

    def unigram(self, symbols: Sequence[str], unknown: str) -> Any:
        """Return the model of a unigram sentencepiece model."""
        from tokenizers import models

        scores = self.scores()
        table = [(symbol, scores.get(symbol, NEVER)) for symbol in symbols]
        return models.Unigram(table, list(symbols).index(unknown), self.byte_fallback)

    def bpe(self, symbols: Sequence[str], unknown: str) -> Any:
        """Return the model of a BPE sentencepiece model: a merge for every way to make a piece, best piece first."""
        from tokenizers import models

        scores = self.scores()
        ranked = sorted((piece for piece in scores if len(piece) > 1), key=lambda piece: -scores[piece])
        merges = [
            (piece[:i], piece[i:])
            for piece in ranked
            for i in range(1, len(piece))
            if piece[:i] in scores and piece[i:] in scores
        ]
        return models.BPE(
            {symbol: i for i, symbol in enumerate(symbols)},
            merges,
            unk_token=unknown,
            fuse_unk=True,
            byte_fallback=self.byte_fallback,
        )
