"""Training of only the output projection, or of the last layers: ``--peft last_layer``."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from plugins.errors import UserError

from .tuning import Method, Parts


class LastLayer(Method):
    """Train the output projection; if it is tied to the embedding table, a copy of it.

    With ``--peft-blocks K``, train the last K layers and the layer norm after them instead.

    Args:
        cfg: the options of :class:`plugins.peft.PeftConfig`, completed.
        identity: the SHA-256 of the base.
        base: {name: tensor} of the base's checkpoint, mapped from its file, so that :meth:`disabled` needs no copy in
            memory; None to keep a copy.
    """

    def __init__(self, cfg: Any, identity: bytes, base: Mapping[str, Tensor] | None = None):
        super().__init__(cfg, identity)
        self.base_state = base or {}

    def install(self, model: nn.Module, parts: Parts) -> None:
        """Train the last blocks, or the output matrix where ``--peft-blocks`` is 0.

        Raises:
            UserError: the model has fewer layers.
        """
        blocks = self.cfg.peft_blocks
        if blocks > len(parts.blocks):
            raise UserError(f"--peft-blocks {blocks}: the model has {len(parts.blocks)} layers")
        head, table = parts.head, parts.table.weight
        was_table = not blocks and head.weight is table
        if blocks:
            moving = [p for part in (*parts.blocks[-blocks:], parts.norm) if part for p in part.parameters()]
        else:
            head.weight = nn.Parameter(head.weight.detach().clone())
            moving = [p for p in (head.weight, getattr(head, "bias", None)) if p is not None]
        names = {id(p): name for name, p in model.named_parameters()}
        self.originals = [(p, self.original(names[id(p)], p)) for p in moving[was_table:]]
        self.originals += [(head.weight, table)] * was_table
        for parameter in moving:
            parameter.requires_grad_(True)

    def original(self, name: str, parameter: nn.Parameter) -> Tensor:
        """Return the base's value of a parameter: that of the file, or a copy."""
        saved = self.base_state.get(name)
        return parameter.detach().clone() if saved is None or saved.shape != parameter.shape else saved

    @contextlib.contextmanager
    def disabled(self, model: nn.Module) -> Iterator[None]:
        tuned = [parameter.detach().clone() for parameter, _ in self.originals]
        with torch.no_grad():
            for parameter, original in self.originals:
                parameter.copy_(original)
        try:
            yield
        finally:
            with torch.no_grad():
                for (parameter, _), value in zip(self.originals, tuned, strict=True):
                    parameter.copy_(value)
