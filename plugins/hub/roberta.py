"""Masked LMs: fill masks, score words."""

import os
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from fairseq import utils
from fairseq.data import Dictionary, data_utils
from fairseq.models.roberta import RobertaModel
from fairseq.models.roberta.hub_interface import RobertaHubInterface
from fairseq.tasks import FairseqTask
from omegaconf import DictConfig, OmegaConf, open_dict
from torch import Tensor, nn

from plugins.data import dictionaries
from plugins.data.text import bpe
from plugins.errors import UserError, check

from .language_model import is_integer, readable
from .styles import is_number

MASK = dictionaries.MASK
TOKENIZER_OPTIONS = {"gpt2": ("gpt2_encoder_json", "gpt2_vocab_bpe"), "sentencepiece": ("sentencepiece_model",)}


def load(path: str | os.PathLike, base: str | None = None) -> "RobertaInterface":
    """Load a masked LM from a checkpoint, its dictionary and tokenizer from the same folder; see ``plugins.hub.load``.

    Raises:
        UserError: a file is missing, damaged, or does not fit the others.
    """
    folder, name = os.path.split(os.path.abspath(path))
    moved = {"peft_base": base} if base else {}
    return RobertaModel.from_pretrained(folder, name, folder, **moved).eval()


class RobertaInterface(RobertaHubInterface):
    """fairseq's interface to a RoBERTa, with a reliable ``fill_mask``.

    The tokenizer is looked for next to the checkpoint and in the data folder. Nothing is downloaded.

    Raises:
        UserError: the tokenizer is missing or damaged.
    """

    reads_characters = False
    fills_masks = True
    continues_text = False
    styles: Sequence[str] = ()

    def __init__(self, cfg: DictConfig, task: FairseqTask, model: nn.Module):
        with open_dict(cfg):
            cfg.bpe = local_bpe(cfg)
        try:
            super().__init__(cfg, task, model)
        except Exception as error:  # the tokenizer's library raises many types on damaged files
            files = [value for name, value in cfg.bpe.items() if name != "_name"]
            raise UserError(f"{' and '.join(map(str, files))}: damaged, or not a tokenizer; get it again") from error

    @property
    def dictionary(self) -> Dictionary:
        """The dictionary of the model."""
        return self.task.source_dictionary

    @property
    def options(self) -> DictConfig:
        """The options of the model, defaults filled in."""
        return self.model.args

    def fill_mask(
        self, masked_input: str | Iterable[str], topk: int = 5, targets: str | Iterable[str] | None = None
    ) -> list:
        """Predict the token at each ``<mask>``.

        Args:
            masked_input: a sentence, or several sentences.
            topk: number of answers for each mask; at most the number of words.
            targets: a word or several words to score instead of the best ones. Each must be a single token.

        Returns:
            For a sentence with one mask: a list of (sentence with the answer, probability, answer), best first. For
            several masks: a list of such lists, one per mask. For several sentences: a list of results.

        Probabilities are the softmax over the whole vocabulary. Special symbols, fillers and ``<mask>`` are never
        answers.

        Raises:
            UserError: a sentence without a mask, or too long; ``topk`` below 1; no targets, or one that is not a
                single token.
        """
        if isinstance(masked_input, str):
            return self.fill_mask([masked_input], topk, targets)[0]
        check(is_number(topk, least=1), f"topk={topk!r}: the number of answers, 1 or more, is needed")
        sentences = texts_of("masked_input", masked_input)
        words = None if targets is None else texts_of("targets", [targets] if isinstance(targets, str) else targets)
        check(words != [], "targets=[]: name the words to score, or leave targets out for the best ones")
        if not sentences:
            return []
        batch = [self.encode_masked(sentence) for sentence in sentences]
        answers = self.answers() if words is None else torch.tensor([self.single_token(word) for word in words])
        tokens = data_utils.collate_tokens(batch, self.dictionary.pad()).to(self.device)  # (B, T)
        at_masks = tokens == self.dictionary.index(MASK)  # (B, T), with M masks in all
        with utils.model_eval(self.model), torch.no_grad():
            features, _ = self.model(tokens, features_only=True)  # (B, T, C)
            logits = self.model.encoder.output_layer(features[at_masks])  # (M, V)
        probabilities = logits.float().softmax(-1)[:, answers.to(logits.device)]  # (M, A)
        values, order = probabilities.topk(min(topk, len(answers)) if words is None else len(answers))
        best = zip(values.tolist(), answers[order.cpu()].tolist(), strict=True)
        results = []
        for sentence in sentences:
            masks = [
                [self.filled(sentence, m, p, index) for p, index in zip(*next(best), strict=True)]
                for m in range(sentence.count(MASK))
            ]
            results.append(masks[0] if len(masks) == 1 else masks)
        return results

    def predict(self, head: str, tokens: Tensor, return_logits: bool = False) -> Tensor:
        """Classify sentences, or score them.

        Args:
            head: name of a classification head.
            tokens: (T,) or (B, T), padded with the dictionary's ``pad()``.
            return_logits: return the output of the head instead of log-probabilities.

        Returns:
            (B, K).

        Raises:
            UserError: an unknown head, or an input that is empty, too long, or not token ids.
        """
        heads = self.model.classification_heads
        if head not in heads:
            raise UserError(f"no classification head {head!r}; the checkpoint has {', '.join(heads) or 'none'}")
        fits = isinstance(tokens, Tensor) and tokens.dim() in (1, 2) and tokens.numel() > 0 and is_integer(tokens)
        check(fits, f"tokens: ids (T,) or (B, T) as from encode are needed, not {type(tokens).__name__}")
        size = len(self.dictionary)
        check(0 <= tokens.min() <= tokens.max() < size, f"tokens: the dictionary has ids 0 to {size - 1}")
        tokens = tokens.unsqueeze(0) if tokens.dim() == 1 else tokens
        if tokens.size(1) > self.model.max_positions():
            raise UserError(f"{tokens.size(1)} tokens exceed the model's {self.model.max_positions()} positions")
        logits, _ = self.model(tokens.to(self.device), classification_head_name=head)
        return logits if return_logits else logits.log_softmax(-1)

    def encode(self, sentence: str, *addl_sentences: str, no_separator: bool = False) -> Tensor:
        """Return the ids (T,) of a sentence, or of several as one input; ``<mask>`` in a single one is the mask token.

        Raises:
            UserError: not a string; or a sentence with ``<mask>`` that is too long.
        """
        texts_of("encode", (sentence, *addl_sentences))
        if MASK in sentence and not addl_sentences:
            return self.encode_masked(sentence)
        return super().encode(sentence, *addl_sentences, no_separator=no_separator)

    def tokens(self, ids: Tensor) -> list[str]:
        """Return ids (T,) as readable strings, see :meth:`plugins.analysis.language_model.LanguageModel.tokens`."""
        dictionary = self.dictionary
        symbols = [dictionary[i] for i in ids.tolist()]
        special = {*dictionary.symbols[: dictionary.nspecial], MASK}
        return [symbol if symbol in special else readable(self.bpe.decode(symbol), symbol) for symbol in symbols]

    def encode_masked(self, sentence: str) -> Tensor:
        """Return the tokens (T,) of a sentence with ``<mask>`` at the tokens to predict.

        Raises:
            UserError: no mask, or a sentence too long for the model.
        """
        if MASK not in sentence:
            raise UserError(f"no {MASK} in {sentence!r}; put one where a word is to be predicted")
        line = f"<s> {masked_symbols(self.bpe, sentence)} </s>"
        tokens = self.dictionary.encode_line(line, append_eos=False, add_if_not_exist=False).long()
        limit = self.model.max_positions()
        if len(tokens) > limit:
            raise UserError(f"{len(tokens)} tokens exceed the model's {limit} positions: {sentence[:60]!r}...")
        return tokens

    def answers(self) -> Tensor:
        """Return the ids (A,) of the words that can be an answer."""
        dictionary = self.dictionary
        never = {*range(dictionary.nspecial), dictionary.index(MASK), *dictionaries.unused_words(dictionary)}
        return torch.tensor([i for i in range(len(dictionary)) if i not in never])

    def single_token(self, target: str) -> int:
        """Return the id of a target: a word that the tokenizer does not split, or a symbol of the dictionary.

        Raises:
            UserError: several tokens, or one that is never an answer.
        """
        dictionary = self.dictionary
        pieces = self.bpe.encode(target).split()
        if len(pieces) != 1 and target not in dictionary:
            raise UserError(f"target {target!r} is {len(pieces)} tokens ({' '.join(pieces)}); a mask is a single token")
        index = dictionary.index(pieces[0] if len(pieces) == 1 and pieces[0] in dictionary else target)
        if index not in self.answers():
            raise UserError(f"target {target!r} is never an answer: not in the dictionary, or a special symbol")
        return index

    def filled(self, sentence: str, mask: int, probability: float, index: int) -> tuple[str, float, str]:
        """Return (sentence with its mask-th ``<mask>`` replaced, probability, answer)."""
        symbol = self.dictionary[index]
        answer = self.bpe.decode(symbol)
        if symbol.startswith("\u2581"):  # a word start; sentencepiece's decoder strips its space
            answer = " " + answer
        before, after = MASK.join(sentence.split(MASK)[: mask + 1]), MASK.join(sentence.split(MASK)[mask + 1 :])
        return before.removesuffix(" ") + answer + after, probability, answer


