"""Masked LMs: fill masks, score words."""

import os

import torch
from fairseq import utils
from fairseq.data import data_utils
from fairseq.models.roberta import RobertaModel
from fairseq.models.roberta.hub_interface import RobertaHubInterface
from omegaconf import OmegaConf, open_dict

from plugins.data import dictionaries
from plugins.data.text import bpe
from plugins.errors import UserError

MASK = dictionaries.MASK
TOKENISER_OPTIONS = {"gpt2": ("gpt2_encoder_json", "gpt2_vocab_bpe"), "sentencepiece": ("sentencepiece_model",)}


def load(path, base=None):
    """Load a masked LM from a checkpoint in whose folder its dictionary and tokenizer lie; see ``plugins.hub.load``."""
    folder, name = os.path.split(os.path.abspath(path))
    moved = {"peft_base": base} if base else {}
    return RobertaModel.from_pretrained(folder, name, folder, **moved).eval()


class RobertaInterface(RobertaHubInterface):
    """fairseq's interface to a RoBERTa, with a ``fill_mask`` that can be relied on.

    The tokenizer is looked for beside the checkpoint and in the data folder. Nothing is downloaded.
    """

    def __init__(self, cfg, task, model):
        with open_dict(cfg):
            cfg.bpe = local_bpe(cfg)
        super().__init__(cfg, task, model)

    def fill_mask(self, masked_input, topk=5, targets=None):
        """Predict what stands at each ``<mask>``.

        Args:
            masked_input: a sentence, or a list of sentences.
            topk: how many answers for each mask; clamped to the number of words.
            targets: words to score, in place of the best ones. Each must be a single token.

        Returns:
            For a sentence with one mask: a list of (sentence with the answer, probability, answer), best first. For
            several masks: a list of such lists, one a mask. For a list of sentences: a list of results.

        Probabilities are the softmax over the whole vocabulary. Special symbols, fillers and ``<mask>`` are never
        answers.

        Raises:
            UserError: no mask, a sentence too long, or a target that is not one token.
        """
        if isinstance(masked_input, str):
            return self.fill_mask([masked_input], topk, targets)[0]
        if not masked_input:
            return []
        batch = [self.encode_masked(sentence) for sentence in masked_input]
        answers = self.answers() if targets is None else torch.tensor([self.single_token(t) for t in targets])
        dictionary = self.task.source_dictionary
        tokens = data_utils.collate_tokens(batch, dictionary.pad()).to(self.device)  # (B, T)
        at_masks = tokens == dictionary.index(MASK)  # (B, T), with M masks in all
        with utils.model_eval(self.model), torch.no_grad():
            features, _ = self.model(tokens, features_only=True)  # (B, T, C)
            logits = self.model.encoder.output_layer(features[at_masks])  # (M, V)
        probabilities = logits.float().softmax(-1)[:, answers.to(logits.device)]  # (M, A)
        values, order = probabilities.topk(min(topk, len(answers)) if targets is None else len(answers))
        best = zip(values.tolist(), answers[order.cpu()].tolist(), strict=True)
        results = []
        for sentence in masked_input:
            masks = [
                [self.filled(sentence, m, p, index) for p, index in zip(*next(best), strict=True)]
                for m in range(sentence.count(MASK))
            ]
            results.append(masks[0] if len(masks) == 1 else masks)
        return results

    def predict(self, head, tokens, return_logits=False):
        """Classify sentences, or score them.

        Args:
            head: name of a classification head.
            tokens: (T,) or (B, T), padded with the dictionary's ``pad()``.

        Returns:
            Log-probabilities (B, K), or what the head gives.

        Raises:
            UserError: no such head, or an input too long.
        """
        heads = self.model.classification_heads
        if head not in heads:
            raise UserError(f"no classification head {head!r}; the checkpoint has {', '.join(heads) or 'none'}")
        tokens = tokens.unsqueeze(0) if tokens.dim() == 1 else tokens
        if tokens.size(1) > self.model.max_positions():
            raise UserError(f"{tokens.size(1)} tokens exceed the model's {self.model.max_positions()} positions")
        logits, _ = self.model(tokens.to(self.device), classification_head_name=head)
        return logits if return_logits else logits.log_softmax(-1)

    def encode_masked(self, sentence):
        """Return the tokens (T,) of a sentence in which ``<mask>`` stands for unknown tokens."""
        if MASK not in sentence:
            raise UserError(f"no {MASK} in {sentence!r}; put one where a word is to be predicted")
        spans = [self.bpe.encode(span.rstrip()) for span in sentence.split(MASK)]
        line = f"<s> {f' {MASK} '.join(spans).strip()} </s>"
        tokens = self.task.source_dictionary.encode_line(line, append_eos=False, add_if_not_exist=False).long()
        limit = self.model.max_positions()
        if len(tokens) > limit:
            raise UserError(f"{len(tokens)} tokens exceed the model's {limit} positions: {sentence[:60]!r}...")
        return tokens

    def answers(self):
        """Return the indices (A,) of the words that can be an answer."""
        dictionary = self.task.source_dictionary
        never = {*range(dictionary.nspecial), dictionary.index(MASK), *dictionaries.unused_words(dictionary)}
        return torch.tensor([i for i in range(len(dictionary)) if i not in never])

    def single_token(self, target):
        """Return the index of a target: a word that the tokenizer leaves whole, or a symbol of the dictionary."""
        dictionary = self.task.source_dictionary
        pieces = self.bpe.encode(target).split()
        if len(pieces) != 1 and target not in dictionary:
            raise UserError(f"target {target!r} is {len(pieces)} tokens ({' '.join(pieces)}); a mask stands for one")
        index = dictionary.index(pieces[0] if len(pieces) == 1 and pieces[0] in dictionary else target)
        if index not in self.answers():
            raise UserError(f"target {target!r} is never an answer: not in the dictionary, or a special symbol")
        return index

    def filled(self, sentence, mask, probability, index):
        """Return (sentence with its mask-th ``<mask>`` replaced, probability, answer)."""
        symbol = self.task.source_dictionary[index]
        answer = self.bpe.decode(symbol)
        if symbol.startswith("\u2581"):  # the start of a word, whose space sentencepiece's decoder strips
            answer = " " + answer
        before, after = MASK.join(sentence.split(MASK)[: mask + 1]), MASK.join(sentence.split(MASK)[mask + 1 :])
        return before.removesuffix(" ") + answer + after, probability, answer


def local_bpe(cfg):
    """Return the options of the tokenizer of a checkpoint, found on this machine.

    Raises:
        UserError: there is none in the folder of the checkpoint, nor in the data folder.
    """
    given = cfg.bpe if OmegaConf.is_config(cfg.bpe) else OmegaConf.create({"_name": cfg.bpe or "gpt2"})
    if given["_name"] not in TOKENISER_OPTIONS:
        return given
    paths = [given.get(option) or "" for option in TOKENISER_OPTIONS[given["_name"]]]
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
