"""clap_roberta for transformers: its config, its tensors, and its code unless it is a stock RoBERTa."""

import dataclasses
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from plugins.data import dictionaries
from plugins.data.text.tokenizers import DICTIONARY_FILE, TOKENIZER_FILES
from plugins.errors import UserError
from plugins.models.embedding_head import NAME, SCORE_HEAD
from plugins.models.position_options import scaling_of
from plugins.modules.activations import ACTIVATIONS
from plugins.modules.pooler import ClassificationHead
from plugins.modules.scaling import Scaling
from plugins.modules.score_head import ScoreHead

from . import remote_code, tokenizers_out
from .contents import Contents
from .files import check_untuned
from .roberta_names import stock_name

SHELL = "modeling_clap_roberta"
CLASSES = {
    "AutoConfig": "ClapRobertaConfig",
    "AutoModel": "ClapRobertaModel",
    "AutoModelForMaskedLM": "ClapRobertaForMaskedLM",
    "AutoModelForSequenceClassification": "ClapRobertaForSequenceClassification",
}
STOCK = {  # options of a model that is RoBERTa's; the values are what they have to be
    "positions": "learned",
    "position_scaling": "none",
    "head": "roberta",
    "mask_embedding": "learned",
    "normalize_embeddings": False,
    "scale_embeddings": False,
    "layernorm_embedding": True,
    "encoder_normalize_before": False,
}
HEADS = ("classification_heads.", f"{NAME}.", f"{SCORE_HEAD}.")  # prefixes of the heads' tensors
STOCK_ACTIVATIONS = {"gelu": "gelu", "relu": "relu", "gelu_accurate": "gelu_new", "gelu_fast": "gelu_new"}


def contents(interface: Any, head: str | None, spec: Any, scorer: ScoreHead | None = None) -> Contents:
    """Return the content of the folder of a masked LM or a classifier.

    Args:
        interface: a :class:`plugins.hub.RobertaInterface`.
        head: name of the classification head to export; None for the only one, or for the LM without one.
        spec: the task that the head was trained for (``plugins.data.glue.specs``), or None.
        scorer: the head of a preference model, which is exported instead, as a regression.

    Raises:
        UserError: the model is tuned by ``--peft``, or has an option that the code for transformers does not have.
    """
    model = interface.model
    cfg, dictionary, classifiers = model.args, interface.task.source_dictionary, dict(model.classification_heads)
    if scorer is not None:
        classifiers = {SCORE_HEAD: as_classifier(scorer)}
    check_untuned(cfg)
    if head is None and len(classifiers) > 1:
        raise UserError(f"the model has the classification heads {', '.join(classifiers)}; name one: --head NAME")
    if head is not None and head not in classifiers:
        raise UserError(f"--head {head}: the model has {', '.join(classifiers) or 'no classification head'}")
    head = head or next(iter(classifiers), None)
    classifier = None if head is None else classifiers[head]
    stock = is_stock(cfg, classifier)
    config = (stock_config if stock else own_config)(cfg, dictionary, classifier)
    kind = "MaskedLM" if head is None else "SequenceClassification"
    config |= {"architectures": [f"{'Roberta' if stock else 'ClapRoberta'}For{kind}"]}
    if classifier is not None:
        config |= labels_of(classifier.out_proj.out_features, spec)
    length = cfg.max_positions if cfg.positions == "learned" else None
    tensors = tensors_of(model, classifier, stock)
    files = tokenizers_out.of_masked_lm(dictionary, interface.bpe, length) | original_files(interface)
    pipeline = "fill-mask" if head is None else "text-classification"
    return Contents(config, tensors, files, {} if stock else remote_code.files_of(SHELL), pipeline)


def as_classifier(scorer: ScoreHead) -> ClassificationHead:
    """Return the head of a preference model as a classification head with one output."""
    width = scorer.dense.in_features
    head = ClassificationHead(width, width, 1, torch.tanh, scorer.dropout.p, scorer.pooling)
    head.load_state_dict({name: tensor for name, tensor in scorer.state_dict().items() if name != "flip"})
    return head.eval()


def pooler_activation(cfg: Any, classifier: Any) -> str:
    """Return the name of the activation of a classification head."""
    return "tanh" if classifier is not None and classifier.activation is torch.tanh else str(cfg.pooler_activation_fn)


def is_stock(cfg: Any, classifier: Any) -> bool:
    """Return whether transformers' own RoBERTa computes the same function."""
    if not all(str(cfg[name]) == str(value) for name, value in STOCK.items()):
        return False
    if str(cfg.activation_fn) not in STOCK_ACTIVATIONS:
        return False
    if classifier is None:
        return str(cfg.head_activation_fn or cfg.activation_fn) == "gelu"
    inner = classifier.dense.out_features == cfg.encoder_embed_dim
    return inner and classifier.pooler_type == "bos" and pooler_activation(cfg, classifier) == "tanh"


def common_config(cfg: Any, dictionary: Any, classifier: Any) -> dict[str, Any]:
    """Return the keys that a config has in both cases."""
    return {
        "vocab_size": cfg.vocab_size,
        "hidden_size": cfg.encoder_embed_dim,
        "num_hidden_layers": cfg.encoder_layers,
        "num_attention_heads": cfg.encoder_attention_heads,
        "intermediate_size": cfg.encoder_ffn_embed_dim,
        "layer_norm_eps": cfg.norm_eps,
        "hidden_dropout_prob": cfg.dropout,
        "attention_probs_dropout_prob": cfg.attention_dropout,
        "classifier_dropout": cfg.pooler_dropout if classifier is None else classifier.dropout.p,
        "tie_word_embeddings": not cfg.untie_weights_roberta,
        "pad_token_id": dictionary.pad(),
        "bos_token_id": dictionary.bos(),
        "eos_token_id": dictionary.eos(),
    }


