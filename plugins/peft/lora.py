"""LoRA (Hu et al., 2021, arXiv 2106.09685) and its kin, by the peft library's own layers: ``--peft lora``."""

import contextlib

from torch import nn

from plugins.errors import UserError

from .tuning import Method, Parts


class LoRA(Method):
    """Layers of the peft library around linear layers of the model. At the start they change nothing."""

    def install(self, model, parts: Parts) -> None:
        """Raises: UserError: the peft library is missing, or a target is no linear layer of the model."""
        try:
            from peft import inject_adapter_in_model
        except ImportError as error:
            raise UserError("--peft lora needs the peft library: pip install -e '.[hf]'") from error
        ia3 = self.cfg.lora_variant == "ia3"
        targets = [t.strip() for t in (self.cfg.lora_targets or "").split(",") if t.strip()]
        targets = targets or list(parts.scaled if ia3 else parts.attention)
        self.cfg.lora_targets = ",".join(targets)  # so that a checkpoint says them
        check_targets(targets, parts.blocks)
        frozen = {name for name, _ in parts.blocks.named_parameters()}
        feedforward = [t for t in targets if any(t == name or t.endswith(f".{name}") for name in parts.feedforward)]
        inject_adapter_in_model(library_config(self.cfg, feedforward), parts.blocks)
        del parts.blocks.peft_config  # the options are those of the model's config
        for name, parameter in parts.blocks.named_parameters():
            parameter.requires_grad_(name.replace(".base_layer.", ".") not in frozen)

    def layers(self, model):
        return [name for name, _ in adapters(model)]

    def merge(self, model):
        for _, layer in adapters(model):
            layer.merge()

    def unmerge(self, model):
        for _, layer in adapters(model):
            layer.unmerge()

    @contextlib.contextmanager
    def disabled(self, model):
        for _, layer in adapters(model):
            layer.enable_adapters(False)
        try:
            yield
        finally:
            for _, layer in adapters(model):
                layer.enable_adapters(True)


def check_targets(targets, blocks):
    """Refuse what is no linear layer within the layers: the library passes over it where another target is one."""
    linear = [name for name, module in blocks.named_modules() if isinstance(module, nn.Linear)]
    for target in targets:
        if not any(name == target or name.endswith("." + target) for name in linear):
            known = ", ".join(sorted({name.partition(".")[2] for name in linear}))
            raise UserError(f"--lora-targets: {target} is none of this model's linear layers, {known}")


def adapters(model):
    """Return [(name, layer)] of the peft library's layers in a model."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    return [(name, module) for name, module in model.named_modules() if isinstance(module, BaseTunerLayer)]


def library_config(cfg, feedforward=()):
    """Return the peft library's config of some options, which name their targets.

    Args:
        feedforward: those of the targets whose input, not output, IA3 scales.
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
