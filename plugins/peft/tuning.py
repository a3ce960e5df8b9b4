"""Shared by all methods: freezing, the state dict of a tuned model, the identity of its base, merging.

A tuned model has a child ``peft``, a :class:`Method`. State dicts omit the wrapper layers of an adapter from names:
parameters of the base keep their names, and added parameters have names next to them.
"""

import contextlib
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn

from plugins.errors import UserError

IDENTITY = "peft.base"  # key of the SHA-256 of the base, (32,) uint8


class WrongBase(UserError):
    """The tensors belong to an adapter of another base."""


@dataclass
class Parts:
    """The parts of a model that the methods change; models return it from ``peft_parts()``.

    Attributes:
        body: embeds tokens; has an attribute ``prompt`` and a method ``look_up`` from tokens (T,) to (T, C).
        table: (V, C) the token embeddings.
        prompt_at: the number of tokens before a prompt.
        blocks: the layers.
        norm: the layer norm after the last, or None.
        head: has the output projection: ``weight`` (V, C), and ``bias`` (V,) or None or nothing.
        attention: names, within a layer, of the input projections of attention.
        scaled: names of the layers that IA3 scales.
        feedforward: those of them whose input it scales.
    """

    body: Any
    table: nn.Embedding
    prompt_at: int
    blocks: nn.ModuleList
    norm: nn.Module | None
    head: Any
    attention: tuple[str, ...]
    scaled: tuple[str, ...]
    feedforward: tuple[str, ...] = field(default=())


class Method(nn.Module):
    """A method installed in a model, as its child ``peft``.

    Args:
        cfg: the options of :class:`plugins.peft.PeftConfig`, completed.
        identity: the SHA-256 of the base.
    """

    base: Tensor

    def __init__(self, cfg: Any, identity: bytes):
        super().__init__()
        self.cfg, self.saves_all = cfg, False
        self.register_buffer("base", torch.tensor(list(identity), dtype=torch.uint8))

    def install(self, model: nn.Module, parts: Parts) -> None:
        """Add parameters to a frozen model, or unfreeze some."""
        raise NotImplementedError

    def layers(self, model: nn.Module) -> list[str]:
        """Return the names of the modules that wrap modules of the base."""
        return []

    def merge(self, model: nn.Module) -> None:
        """Add the learned update to the weights of the base."""

    def unmerge(self, model: nn.Module) -> None:
        """Undo :meth:`merge`."""

    def disabled(self, model: nn.Module) -> contextlib.AbstractContextManager:
        """Return a context in which the model computes like its base."""
        raise NotImplementedError


def method_of(model: nn.Module) -> Method:
    """Return the method that a tuned model has."""
    return cast(Method, model.peft)


def parts_of(model: nn.Module) -> Parts:
    """Return the parts that a model names in ``peft_parts()``."""
    return cast(Any, model).peft_parts()


def attach(model: nn.Module, method: Method) -> None:
    """Freeze a model and install a method in it. The model must have the weights of its base already.

    Raises:
        ValueError: the model has a method already.
        UserError: an option of the method does not fit the model.
    """
    if getattr(model, "peft", None) is not None:
        raise ValueError("the model is tuned already")
    model.requires_grad_(False)
    method.install(model, parts_of(model))
    model.peft = method
    model.register_state_dict_post_hook(_save)
    model.register_load_state_dict_pre_hook(_load)


def merge(model: nn.Module) -> None:
    """Add the learned update to the weights of the base: the same function, as fast as the base.

    Raises:
        UserError: a prompt, which cannot be merged.
    """
    method_of(model).merge(model)


def unmerge(model: nn.Module) -> None:
    """Undo :func:`merge`."""
    method_of(model).unmerge(model)


def disabled(model: nn.Module) -> contextlib.AbstractContextManager:
    """Return a context in which a tuned model computes like its base."""
    return method_of(model).disabled(model)


# Parameters


def tuned_names(model: nn.Module) -> set[str]:
    """Return the names of the parameters that are trained and saved."""
    names = (name for name, p in model.named_parameters(remove_duplicate=False) if p.requires_grad)
    return set(plain_names(model, names).values())


