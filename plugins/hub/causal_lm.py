"""Causal LMs such as GPT-2: generate, sample, score text; from and to Hugging Face's folders."""

from plugins.errors import UserError, check
from plugins.modules import generation
from plugins.modules.constraints import Constraints

from . import checkpoints, gpt2
from .language_model import LanguageModel

CONTEXT = 8  # tokens, with which a piece of text is decoded: alone, sentencepiece would drop its first blank


class CausalLM(LanguageModel):
    """A causal LM with its tokenizer. Where a text is asked for, its tokens may be given too."""

    @classmethod
    def from_pretrained(cls, path, base=None):
        """Load what ``fairseq-train --arch causal_lm_...`` has saved, or a folder of Hugging Face's.

        Args:
            path: the ``.pt`` file, beside which its tokenizer lies; the folder with ``checkpoint_best.pt`` or
                ``checkpoint_last.pt``; or a GPT-2's folder with ``config.json``.
            base: the checkpoint that an adapter belongs to, if it is no longer where it was.

        Raises:
            UserError: a file is missing, damaged, or does not fit the others.
        """
        if gpt2.is_folder(path):
            check(base is None, f"{path}: is no adapter, so it has no base ({base})")
            model = gpt2.read(path)
            return cls(model, model.decoder.dictionary)
        return cls(*checkpoints.read_causal_lm(checkpoints.find_checkpoint(path), base))

    def save_pretrained(self, folder):
        """Write a folder that Hugging Face transformers loads, see :func:`.gpt2.write`."""
        gpt2.write(self.model, folder)

    @property
    def opening(self):
        """The end of the document before."""
        return [self.dictionary.bos()]

    def decode(self, ids):
        """Return the text of tokens (N,)."""
        return self.dictionary.decode(ids)

    def stream(self, prompt="", length=500, *args, **options):
        """Return an iterator over the text that continues a prompt, in pieces: joined, what :meth:`sample` returns.

        Its arguments are those of :meth:`steps`, which are checked now, not when the first piece is asked for.
        """
        steps = self.steps(prompt, length, *args, **options)
        return self.decoded((int(token) for token in steps), self.encode(prompt)[-CONTEXT:].tolist())

    def decoded(self, tokens, before=()):
        """Yield the text of tokens (int) as soon as its characters are whole; ``before`` are those in front of them."""
        shown, held = list(before), []
        for token in tokens:
            held.append(token)
            text = self.decode(shown + held)[len(self.decode(shown)) :]
            if not text.endswith("\ufffd"):
                yield text
                shown, held = (shown + held)[-CONTEXT:], []
        if held:
            yield self.decode(shown + held)[len(self.decode(shown)) :]

    def generate(self, prompts, max_length=None, min_length=0, no_repeat_ngram=0, **search):
        """Return what follows prompts, up to the end of the document, which the model finds itself.

        Args:
            prompts: a text, or a list of texts, which are continued side by side.
            max_length: most tokens of a continuation; None for as many as fit the model after the longest prompt.
            min_length: fewest tokens.
            no_repeat_ngram: no n-gram of this length occurs twice; 0 for no such rule.
            search: ``temperature``, ``top_k``, ``top_p``, ``beam``, ``length_penalty`` and ``seed`` of
                :class:`plugins.modules.generation.Search`. By default the likeliest token is taken.

        Returns:
            A string, or a list of strings.

        Raises:
            UserError: options make no sense, or a prompt and its continuation would not fit the model.
        """
        if isinstance(prompts, str):
            return self.generate([prompts], max_length, min_length, no_repeat_ngram, **search)[0]
        tokens = [self.encode(prompt if len(prompt) else self.opening) for prompt in prompts]  # (T,) each
        longest = max(map(len, tokens), default=0)
        max_length = max(self.block_size - longest, 1) if max_length is None else max_length
        check(
            longest + max_length <= self.block_size,
            f"a prompt of {longest} tokens and max_length={max_length} exceed the model's {self.block_size}",
        )
        try:
            rules = Constraints(self.dictionary.eos(), max_length, min_length, no_repeat_ngram)
            search = generation.Search(**search)
        except (ValueError, TypeError) as error:
            raise UserError(f"generate: {error}") from None
        return [self.decode(text) for text in generation.generate(self.model, tokens, rules, search)]