def stock_config(cfg: Any, dictionary: Any, classifier: Any) -> dict[str, Any]:
    """Return the config of transformers' own RoBERTa."""
    return common_config(cfg, dictionary, classifier) | {
        "model_type": "roberta",
        "hidden_act": STOCK_ACTIVATIONS[str(cfg.activation_fn)],
        "max_position_embeddings": cfg.max_positions + dictionary.pad() + 1,
        "type_vocab_size": 1,
    }


def own_config(cfg: Any, dictionary: Any, classifier: Any) -> dict[str, Any]:
    """Return the config of the code that goes into the folder.

    Raises:
        UserError: an activation that the code does not have.
    """
    activations = {
        "hidden_act": str(cfg.activation_fn),
        "head_act": str(cfg.head_activation_fn or cfg.activation_fn),
        "pooler_act": pooler_activation(cfg, classifier),
    }
    for name in activations.values():
        if name not in ACTIVATIONS:
            raise UserError(f"activation {name} cannot be exported; {', '.join(ACTIVATIONS)} can")
    return common_config(cfg, dictionary, classifier) | activations | {
        "model_type": "clap_roberta",
        "auto_map": {auto: f"{SHELL}.{name}" for auto, name in CLASSES.items()},
        "max_positions": cfg.max_positions,
        "positions": str(cfg.positions),
        "alibi_bos": str(cfg.alibi_bos),
        "position_scaling": scaling(cfg),
        "head": str(cfg.head),
        "normalize_embeddings": bool(cfg.normalize_embeddings),
        "scale_embeddings": bool(cfg.scale_embeddings),
        "layernorm_embedding": bool(cfg.layernorm_embedding),
        "pre_norm": bool(cfg.encoder_normalize_before),
        "pooler_type": str(cfg.pooler_type) if classifier is None else classifier.pooler_type,
        "classifier_dim": None if classifier is None else classifier.dense.out_features,
        "activation_dropout_prob": cfg.activation_dropout,
        "beta_reference_dim": cfg.beta_reference_dim or 0,
        "max_logit_scale": cfg.max_logit_scale or 0.0,
        "excluded": dictionaries.excluded_words(dictionary, bool(cfg.exclude_unused)) or None,
        "mask_token_id": dictionary.index(dictionaries.MASK),
    }  # fmt: skip


def scaling(cfg: Any) -> list[Any] | None:
    """Return the arguments of :class:`plugins.modules.scaling.Scaling`, None without scaling."""
    found = scaling_of(cfg)
    return None if found == Scaling() else [getattr(found, field.name) for field in dataclasses.fields(found)]


def labels_of(count: int, spec: Any) -> dict[str, Any]:
    """Return the keys of a config that name the labels.

    Args:
        count: number of the outputs; 1 is a regression.
        spec: the task, or None where it is not known.
    """
    if count == 1:
        return {"num_labels": 1, "problem_type": "regression", "id2label": {"0": "score"}, "label2id": {"score": 0}}
    names = list(spec.id2label) if spec is not None else [f"LABEL_{i}" for i in range(count)]
    return {
        "problem_type": "single_label_classification",
        "id2label": {str(i): name for i, name in enumerate(names)},
        "label2id": {name: i for i, name in enumerate(names)},
    }


def tensors_of(model: Any, classifier: Any, stock: bool) -> dict[str, Tensor]:
    """Return {name: tensor} as transformers has them.

    Args:
        classifier: the classification head that replaces the LM's; None for the LM.
        stock: for transformers' own RoBERTa.
    """
    state, tied = model.state_dict(), not model.args.untie_weights_roberta
    tensors = {} if classifier is None else {f"classifier.{name}": t for name, t in classifier.state_dict().items()}
    for name, tensor in state.items():
        if name.startswith(HEADS):
            continue
        elif name.startswith("encoder.lm_head."):
            if classifier is not None or (tied and name == "encoder.lm_head.weight"):
                continue
            theirs = stock_name(name) if stock else name.removeprefix("encoder.")
        else:
            theirs = stock_name(name) if stock else name.replace("encoder.sentence_encoder.", "model.encoder.", 1)
        if theirs is not None:
            tensors[theirs] = tensor.reshape(1) if theirs == "lm_head.beta" else tensor
    if stock and "lm_head.decoder.weight" in tensors:
        tensors["lm_head.decoder.bias"] = tensors["lm_head.bias"].clone()
    if stock:
        width = model.args.encoder_embed_dim
        tensors["roberta.embeddings.token_type_embeddings.weight"] = state[
            "encoder.sentence_encoder.embed_tokens.weight"
        ].new_zeros(1, width)
    return tensors


def original_files(interface: Any) -> dict[str, bytes]:
    """Return the dictionary and tokenizer next to the checkpoint, for ``scripts/import_hf.py``.

    The dictionary also has the fillers of ``--vocab-multiple``, so that it has a word for every row.
    """
    path = (interface.cfg.get("common_eval") or {}).get("path")
    folder = Path(os.path.dirname(path)) if path else None
    if folder is None:
        return {}
    files = {name: (folder / name).read_bytes() for name in TOKENIZER_FILES if (folder / name).exists()}
    dictionary = interface.task.source_dictionary
    fillers = [dictionary[i] for i in getattr(dictionary, "padding", ())]
    if fillers and DICTIONARY_FILE in files:
        lines = [files[DICTIONARY_FILE].decode().removesuffix("\n"), *(f"{word} 0" for word in fillers)]
        files[DICTIONARY_FILE] = ("\n".join(lines) + "\n").encode()
    return files
