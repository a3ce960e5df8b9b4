"""RoBERTa with ALiBi positions and a CLAP head, after EIFY/fairseq.

Differences from fairseq's ``roberta``, each an option:

1. ALiBi, rotary or sinusoidal positions instead of learned ones (``--positions``).
2. A CLAP head instead of RoBERTa's (``--head``).
3. Embeddings divided by their norm, and multiplied by sqrt(width) (``--normalize-embeddings``, ``--scale-embeddings``).
4. A mask embedding that is zero and has no row (``--mask-embedding zero``).
5. Masking inside the model (``--self-mask-prob``).

State-dict keys are those of fairseq's RoBERTa. Architecture options that leave no trace in them are read from the
checkpoint that training starts from: see :mod:`plugins.checkpoints.roberta`.
"""

from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any

import torch
from fairseq.data import Dictionary
from fairseq.dataclass.utils import gen_parser_from_dataclass
from fairseq.models import FairseqEncoder, register_model
from fairseq.models.roberta import RobertaModel
from fairseq.modules.checkpoint_activations import checkpoint_wrapper
from fairseq.modules.quant_noise import quant_noise
from fairseq.modules.transformer_sentence_encoder import init_bert_params
from fairseq.tasks import FairseqTask
from omegaconf import DictConfig, open_dict
from torch import Tensor, nn

from plugins import checkpoints
from plugins.data import dictionaries
from plugins.errors import UserError
from plugins.modules.clap_head import ClapHead, RobertaHead
from plugins.modules.encoder import EncoderLayer, SentenceEncoder, TokenEmbedding, embedding_scale
from plugins.modules.pooler import ClassificationHead
from plugins.modules.positions import Spec
from plugins.modules.positions import build as build_positions
from plugins.options import add_tristate_flags
from plugins.peft import Parts

from . import architecture, tuning
from .clap_roberta_config import SIZES, ClapRobertaConfig
from .embedding_head import WithEmbeddingHead
from .position_options import scaling_of

UNLIKELY = -1e4  # bias of a word that is never predicted; within half precision
NO_LIMIT = 10**9  # positions, for models that take inputs of any length


