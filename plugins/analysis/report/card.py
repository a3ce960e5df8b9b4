"""The model card: the architecture, data, training and losses recorded in a checkpoint."""

import math
from collections.abc import Mapping
from pathlib import Path

from torch import nn

from plugins.analysis.language_model import LanguageModel
from plugins.checkpoints import as_dict, stored_options

# Name of a fact: the options that may contain it, of which the first that a model has is shown.
ARCHITECTURE = {
    "Layers": ("decoder_layers", "encoder_layers", "n_layer"),
    "Heads per layer": ("decoder_attention_heads", "encoder_attention_heads", "n_head"),
    "Width": ("decoder_embed_dim", "encoder_embed_dim", "n_embd"),
    "Inner width": ("decoder_ffn_embed_dim", "encoder_ffn_embed_dim"),
    "Positions": ("positions",),
    "Longest input": ("block_size", "max_positions", "n_positions"),
    "Vocabulary": ("vocab_size",),
    "Prediction head": ("head",),
    "Mask embedding": ("mask_embedding",),
    "Styles": ("num_styles",),
    "Style inference": ("style_inference",),
    "Style layers": ("style_layers",),
    "Fine-tuned with": ("peft",),
    "Base checkpoint": ("peft_base",),
}
GROUPS = ("model", "task", "criterion", "optimizer", "lr_scheduler", "optimization", "dataset")


def model_card(lm: LanguageModel, state: Mapping, source: str = "") -> dict:
    """Return ``card``, groups of named facts, and ``options``, all options with their values, as text.

    Args:
        lm: returned by ``plugins.hub.load``.
        state: the content of its checkpoint.
        source: name of the text that the report reads.
    """
    groups = {
        "Architecture": architecture(lm, state),
        "Parameters": parameters(lm.model),
        "Data": data(state, source),
        "Losses": losses(state),
        "Training": training(state),
    }
    card = [{"name": name, "facts": facts} for name, facts in groups.items() if facts]
    return {"card": card, "options": options(state)}


def architecture(lm: LanguageModel, state: Mapping) -> list[tuple[str, str]]:
    """Return the options of the architecture."""
    stored, _ = stored_options(state)
    known = {**stored, **as_dict(lm.options)}
    facts = [("Architecture", str(stored.get("arch") or stored.get("_name") or type(lm.model).__name__))]
    hidden = () if lm.styles else ("Styles", "Style inference", "Style layers")
    for name, candidates in ARCHITECTURE.items():
        value = next((known[option] for option in candidates if known.get(option) is not None), None)
        if value not in (None, "none") and name not in hidden:
            facts.append((name, shown(value)))
    return facts


def parameters(model: nn.Module) -> list[tuple[str, str]]:
    """Return the numbers of parameters; a shared parameter counts once."""
    sizes = {id(p): p.numel() for p in model.parameters()}
    tables = {id(m.weight): m.weight.numel() for m in model.modules() if isinstance(m, nn.Embedding)}
    total, embedded = sum(sizes.values()), sum(tables.values())
    frozen = sum(p.numel() for p in model.parameters() if not p.requires_grad)
    facts = [("All", f"{total:,}"), ("Embeddings", f"{embedded:,}"), ("Everything else", f"{total - embedded:,}")]
    return facts + ([("Frozen", f"{frozen:,}")] if frozen else [])


def data(state: Mapping, source: str = "") -> list[tuple[str, str]]:
    """Return the names of the training and validation data, and of the text that the report reads."""
    task = as_dict(_sections(state).get("task"))
    known = {
        "Trained on": _names(task.get("data")),
        "Validated on": _names(task.get("valid_data")) or _unless(task.get("valid_fraction"), "{:.0%} of that text"),
        "Style from": task.get("style_from"),
        "This page reads": _names(source),
    }
    return [(name, str(value)) for name, value in known.items() if value not in (None, "", "none")]


def _names(paths: object) -> str:
    """Return the last two parts of each of several paths, separated by colons as fairseq writes them."""
    return ", ".join("/".join(Path(path).parts[-2:]) for path in str(paths or "").split(":") if path)


def _unless(value: float | None, form: str) -> str:
    return form.format(value) if value else ""


