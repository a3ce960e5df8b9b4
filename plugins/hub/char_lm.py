"""Character LMs: sample, score text, tell its style."""

import codecs
import functools

import torch
import torch.nn.functional as F

from plugins.modules import sampling

from . import checkpoints
from .characters import read_characters
from .styles import check, weights_of

SCORED_AT_ONCE = 8192  # characters in a forward pass of loss and logits


class CharLM:
    """A character LM with what is needed to use it: its characters, and the names of its styles.

    A byte model has the 256 bytes for characters; its text is UTF-8.

    Where the style is asked for, ``style`` is one of
        - None: the model infers it from the text so far;
        - a name of :attr:`styles`, or a mixture {name: weight}, whose weights are divided by their sum;
        - False, or ``"none"``: no style at all.
    """

    def __init__(self, model, dictionary, styles=()):
        """Args: the CharLanguageModel; its CharDictionary; the names of its styles, numbers where there are none."""
        self.model, self.dictionary = model.eval(), dictionary
        named = len(styles) == model.num_styles
        self.styles = list(styles) if named else [str(i) for i in range(model.num_styles)]

    @classmethod
    def from_pretrained(cls, path):
        """Load what ``fairseq-train --task char_lm`` has saved: nothing but the checkpoint is needed.

        Args:
            path: the ``.pt`` file, or the folder with ``checkpoint_best.pt`` or ``checkpoint_last.pt``.

        Raises:
            UserError: it is missing, damaged, or of another kind of model.
        """
        return cls(*checkpoints.read_char_lm(checkpoints.find_checkpoint(path)))

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
    def block_size(self):
        """How many characters the model sees at most."""
        return self.model.max_positions()

    @property
    def default_refresh(self):
        """How many characters a cache lasts past the end of the block, see :meth:`stream`."""
        return max(1, self.block_size // 8)

    @property
    def device(self):
        return next(self.model.parameters()).device

    def to(self, device):
        """Move the model to a device and return self."""
        self.model.to(device)
        return self

    @property
    def sees_the_future(self):
        """True for the published style adapter, whose styles at a position depend on the text behind it."""
        return self.model.num_styles > 0 and self.model.cfg.style_inference == "published"

    # Sampling

    def sample(self, prompt="", length=500, *args, n=1, **options):
        """Return the text that continues a prompt, without the prompt: ``length`` characters.

        Args:
            n: how many samples, drawn side by side.
            prompt, length, args, options: those of :meth:`stream`.

        Returns:
            A string for ``n=1``, else a list of n strings.

        Raises:
            UserError: an argument makes no sense, or the prompt holds a character that the model does not know.
        """
        steps = list(self.steps(prompt, length, *args, n=n, **options))
        tokens = torch.stack(steps, dim=1).cpu() if steps else torch.empty(n, 0, dtype=torch.long)  # (n, length)
        texts = [self.dictionary.decode(row) for row in tokens.tolist()]
        return texts[0] if n == 1 else texts

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
        self, prompt, length, temperature=0.8, top_k=200, top_p=None, seed=1337, style=None, n=1, refresh=None,
        cached=True,
    ):  # fmt: skip
        """Check the arguments, and return an iterator over what is drawn: ``length`` tensors (n,) of int64."""
        refresh = self.default_refresh if refresh is None else refresh
        check(length >= 0, f"length={length}: the number of characters to draw, 0 or more, is needed")
        check(temperature >= 0, f"temperature={temperature}: 0 (the likeliest character) or more is needed")
        check(top_k is None or top_k >= 1, f"top_k={top_k}: at least 1 is needed, or None for all characters")
        check(top_p is None or 0 < top_p <= 1, f"top_p={top_p}: a probability above 0 is needed, or None for all")
        check(n >= 1, f"n={n}: at least one sample is needed")
        self.check_refresh(refresh)
        tokens = self.encode(prompt or ("\n" if "\n" in self.characters else self.characters[0]))  # (T,)
        styles = self.style_weights(style, n)
        generator = torch.Generator(self.device)
        generator.seed() if seed is None else generator.manual_seed(seed)
        cache = self.model.new_cache(n) if cached and not self.sees_the_future else None

        def next_logits(tokens):
            return self.model(tokens, cache=cache, styles=styles)[0][:, -1]  # (n, T, V) -> (n, V)

        draw = functools.partial(sampling.draw, temperature=temperature, top_k=top_k, top_p=top_p, generator=generator)
        return sampling.generate(next_logits, draw, tokens.expand(n, -1), length, self.block_size, refresh, cache)

    # Scoring

    @torch.inference_mode()
    def logits(self, text, style=None):
        """Return what the model expects after each character of a text.

        Args:
            text: at least one character. One of more than :attr:`block_size` characters is cut into blocks.
            style: see the class.

        Returns:
            (T, V) float32, columns in the order of :attr:`characters`. Row t is computed from the characters up to t
            alone, those of its block. A byte model counts bytes.

        Raises:
            UserError: the text is empty, or holds a character that the model does not know.
        """
        return torch.cat(list(self.windows(self.encode_some(text, 1), self.block_size, style)))

    @torch.inference_mode()
    def loss(self, text, style=None, refresh=None):
        """Return the mean of -ln p over the characters of a text, each predicted from those before it.

        The first character has none before it and does not count. A text of more than :attr:`block_size` characters
        is read in windows. By default they do not overlap, as in training and in nanoGPT's evaluation, and a
        character at the start of a window has little context.

        Args:
            text: at least two characters.
            style: see the class.
            refresh: how far the windows are apart; of each but the first, the last ``refresh`` predictions count. So
                1 gives every character a whole block of context, and any number the context it has in :meth:`sample`.

        Returns:
            Nats per character, or per byte.

        Raises:
            UserError: the text is too short, or holds a character that the model does not know.
        """
        refresh = self.block_size if refresh is None else refresh
        self.check_refresh(refresh)
        tokens = self.encode_some(text, 2)
        total, done = torch.zeros((), dtype=torch.float64, device=self.device), 1
        for logits in self.windows(tokens[:-1], refresh, style):
            total += F.cross_entropy(logits, tokens[done : done + len(logits)], reduction="sum")
            done += len(logits)
        return total.item() / (len(tokens) - 1)

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

    def windows(self, tokens, refresh, style):
        """Yield the logits (N, V) of what follows each token, in the order of the text, a batch of windows at a time.

        Args:
            tokens: (T,).
            refresh: how far a window is from the one before it; only what the first does not cover is yielded.
            style: see the class.
        """
        size, left = min(self.block_size, len(tokens)), len(tokens)
        padding = -(left - size) % refresh  # causal, so what stands behind the text changes nothing
        windows = F.pad(tokens, (0, padding)).unfold(0, size, refresh)  # (W, size)
        for i, batch in enumerate(windows.split(max(1, SCORED_AT_ONCE // size))):
            logits = self.causal_logits(batch, self.style_weights(style, len(batch)))  # (B, size, V)
            new = logits[:, -refresh:].flatten(0, 1)  # (B * refresh, V)
            if i == 0:
                new = torch.cat([logits[0, :-refresh], new])
            yield new[:left].float()
            left -= min(left, len(new))

    def causal_logits(self, tokens, styles):
        """Return the logits (B, T, V) of what follows each of the tokens (B, T), given those before it alone."""
        if not self.sees_the_future:
            return self.model(tokens, styles=styles)[0]
        ends = range(1, tokens.size(1) + 1)
        return torch.stack([self.model(tokens[:, :end], styles=styles)[0][:, -1] for end in ends], dim=1)

    # Arguments

    def encode(self, text):
        return self.dictionary.encode(text).to(self.device)  # (T,)

    def encode_some(self, text, least):
        tokens = self.encode(text)
        check(len(tokens) >= least, f"{text!r} is too short: at least {least} characters are needed")
        return tokens

    def check_refresh(self, refresh):
        limit = self.block_size
        check(1 <= refresh <= limit, f"refresh={refresh}: a number from 1 to the block size, {limit}, is needed")

    def check_styles(self):
        check(self.styles, "this model has no styles; one that is trained with --arch style_char_lm_... has")

    def style_weights(self, style, count):
        """Return the weights (count, K) of the styles, or None for the model to infer them."""
        if style is None or (not self.styles and style in (False, "none")):
            return None
        self.check_styles()
        return torch.tensor(weights_of(style, self.styles), device=self.device).expand(count, -1)
