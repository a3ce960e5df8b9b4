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
from typing import Any

from fairseq.data import Dictionary
from fairseq.dataclass.utils import gen_parser_from_dataclass
from fairseq.models import register_model
from fairseq.models.roberta import RobertaModel
from fairseq.modules.quant_noise import quant_noise
from fairseq.tasks import FairseqTask
from omegaconf import DictConfig, open_dict
from torch import Tensor, nn

from plugins import checkpoints
from plugins.data import dictionaries
from plugins.errors import UserError
from plugins.modules.pooler import ClassificationHead
from plugins.options import add_tristate_flags
from plugins.peft import Parts

from . import architecture, tuning
from .clap_roberta_config import SIZES, ClapRobertaConfig
from .clap_roberta_encoder import ClapRobertaEncoder
from .embedding_head import WithEmbeddingHead


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


def agree_on_mask(mask_embedding: str | None, dictionary: Dictionary) -> str:
    """Return the kind of the mask embedding, "zero" or "learned", and make the dictionary agree with it.

    Raises:
        UserError: a learned embedding is requested, but the task omits its row.
    """
    rowless = not getattr(dictionary, "mask_has_row", True)
    if mask_embedding == "zero" and not rowless:
        if not hasattr(dictionary, "omit_mask"):
            raise UserError("--mask-embedding zero needs a task of this package, for example clap_masked_lm")
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
        raise UserError(f"--vocab-multiple {multiple} needs a task of this package, for example clap_masked_lm")


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


for _size, _sizes in SIZES.items():
    architecture.register_size("clap_roberta", f"clap_roberta_{_size}", _sizes)