def training(state: Mapping) -> list[tuple[str, str]]:
    """Return how the checkpoint was trained, from its options and counters."""
    cfg = {name: as_dict(part) for name, part in _sections(state).items()}
    history, extra = state.get("optimizer_history") or [{}], state.get("extra_state") or {}
    optimization, dataset, common = (cfg.get(name, {}) for name in ("optimization", "dataset", "common"))
    optimizer, schedule = cfg.get("optimizer", {}), cfg.get("lr_scheduler", {})
    seconds, tokens = extra.get("previous_training_time"), _meter(state, "wpb")
    known = {
        "Updates": history[-1].get("num_updates"),
        "Epoch": (extra.get("train_iterator") or {}).get("epoch"),
        "Objective": cfg.get("criterion", {}).get("_name"),
        "Optimizer": optimizer.get("_name"),
        "Peak learning rate": optimization.get("lr"),
        "Schedule": schedule.get("_name"),
        "Warm-up updates": schedule.get("warmup_updates"),
        "Batch": dataset.get("batch_size") and f"{dataset['batch_size']:,} sequences",
        "Batches per update": _unless_one(optimization.get("update_freq")),
        "Tokens per update": tokens and round(tokens["mean"]),
        "Dropout": cfg.get("model", {}).get("dropout"),
        "Weight decay": optimizer.get("weight_decay"),
        "Gradient clipping": optimization.get("clip_norm") or None,
        "Seed": common.get("seed"),
        "Time": seconds and duration(seconds),
    }
    return [(name, shown(value)) for name, value in known.items() if value not in (None, "", "???")]


def losses(state: Mapping) -> list[tuple[str, str]]:
    """Return the losses that fairseq stores, in bits because its losses are to base 2."""
    cfg, extra = _sections(state), state.get("extra_state") or {}
    metric = as_dict(cfg.get("checkpoint")).get("best_checkpoint_metric", "loss")
    trained, valid, best = _meter(state, "loss"), extra.get("val_loss"), extra.get("best")
    facts = []
    if valid is not None and metric == "loss":
        facts += [("Validation", f"{valid:.3f} bits"), ("Validation, in nats", f"{valid * math.log(2):.3f}")]
        facts += [("Perplexity", f"{2**valid:,.2f}")] if valid < 50 else []
    elif valid is not None:
        facts.append((f"Validation, {metric}", f"{valid:.3f}"))
    if best is not None and best != valid:
        facts.append((f"Best validation, {metric}", f"{best:.3f}"))
    if trained:
        facts.append(("Training, epoch mean", f"{trained['mean']:.3f} bits"))
    return facts


def options(state: Mapping) -> list[tuple[str, str]]:
    """Return all options of :data:`GROUPS` that have a value."""
    sections = {name: as_dict(part) for name, part in _sections(state).items() if name in GROUPS}
    return [
        (f"{group}.{name}", shown(value))
        for group in GROUPS for name, value in sections.get(group, {}).items() if value not in (None, "", "???")
    ]  # fmt: skip


def _sections(state: Mapping) -> dict:
    if state.get("cfg") is not None:
        return {name: part for name, part in as_dict(state["cfg"]).items() if isinstance(part, Mapping)}
    model, _ = stored_options(state)
    return (
        {"model": model, "dataset": model, "optimization": model, "optimizer": model, "common": model} if model else {}
    )


def _meter(state: Mapping, name: str) -> dict | None:
    """Return the ``mean`` of a fairseq average meter of training, or None."""
    meters = ((state.get("extra_state") or {}).get("metrics") or {}).get("train") or []
    for _, meter, kind, values in meters:
        if (meter, kind) == (name, "AverageMeter") and values["count"]:
            return {"mean": float(values["sum"]) / float(values["count"])}
    return None


def _unless_one(values):
    return None if values in (None, [1]) else values


def shown(value: object) -> str:
    """Return an option as text, numbers with separators."""
    if isinstance(value, (list, tuple)):
        return ", ".join(map(shown, value))
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return f"{value:g}" if isinstance(value, float) else str(value)


def duration(seconds: float) -> str:
    """Return a time in hours and minutes, or minutes and seconds."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"