@register_model("clap_roberta", dataclass=ClapRobertaConfig)
class ClapRobertaModel(WithEmbeddingHead, RobertaModel):
    """See the module's docstring. Its interface is that of :class:`fairseq.models.roberta.RobertaModel`."""

    @classmethod
    def add_args(cls, parser: ArgumentParser) -> None:
        add_tristate_flags(parser, ClapRobertaConfig)
        gen_parser_from_dataclass(parser, ClapRobertaConfig(), delete_default=True)

    @classmethod
    def build_model(cls, cfg: DictConfig, task: FairseqTask) -> "ClapRobertaModel":
        """Build a model for the dictionary of a task.

        Raises:
            UserError: the options contradict each other, the checkpoint that training starts from, or the dictionary.
        """
        dictionary = task.source_dictionary
        source = checkpoints.starting_checkpoint(cfg.save_dir, cfg.restore_file, cfg.finetune_from_model)
        state = checkpoints.read_state(source) if source else None
        if state is not None and source is not None:
            checkpoints.check_kind(cls, state, source)
        with open_dict(cfg):
            architecture.resolve(cfg, state, source)
            cfg.max_positions = cfg.max_positions or task.max_positions()
            cfg.trained_length = cfg.trained_length or cfg.max_positions
            cfg.mask_embedding = agree_on_mask(cfg.mask_embedding, dictionary)
            pad(dictionary, cfg.vocab_multiple)
            cfg.vocab_size = cfg.vocab_size or len(dictionary)
            tuning.resolve(cfg, state, source)
        check_masking(cfg, task)
        dictionaries.fit(dictionary, cfg.vocab_size)
        if state is not None:
            saved = (state.get("task_state") or {}).get("dictionary_sha256")
            dictionaries.check_same(dictionary, saved, str(source))
        with open_dict(cfg):
            model = tuning.tune(cls(cfg, ClapRobertaEncoder(cfg, dictionary)), cfg, task)
        checkpoints.record(cfg)
        return model

    def forward(
        self,
        src_tokens: Tensor,
        features_only: bool = False,
        return_all_hiddens: bool = False,
        classification_head_name: str | None = None,
        **kwargs: Any,
    ) -> tuple[Tensor | None, dict[str, Any]]:
        """Like fairseq's forward, except that with the ``bos`` pooler the last layer computes only ``<s>``.

        With ``target`` it returns None and a dict with ``loss``: see :meth:`ClapRobertaEncoder.forward`.
        """
        if classification_head_name is None:
            return super().forward(src_tokens, features_only, return_all_hiddens, **kwargs)
        head = self.classification_heads[classification_head_name]
        if head.pooler_type == "bos" and not return_all_hiddens:
            return head.classify(self.encoder.first_features(src_tokens, **kwargs)), {"inner_states": None}
        x, extra = self.encoder(src_tokens, True, return_all_hiddens, **kwargs)
        return head(x, src_tokens == self.encoder.dictionary.pad()), extra

    def register_classification_head(
        self, name: str, num_classes: int | None = None, inner_dim: int | None = None, **kwargs: Any
    ) -> None:
        """Add a classification head, or replace the one with that name; see :class:`ClassificationHead`."""
        cfg = self.args
        assert num_classes is not None, "a head has a number of classes"
        head = ClassificationHead(
            cfg.encoder_embed_dim,
            inner_dim or cfg.encoder_embed_dim,
            num_classes,
            architecture.activation(str(cfg.pooler_activation_fn)),
            cfg.pooler_dropout,
            str(cfg.pooler_type),
        )
        if cfg.quant_noise_pq:
            quant_noise(head.out_proj, cfg.quant_noise_pq, cfg.quant_noise_pq_block_size)
        if cfg.spectral_norm_classification_head:
            nn.utils.spectral_norm(head.out_proj)
        self.classification_heads[name] = head

    def peft_parts(self) -> Parts:
        """Return the parts of the model that ``--peft`` changes.

        A prompt is inserted after ``<s>``, which keeps its position, its ALiBi bias, and its row of features, which
        classification heads read.
        """
        encoder = self.encoder.sentence_encoder
        return Parts(
            body=encoder,
            table=encoder.embed_tokens,
            prompt_at=1,
            blocks=encoder.layers,
            norm=encoder.layer_norm,
            head=self.encoder.lm_head,
            attention=("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
            scaled=("self_attn.k_proj", "self_attn.v_proj", "fc2"),
            feedforward=("fc2",),
        )

    def upgrade_state_dict_named(self, state_dict: dict[str, Tensor], name: str) -> None:
        prefix = name + "." if name else ""
        old_beta = prefix + "encoder.clap_head.beta"  # early checkpoints of the fork
        if old_beta in state_dict:
            state_dict[prefix + "encoder.lm_head.beta"] = state_dict.pop(old_beta)
        super().upgrade_state_dict_named(state_dict, name)

    def max_positions(self) -> int:
        return self.encoder.max_positions()


class ClapRobertaEncoder(FairseqEncoder):
    """Sentence encoder and language-model head."""

    def __init__(self, cfg: DictConfig, dictionary: Dictionary) -> None:
        super().__init__(dictionary)
        self.args = cfg
        keep = cfg.encoder_layers_to_keep
        if keep:
            with open_dict(cfg):
                cfg.encoder_layers = len(keep.split(","))
        self.sentence_encoder = build_sentence_encoder(cfg, dictionary)
        self.sentence_encoder.apply(init_bert_params)
        if cfg.compile or cfg.compile_encoder:
            self.sentence_encoder.compile_layers()
        self.lm_head = build_head(cfg, dictionary, self.sentence_encoder.embed_tokens.weight)

    def forward(
        self,
        src_tokens: Tensor,
        features_only: bool = False,
        return_all_hiddens: bool = False,
        masked_tokens: Tensor | None = None,
        target: Tensor | None = None,
        predicted: Mapping | None = None,
        has_padding: bool | None = None,
        **unused: Any,
    ) -> tuple[Tensor | None, dict[str, Any]]:
        """Encode a batch.

        Args:
            src_tokens: (B, T).
            features_only: return features instead of logits.
            return_all_hiddens: also return the input and the output of each layer.
            masked_tokens: (B, T) boolean, the positions to predict. With ``--self-mask-prob`` the model draws the
                masked positions among them.
            target: (B, T). With it the loss at the masked positions is computed without storing their logits.
            predicted: the masked positions, see :func:`plugins.data.predicted.predicted`; None to find them here.
            has_padding: whether any token is padding; None to look.

        Returns:
            Features (B, T, C) if ``features_only``, else logits (B, T, V), or (N, V) at the N masked positions; and a
            dict with ``inner_states`` (a list of (T, B, C), or None) and ``masked_tokens`` (as given, or as drawn).
            With ``target``: None, and the dict also has ``loss``, a scalar in nats, summed over the masked positions.
        """
        if masked_tokens is not None and self.args.self_mask_prob:
            drawn = torch.rand(src_tokens.shape, device=src_tokens.device) < self.args.self_mask_prob
            masked_tokens = masked_tokens & drawn
            src_tokens = src_tokens.masked_fill(masked_tokens, self.sentence_encoder.token_embedding.mask_index)
            predicted = None
        if masked_tokens is None or features_only or return_all_hiddens:
            x, extra = self.extract_features(src_tokens, return_all_hiddens, has_padding)
            x = x if features_only else self.output_layer(x, masked_tokens)
        else:
            if predicted is None:
                rows, most = masked_tokens.flatten().nonzero().squeeze(1), None
            else:
                rows, most = predicted["rows"], predicted["most"]
            if rows is None:
                rows = torch.arange(src_tokens.numel(), device=src_tokens.device)
            extra = dict[str, Any](inner_states=None)
            x, _ = self.sentence_encoder(src_tokens, rows, most, has_padding, inner_states=False)
            if target is None:
                x = self.lm_head(x)
            else:
                extra["loss"] = self.lm_head.cross_entropy(x, target.flatten()[rows])
                return None, extra | {"masked_tokens": masked_tokens}
        return x, extra | {"masked_tokens": masked_tokens}

    def extract_features(
        self, src_tokens: Tensor, return_all_hiddens: bool = False, has_padding: bool | None = None, **unused: Any
    ) -> tuple[Tensor, dict[str, Any]]:
        x, states = self.sentence_encoder(src_tokens, has_padding=has_padding, inner_states=return_all_hiddens)
        states = [state.transpose(0, 1) for state in states] if return_all_hiddens else None  # (B, T, C) -> (T, B, C)
        return x, {"inner_states": states}

    def first_features(self, src_tokens: Tensor, has_padding: bool | None = None, **unused: Any) -> Tensor:
        """Map tokens (B, T) to the features (B, C) of the first token of each row."""
        batch, length = src_tokens.shape
        rows = torch.arange(batch, device=src_tokens.device) * length
        return self.sentence_encoder(src_tokens, rows, 1, has_padding, inner_states=False)[0]

    def output_layer(self, features: Tensor, masked_tokens: Tensor | None = None, **unused: Any) -> Tensor:
        return self.lm_head(features if masked_tokens is None else features[masked_tokens])

    def max_positions(self) -> int:
        prompt = self.sentence_encoder.prompt
        taken = 0 if prompt is None else len(prompt)
        return self.args.max_positions - taken if self.args.positions == "learned" else NO_LIMIT


def agree_on_mask(mask_embedding: str | None, dictionary: Dictionary) -> str:
    """Return the kind of the mask embedding, "zero" or "learned", and make the dictionary agree with it.

    Raises:
        UserError: a learned embedding is requested, but the task omits its row.
    """
    rowless = not getattr(dictionary, "mask_has_row", True)
    if mask_embedding == "zero" and not rowless:
        if not hasattr(dictionary, "omit_mask"):
            raise UserError("--mask-embedding zero needs a task of this package, such as clap_masked_lm")
        dictionary.omit_mask()
    if mask_embedding == "learned" and rowless:
        raise UserError("--mask-embedding learned contradicts --omit-mask, which leaves no row to learn; choose one")
    return mask_embedding or ("zero" if rowless else "learned")


def pad(dictionary: Dictionary, multiple: int) -> None:
    """Add fillers to a dictionary, so that its length is a multiple.

    Raises:
        UserError: it is not a dictionary of this package.
    """
    if isinstance(dictionary, dictionaries.MaskDictionary):
        dictionary.pad_to_multiple(multiple)
    elif multiple != 1:
        raise UserError(f"--vocab-multiple {multiple} needs a task of this package, such as clap_masked_lm")


def check_masking(cfg: DictConfig, task: FairseqTask) -> None:
    """Check that either the task or the model masks, not both.

    Raises:
        UserError: names the flags.
    """
    by_task = getattr(task.cfg, "mask_prob", None)
    if by_task == 0 and not cfg.self_mask_prob:
        raise UserError("--mask-prob 0 leaves the masking to the model; give it --self-mask-prob (for example 0.15)")
    if by_task and cfg.self_mask_prob:
        raise UserError(f"--self-mask-prob {cfg.self_mask_prob} needs --mask-prob 0: the task masks {by_task} already")


def build_sentence_encoder(cfg: DictConfig, dictionary: Dictionary) -> SentenceEncoder:
    """Build the embedding, the positions and the layers."""
    pad, width = dictionary.pad(), cfg.encoder_embed_dim
    # A padding row that stays zero cannot be normalized; the fork has none wherever rows may be normalized.
    plain = cfg.head == "roberta" and cfg.mask_embedding == "learned"
    noise = quant_noise(nn.Linear(width, width, bias=False), cfg.quant_noise_pq, cfg.quant_noise_pq_block_size)
    return SentenceEncoder(
        nn.Embedding(cfg.vocab_size, width, pad if plain else None),
        build_positions(
            str(cfg.positions),
            Spec(
                width,
                cfg.encoder_attention_heads,
                cfg.max_positions,
                padding_row=pad,
                alibi_bos=str(cfg.alibi_bos),
                alibi_float32=str(cfg.alibi_dtype) == "float32",
                scaling=scaling_of(cfg),
            ),
        ),
        TokenEmbedding(
            dictionary.index(dictionaries.MASK),
            normalize=cfg.normalize_embeddings,
            scale=embedding_scale(width, cfg.scale_embeddings),
        ),
        [build_layer(cfg) for _ in range(cfg.encoder_layers)],
        padding_index=pad,
        dropout=cfg.dropout,
        layer_norm_embedding=cfg.layernorm_embedding,
        pre_norm=cfg.encoder_normalize_before,
        norm_eps=cfg.norm_eps,
        layer_drop=cfg.encoder_layerdrop,
        embedding_noise=noise if cfg.quant_noise_pq else None,
        checkpoint_activations=cfg.checkpoint_activations and not cfg.offload_activations,
        flex_attention=str(cfg.attn_implementation) == "flex_attention",
    )


def build_layer(cfg: DictConfig) -> nn.Module:
    """Build an encoder layer, wrapped for quantization noise and offloading as configured."""
    layer = EncoderLayer(
        cfg.encoder_embed_dim,
        cfg.encoder_ffn_embed_dim,
        cfg.encoder_attention_heads,
        architecture.activation(str(cfg.activation_fn)),
        dropout=cfg.dropout,
        attention_dropout=cfg.attention_dropout,
        activation_dropout=cfg.activation_dropout,
        pre_norm=cfg.encoder_normalize_before,
        norm_eps=cfg.norm_eps,
    )
    if cfg.quant_noise_pq:
        for part in (layer, layer.self_attn):
            for linear in (m for m in part.children() if isinstance(m, nn.Linear)):
                quant_noise(linear, cfg.quant_noise_pq, cfg.quant_noise_pq_block_size)
    if cfg.checkpoint_activations and cfg.offload_activations:
        layer = checkpoint_wrapper(layer, offload_to_cpu=True)
    return layer


def build_head(cfg: DictConfig, dictionary: Dictionary, table: Tensor) -> ClapHead | RobertaHead:
    """Build the language-model head over an embedding table (V, C)."""
    if cfg.untie_weights_roberta:
        table = nn.Linear(cfg.encoder_embed_dim, cfg.vocab_size, bias=False).weight
        nn.init.normal_(table, std=0.02)
    if cfg.head == "roberta":
        activation = architecture.activation(str(cfg.head_activation_fn or cfg.activation_fn))
        head = RobertaHead(table, activation, cfg.norm_eps)
        with torch.no_grad():  # a probability of 0, so these rows and biases get no gradient
            head.bias[list(getattr(dictionary, "padding", ()))] = UNLIKELY
        return head
    excluded = dictionaries.excluded_words(dictionary, bool(cfg.exclude_unused))
    return ClapHead(
        table,
        cfg.initial_beta,
        normalize=cfg.normalize_embeddings,
        reference_dim=cfg.beta_reference_dim,
        max_scale=cfg.max_logit_scale,
        excluded=torch.tensor(excluded) if excluded else None,
    )


for _size, _sizes in SIZES.items():
    architecture.register_size("clap_roberta", f"clap_roberta_{_size}", _sizes)