@dataclass
class Count:
    """Parameters of a model."""

    trainable: int
    total: int

    def __str__(self) -> str:
        """Return the peft library's summary line."""
        percent = 100 * self.trainable / max(self.total, 1)
        return f"trainable params: {self.trainable:,} || all params: {self.total:,} || trainable%: {percent:.4f}"


def count(model: nn.Module) -> Count:
    """Return the number of trainable parameters, and of all."""
    parameters = list(model.parameters())
    return Count(sum(p.numel() for p in parameters if p.requires_grad), sum(p.numel() for p in parameters))


# State dicts


def fingerprint(tensors: Mapping[str, Tensor]) -> bytes:
    """Return the SHA-256 of the names, types, shapes and contents of tensors; zeros for tensors on the meta device."""
    if any(tensor.is_meta for tensor in tensors.values()):
        return bytes(32)
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.digest()


def whole_state(model: nn.Module) -> dict[str, Tensor]:
    """Return all tensors of a tuned model, of the base and of the method, under the names of its state dict."""
    method_of(model).saves_all = True
    try:
        return dict(model.state_dict())
    finally:
        method_of(model).saves_all = False


def merged_state(model: nn.Module) -> dict[str, Tensor]:
    """Return the state dict of a plain model equivalent to the merged model."""
    layers = tuple(layer + "." for layer in method_of(model).layers(model))
    added = [n for n, _ in model.named_parameters() if n.startswith(layers) and ".base_layer." not in n]
    left_out = {IDENTITY, *plain_names(model, added).values()}
    return {name: tensor for name, tensor in whole_state(model).items() if name not in left_out}


def plain_names(model: nn.Module, names: Iterable[str]) -> dict[str, str]:
    """Return {name: the name without the wrapper layers of the method}."""
    method, plain = getattr(model, "peft", None), {}
    layers = set() if method is None else set(method.layers(model))
    for name in names:
        parts = name.split(".")
        depth = next((i for i in range(1, len(parts)) if ".".join(parts[:i]) in layers), len(parts))
        plain[name] = ".".join(
            parts[:depth] + [part for part in parts[depth:] if part not in ("base_layer", "default")]
        )
    return plain


def _save(model: nn.Module, state: dict[str, Tensor], prefix: str, metadata: Any) -> None:
    """Rename to plain names, and remove what belongs to the base."""
    kept = tuned_names(model) | {IDENTITY}
    names = [name.removeprefix(prefix) for name in state if name.startswith(prefix)]
    for name, plain in plain_names(model, names).items():
        tensor = state.pop(prefix + name)
        if plain in kept or method_of(model).saves_all:
            state[prefix + plain] = tensor


def _load(model: nn.Module, state: dict[str, Tensor], prefix: str, *unused: Any) -> None:
    """Complete the loaded state, an adapter or the base, with the present values of the other tensors.

    Raises:
        WrongBase: the adapter is of another base, or the loaded base is another.
    """
    own, tuned = whole_state(model), tuned_names(model)
    adapter = prefix + IDENTITY in state
    if adapter:
        check_identity(bytes(state[prefix + IDENTITY].tolist()), bytes(method_of(model).base.tolist()))
    for name, tensor in own.items():
        given = state.get(prefix + name)
        if name in tuned and (adapter or given is not None):
            continue  # a tensor that an adapter lacks is reported as missing
        if given is not None and name not in tuned and name != IDENTITY and given.shape == tensor.shape:
            check_equal(name, given, tensor)
        state.setdefault(prefix + name, tensor)
    names = [name for name, _ in model.named_parameters(remove_duplicate=False)]
    for name, plain in plain_names(model, names).items():
        if plain != name and prefix + plain in state:
            state[prefix + name] = state.pop(prefix + plain)


def check_identity(wanted: bytes, actual: bytes) -> None:
    """Compare the SHA-256 of two bases.

    Raises:
        WrongBase: they differ.
    """
    if wanted != actual:
        raise WrongBase(
            f"this adapter was trained on a base with SHA-256 {wanted.hex()}, but this base has {actual.hex()}; name "
            "its own: --peft-base CKPT"
        )


def check_equal(name: str, given: Tensor, own: Tensor) -> None:
    """Compare a loaded tensor of the base with the model's.

    Raises:
        WrongBase: they differ.
    """
    if not torch.equal(given.to(own), own):
        raise WrongBase(f"{name}: not the base of this adapter; load an adapter, or start with --finetune-from-model")
