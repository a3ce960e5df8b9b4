"""What the interfaces to character LMs and to causal LMs share: sampling and scoring."""

import functools
from numbers import Real

import torch
import torch.nn.functional as F

from plugins.errors import UserError, check
from plugins.modules import sampling

from .styles import is_number

SCORED_AT_ONCE = 8192  # tokens in a forward pass of loss and logits,
LOGITS_AT_ONCE = 1 << 26  # unless their logits would be more numbers than these


def move(model, device=None, dtype=None):
    """Move a model to a device, and turn its weights into a type, in place.

    Raises:
        UserError: there is no such device, or it is full.
    """
    try:
        model.to(device=device, dtype=dtype)
    except (RuntimeError, AssertionError) as error:  # the latter where torch was built without CUDA
        raise UserError(f"device {device}: {str(error).splitlines()[0]}") from error


class LanguageModel:
    """A language model with its dictionary.

    ``inputs`` of the methods are further inputs of the model, such as styles.
    """

    unit = "tokens"

    def __init__(self, model, dictionary):
        self.model, self.dictionary = model.eval(), dictionary

    @property
    def block_size(self):
        """How many tokens the model sees at most."""
        return self.model.max_positions()

    @property
    def default_refresh(self):
        """How many tokens a cache lasts past the end of the block, see :meth:`steps`."""
        return max(1, self.block_size // 8)

    @property
    def device(self):
        return next(self.model.parameters()).device

    def to(self, device=None, dtype=None):
        """Move the model to a device, turn its weights into a type, see :func:`move`, and return self.

        ``torch.bfloat16`` samples one text at twice the speed where the CPU knows the type, for reading the weights is
        what takes the time; the probabilities are rounded then.
        """
        move(self.model, device, dtype)
        return self

    # Sampling

    @property
    def opening(self):
        """The text or tokens that stand for an empty prompt."""
        raise NotImplementedError

    def sample(self, prompt="", length=500, *args, n=1, **options):
        """Return the text that continues a prompt, without the prompt: ``length`` tokens.

        Args:
            n: how many samples, drawn side by side.
            prompt, length, args, options: those of :meth:`steps`.

        Returns:
            A string for ``n=1``, else a list of n strings.

        Raises:
            UserError: an argument makes no sense, or the prompt holds what the model does not know.
        """
        steps = list(self.steps(prompt, length, *args, n=n, **options))
        tokens = torch.stack(steps, dim=1).cpu() if steps else torch.empty(n, 0, dtype=torch.long)  # (n, length)
        texts = [self.dictionary.decode(row) for row in tokens.tolist()]
        return texts[0] if n == 1 else texts

    def steps(
        self, prompt="", length=500, temperature=0.8, top_k=200, top_p=None, seed=1337, n=1, refresh=None, cached=True,
        **inputs,
    ):  # fmt: skip
        """Check the arguments, and return an iterator over what is drawn: ``length`` tensors (n,) of int64.

        Args:
            prompt: the text to continue, or its tokens. Of more than :attr:`block_size` tokens, the model sees the
                last ones. For an empty one, see :attr:`opening`.
            length: how many tokens to draw.
            temperature: below 1 for likelier text, above for more varied; 0 takes the likeliest token always.
            top_k: draw from the k likeliest tokens only; None for all.
            top_p: and only from the likeliest that together have this probability; None for all.
            seed: of the random numbers; None for others each time.
            n: how many samples, drawn side by side.
            refresh: what happens past the end of the block, see :func:`plugins.modules.sampling.generate`: 1 draws
                each token from a whole block, which encodes it each time; more is faster.
            cached: False to encode the whole context for every token: the same text, but slow.
        """
        refresh = self.default_refresh if refresh is None else refresh
        check(is_number(length), f"length={length!r}: the number of {self.unit} to draw, 0 or more, is needed")
        check(is_number(temperature, Real), f"temperature={temperature!r}: 0 (the likeliest always) or more is needed")
        check(top_k is None or is_number(top_k, least=1), f"top_k={top_k!r}: 1, 2, ... is needed, or None for all")
        fits = top_p is None or (is_number(top_p, Real) and 0 < top_p <= 1)
        check(fits, f"top_p={top_p!r}: a probability above 0 is needed, or None for all")
        fits = seed is None or (is_number(seed, least=-(2**63)) and seed < 2**64)
        check(fits, f"seed={seed!r}: a whole number of 64 bits is needed, or None for others each time")
        self.check_count(n)
        self.check_refresh(refresh)
        tokens = self.encode(prompt)  # (T,)
        tokens = tokens if len(tokens) else self.encode(self.opening)
        generator = torch.Generator(self.device)
        generator.seed() if seed is None else generator.manual_seed(int(seed))
        cache = self.model.new_cache(n) if cached else None

        def next_logits(tokens):
            features = self.model.extract_features(tokens, cache=cache, **inputs)[0]  # (n, T, C)
            return self.model.output_layer(features[:, -1])  # (n, V)

        draw = functools.partial(sampling.draw, temperature=temperature, top_k=top_k, top_p=top_p, generator=generator)
        return sampling.generate(next_logits, draw, tokens.expand(n, -1), length, self.block_size, refresh, cache)

    # Scoring

    @torch.inference_mode()
    def logits(self, text, **inputs):
        """Return what the model expects after each token of a text.

        Args:
            text: a string or its tokens, at least one. What exceeds :attr:`block_size` is cut into blocks.

        Returns:
            (T, V) float32. Row t is computed from the tokens up to t alone, those of its block.

        Raises:
            UserError: the text is empty, or holds what the model does not know.
        """
        return torch.cat(list(self.windows(self.encode_some(text, 1), self.block_size, **inputs)))

    @torch.inference_mode()
    def loss(self, text, refresh=None, **inputs):
        """Return the mean of -ln p over the tokens of a text, each predicted from those before it.

        The first token has none before it and does not count. A text of more than :attr:`block_size` tokens is read
        in windows. By default they do not overlap, as in training, and a token at the start of a window has little
        context.

        Args:
            text: a string or its tokens, at least two.
            refresh: how far the windows are apart; of each but the first, the last ``refresh`` predictions count. So
                1 gives every token a whole block of context, and any number the context it has in :meth:`sample`.

        Returns:
            Nats per token.

        Raises:
            UserError: the text is too short, or holds what the model does not know.
        """
        refresh = self.block_size if refresh is None else refresh
        self.check_refresh(refresh)
        tokens = self.encode_some(text, 2)
        total, done = torch.zeros((), dtype=torch.float64, device=self.device), 1
        for logits in self.windows(tokens[:-1], refresh, **inputs):
            total += F.cross_entropy(logits, tokens[done : done + len(logits)], reduction="sum")
            done += len(logits)
        return total.item() / (len(tokens) - 1)

    def windows(self, tokens, refresh, **inputs):
        """Yield the logits (N, V) of what follows each token, in the order of the text, a batch of windows at a time.

        Args:
            tokens: (T,).
            refresh: how far a window is from the one before it; only what the first does not cover is yielded.
        """
        size, left = min(self.block_size, len(tokens)), len(tokens)
        padding = -(left - size) % refresh  # causal, so what stands after the text changes nothing
        windows = F.pad(tokens, (0, padding)).unfold(0, size, refresh)  # (W, size)
        tokens_at_once = min(SCORED_AT_ONCE, LOGITS_AT_ONCE // len(self.dictionary))
        for i, batch in enumerate(windows.split(max(1, tokens_at_once // size))):
            logits = self.causal_logits(batch, **inputs)  # (B, size, V)
            new = logits[:, -refresh:].flatten(0, 1)  # (B * refresh, V)
            if i == 0:
                new = torch.cat([logits[0, :-refresh], new])
            yield new[:left].float()
            left -= min(left, len(new))

    def causal_logits(self, tokens, **inputs):
        """Return the logits (B, T, V) of what follows each of the tokens (B, T), given those before it alone."""
        return self.model(tokens, **inputs)[0]

    # Arguments

    def encode(self, text):
        """Return the tokens (T,) of a text, on the model's device; tokens stay what they are."""
        if isinstance(text, str):
            return self.dictionary.encode(text).to(self.device)
        try:
            tokens = torch.as_tensor(text)  # (T,)
        except (TypeError, ValueError, RuntimeError):
            tokens = None
        fits = tokens is not None and tokens.ndim == 1
        check(fits, f"{type(text).__name__} found, but a text (str) or its tokens are needed")
        return tokens.to(self.device)

    def encode_some(self, text, least):
        tokens = self.encode(text)
        check(len(tokens) >= least, f"{text!r} is too short: at least {least} {self.unit} are needed")
        return tokens

    def check_count(self, n):
        check(is_number(n, least=1), f"n={n!r}: a whole number of samples, at least one, is needed")

    def check_refresh(self, refresh):
        limit = self.block_size
        fits = is_number(refresh, least=1) and refresh <= limit
        check(fits, f"refresh={refresh!r}: a whole number from 1 to the block size, {limit}, is needed")
