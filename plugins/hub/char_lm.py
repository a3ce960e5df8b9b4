"""Character LMs: sample, score text, tell its style."""

import codecs

import torch

from plugins.errors import check

from . import checkpoints
from .characters import read_characters
from .language_model import LanguageModel
from .styles import weights_of


class CharLM(LanguageModel):
    """A character LM with what is needed to use it: its characters, and the names of its styles.

    A byte model has the 256 bytes for characters; its text is UTF-8.

    Where the style is asked for, ``style`` is one of
        - None: the model infers it from the text so far;
        - a name of :attr:`styles`, or a mixture {name: weight}, whose weights are divided by their sum;
        - False, or ``"none"``: no style at all.
    """

    unit = "characters"

    def __init__(self, model, dictionary, styles=()):
        """Args: the CharLanguageModel; its CharDictionary; the names of its styles, numbers where there are none."""
        super().__init__(model, dictionary)
        named = len(styles) == model.num_styles
        self.styles = list(styles) if named else [str(i) for i in range(model.num_styles)]

    @classmethod
    def from_pretrained(cls, path, base=None):
        """Load what ``fairseq-train --task char_lm`` has saved: nothing but the checkpoint is needed.

        Args:
            path: the ``.pt`` file, or the folder with ``checkpoint_best.pt`` or ``checkpoint_last.pt``.
            base: the checkpoint that an adapter belongs to, if it is no longer where it was.

        Raises:
            UserError: it is missing, damaged, or of another kind of model.
        """
        return cls(*checkpoints.read_char_lm(checkpoints.find_checkpoint(path), base))

    @classmethod
    def from_nanogpt(cls, checkpoint, itos_or_meta):
        """Load a checkpoint of nanoGPT's character model.

        Args:
            checkpoint: its ``ckpt.pt``.
            itos_or_meta: its ``meta.pkl``, or the characters themselves, see :func:`.characters.read_characters`.

        Raises:
            UserError: a file is damaged, holds more than plain data, or does not fit the other.
        """
        return cls(*checkpoints.read_nanogpt(checkpoint, read_characters(itos_or_meta)))

    @classmethod
    def from_multi_style(cls, checkpoint, characters):
        """Load a checkpoint of the published Multi-Style Adapter, whose styles see the text to come and have no names.

        Args:
            checkpoint: the file, with the keys of nanoGPT's and the weights of the styles.
            characters: in the order of its indices, see :func:`.characters.read_characters`.

        Raises:
            UserError: a file is damaged, holds more than plain data, or does not fit the other.
        """
        return cls(*checkpoints.read_multi_style(checkpoint, read_characters(characters)))

    # What it is

    @property
    def characters(self):
        """The characters as a list, in the order of the columns of :meth:`logits`."""
        return self.dictionary.characters

    @property
    def opening(self):
        return "\n" if "\n" in self.characters else self.characters[0]

    @property
    def sees_the_future(self):
        """True for the published style adapter, whose styles at a position depend on the text after it."""
        return self.model.num_styles > 0 and self.model.cfg.style_inference == "published"

    # Sampling

    def stream(self, prompt="", length=500, *args, **options):
        """Return an iterator over the text that continues a prompt, in pieces: joined, what :meth:`sample` returns.

        Args:
            prompt: the text to continue. Of more than :attr:`block_size` characters, the model sees the last ones.
                An empty one stands for a line break, or for the first of :attr:`characters` where there is none.
            length: how many characters to draw; bytes for a byte model, which yields none before it is whole.
            temperature: below 1 for likelier text, above for more varied; 0 takes the likeliest character always.
            top_k: draw from the k likeliest characters only; None for all.
            top_p: and only from the likeliest that together have this probability; None for all.
            seed: of the random numbers; None for others each time.
            style: see the class.
            refresh: what happens past the end of the block, see :func:`plugins.modules.sampling.generate`: 1 draws
                each character from a whole block, which encodes it each time; more is faster.
            cached: False to encode the whole context for every character: the same text, but slow.
        """
        steps = self.steps(prompt, length, *args, **options)  # checks the arguments now, not when first asked
        return self.decoded(int(token) for token in steps)

    def decoded(self, tokens):
        """Yield the text of an iterable of tokens (int) as soon as a character is whole."""
        if self.dictionary.unit != "byte":
            yield from (self.characters[i] for i in tokens)
            return
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        yield from filter(None, (decoder.decode(bytes([i])) for i in tokens))
        yield from filter(None, [decoder.decode(b"", final=True)])

    def steps(
        self, prompt="", length=500, temperature=0.8, top_k=200, top_p=None, seed=1337, style=None, n=1, refresh=None,
        cached=True,
    ):  # fmt: skip
        """See :meth:`.LanguageModel.steps`, and the class for ``style``."""
        cached = cached and not self.sees_the_future
        self.check_count(n)
        return super().steps(
            prompt, length, temperature, top_k, top_p, seed, n, refresh, cached, styles=self.style_weights(style, n)
        )

    # Scoring

    def logits(self, text, style=None):
        """Return what the model expects after each character of a text, see :meth:`.LanguageModel.logits`.

        Args:
            style: see the class.

        Returns:
            (T, V) float32, columns in the order of :attr:`characters`. A byte model counts bytes.
        """
        return super().logits(text, style=style)

    def loss(self, text, style=None, refresh=None):
        """Return nats per character, or per byte: see :meth:`.LanguageModel.loss`, and the class for ``style``."""
        return super().loss(text, refresh, style=style)

    @torch.inference_mode()
    def classify_style(self, text):
        """Return the probability of each style as {name: probability}; they sum to 1.

        It is what the model has inferred at the end of the text. Of a text of more than :attr:`block_size`
        characters, it is the mean over the blocks, weighted by their lengths.

        Raises:
            UserError: the model has no styles, the text is empty, or holds a character that the model does not know.
        """
        self.check_styles()
        tokens = self.encode_some(text, 1)
        total = torch.zeros(len(self.styles), device=self.device)
        for block in tokens.split(self.block_size):
            logits = self.model(block[None])[1]["style_logits"]  # (1, T, K)
            check(logits is not None, f"--style-inference {self.model.cfg.style_inference} infers no style from a text")
            total += len(block) * logits[0, -1].float().softmax(-1)
        return dict(zip(self.styles, (total / len(tokens)).tolist(), strict=True))

    def causal_logits(self, tokens, style):
        styles = self.style_weights(style, len(tokens))
        if not self.sees_the_future:
            return self.model(tokens, styles=styles)[0]
        ends = range(1, tokens.size(1) + 1)
        return torch.stack([self.model(tokens[:, :end], styles=styles)[0][:, -1] for end in ends], dim=1)

    # Arguments

    def check_styles(self):
        check(self.styles, "this model has no styles; one that is trained with --arch style_char_lm_... has")

    def style_weights(self, style, count):
        """Return the weights (count, K) of the styles, or None for the model to infer them."""
        if style is None or (not self.styles and style in (False, "none")):
            return None
        self.check_styles()
        return torch.tensor(weights_of(style, self.styles), device=self.device).expand(count, -1)