def masked_symbols(bpe: Any, sentence: str) -> str:
    """Return the symbols of a sentence with masks, joined by blanks; white space before a mask is left out."""
    return f" {MASK} ".join(bpe.encode(span.rstrip()) for span in sentence.split(MASK)).strip()


def texts_of(name: str, values: Iterable[str]) -> list[str]:
    """Return an argument as a list of strings; an error names the argument.

    Raises:
        UserError: it is not a text or a list of texts.
    """
    check(isinstance(values, Iterable), f"{name}={values!r}: a text or a list of texts is needed")
    texts = list(values)
    wrong = next((text for text in texts if not isinstance(text, str)), None)
    check(wrong is None, f"{name}: a text (str) is needed, not {type(wrong).__name__}")
    return texts


def local_bpe(cfg: DictConfig) -> DictConfig:
    """Return the options of the tokenizer of a checkpoint, with paths on this machine.

    Args:
        cfg: the configuration of the checkpoint: ``bpe``, ``task.data`` and ``common_eval.path`` are read.

    Raises:
        UserError: there is none in the folder of the checkpoint or in the data folder.
    """
    given = cfg.bpe if OmegaConf.is_config(cfg.bpe) else OmegaConf.create({"_name": cfg.bpe or "gpt2"})
    if given["_name"] not in TOKENIZER_OPTIONS:
        return given
    paths = [given.get(option) or "" for option in TOKENIZER_OPTIONS[given["_name"]]]
    local = [path for path in paths if path not in ("", "???") and not path.startswith("http")]
    for path in local:
        if not os.path.exists(path):
            raise UserError(f"{path}: no such tokenizer file")
    if len(local) == len(paths):
        return given
    checkpoint = (cfg.get("common_eval") or {}).get("path")
    folders = [os.path.dirname(checkpoint)] if checkpoint else []
    folders += utils.split_paths(cfg.task.data)
    for folder in folders:
        options = bpe.find(folder, preferred=given["_name"])
        if options is not None:
            return options
    raise UserError(
        f"{' and '.join(dict.fromkeys(folders))}: no tokenizer (sentencepiece.bpe.model, or encoder.json and "
        "vocab.bpe); copy it there, or name it: bpe='sentencepiece', sentencepiece_model=PATH"
    )
