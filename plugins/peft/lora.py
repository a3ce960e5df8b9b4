"""LoRA (Hu et al., 2021, arXiv 2106.09685), rsLoRA, DoRA and IA3 by the peft library's layers: ``--peft lora``."""

import contextlib
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from torch import nn

from plugins.errors import UserError

from .tuning import Method, Parts


class LoRA(Method):
    """Layers of the peft library around linear layers of the model; the identity before training."""

    def install(self, model: nn.Module, parts: Parts) -> None:
        """Wrap the target layers.

        Raises:
            UserError: the peft library is missing, a target is not a linear layer of the model, or the rank is above
                its dimensions.
        """
        try:
            from peft import inject_adapter_in_model
        except ImportError as error:
            raise UserError("--peft lora needs the peft library: pip install -e '.[hf]'") from error
        ia3 = self.cfg.lora_variant == "ia3"
        targets = [t.strip() for t in (self.cfg.lora_targets or "").split(",") if t.strip()]
        targets = targets or list(parts.scaled if ia3 else parts.attention)
        self.cfg.lora_targets = ",".join(targets)  # so that checkpoints record them
        check_targets(targets, parts.blocks)
        if not ia3:
            check_rank(self.cfg.lora_rank, parts.blocks)
        frozen = {name for name, _ in parts.blocks.named_parameters()}
        feedforward = [t for t in targets if any(t == name or t.endswith(f".{name}") for name in parts.feedforward)]
        inject_adapter_in_model(library_config(self.cfg, feedforward), parts.blocks)
        del parts.blocks.peft_config  # the options are those of the model's config
        for name, parameter in parts.blocks.named_parameters():
            parameter.requires_grad_(name.replace(".base_layer.", ".") not in frozen)

    def layers(self, model: nn.Module) -> list[str]:
        return [name for name, _ in adapters(model)]

    def merge(self, model: nn.Module) -> None:
        for _, layer in adapters(model):
            layer.merge()

    def unmerge(self, model: nn.Module) -> None:
        for _, layer in adapters(model):
            layer.unmerge()

    @contextlib.contextmanager
    def disabled(self, model: nn.Module) -> Iterator[None]:
        for _, layer in adapters(model):
            layer.enable_adapters(False)
        try:
            yield
        finally:
            for _, layer in adapters(model):
                layer.enable_adapters(True)


def check_targets(targets: Sequence[str], blocks: nn.Module) -> None:
    """Raise an error for targets that match no linear layer: the library ignores them if another target matches.

    Raises:
        UserError: a target matches no linear layer.
    """
    linear = [name for name, module in blocks.named_modules() if isinstance(module, nn.Linear)]
    for target in targets:
        if not any(name == target or name.endswith("." + target) for name in linear):
            known = ", ".join(sorted({name.partition(".")[2] for name in linear}))
            raise UserError(f"--lora-targets: {target} is not a linear layer of this model, which has {known}")


def check_rank(rank: int, blocks: nn.Module) -> None:
    """Raise an error for a rank above every dimension of the linear layers: it adds memory, but no other updates.

    Raises:
        UserError: the rank is above these.
    """
    largest = max(max(module.weight.shape) for module in blocks.modules() if isinstance(module, nn.Linear))
    if rank > largest:
        raise UserError(
            f"--lora-rank {rank}: the largest layer of the model has {largest} inputs or outputs; 16 is usual"
        )


def adapters(model: nn.Module) -> list[tuple[str, Any]]:
    """Return [(name, layer)] of the peft library's layers in a model."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    return [(name, module) for name, module in model.named_modules() if isinstance(module, BaseTunerLayer)]


def library_config(cfg: Any, feedforward: Collection[str] = ()) -> Any:
    """Return the peft library's config of options that name their targets.

    Args:
        cfg: the options of :class:`plugins.peft.PeftConfig`, completed.
        feedforward: the targets whose input, not output, IA3 scales.
    """
    from peft import IA3Config, LoraConfig

    targets = cfg.lora_targets.split(",")
    if cfg.lora_variant == "ia3":
        return IA3Config(target_modules=targets, feedforward_modules=list(feedforward))
    return LoraConfig(
        r=cfg.lora_rank,
        lora_alpha=cfg.lora_alpha,
        lora_dropout=cfg.lora_dropout,
        target_modules=targets,
        use_rslora=cfg.lora_variant == "rslora",
        use_dora=cfg.lora_variant == "dora",
    )
