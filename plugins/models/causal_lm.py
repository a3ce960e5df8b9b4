"""GPT-2 class models: the decoder of the character LMs over any dictionary."""

from collections.abc import Mapping, Sequence

import torch
from fairseq.data import Dictionary
from fairseq.models import register_model
from fairseq.tasks import FairseqTask
from omegaconf import DictConfig
from torch import Tensor

from plugins.errors import UserError

from .architecture import register_size
from .causal_lm_config import DEFAULTS, SIZES, CausalLMConfig
from .decoder_lm import DecoderLanguageModel, LMDecoder, fill, validate

TABLES = ("transformer.wte.weight", "lm_head.weight")


class CausalDecoder(LMDecoder):
    """A decoder that also loads weights from before symbols were added to the dictionary."""

    def upgrade_state_dict_named(self, state_dict: dict[str, Tensor], name: str) -> dict[str, Tensor]:
        """Append a row for each new symbol to the tables of a checkpoint, in place.

        A new row is the mean of the others, so that the new symbol gets about the average probability and the others
        keep theirs (Hewitt, 2021, "Initializing New Word Embeddings").
        """
        for key in (f"{name}.{table}" for table in TABLES):
            table = state_dict.get(key)
            new = 0 if table is None else len(self.dictionary) - len(table)
            if table is not None and 0 < new <= len(added_symbols(self.dictionary)):
                mean = table.float().mean(0, keepdim=True).to(table.dtype)
                state_dict[key] = torch.cat([table, mean.expand(new, -1)])
        return state_dict


@register_model("causal_lm", dataclass=CausalLMConfig)
class CausalLanguageModel(DecoderLanguageModel):
    """See the module's docstring."""

    config, decoder_type = CausalLMConfig, CausalDecoder

    @classmethod
    def saved_architecture(cls, state: Mapping, task: FairseqTask, source: str) -> dict:
        """Return the architecture of a checkpoint, without the size of its vocabulary.

        Raises:
            UserError: the dictionary has another number of symbols than the table of the checkpoint.
        """
        saved = super().saved_architecture(state, task, source)
        rows, symbols = saved.pop("vocab_size"), len(task.source_dictionary)  # which may have had symbols added
        if not symbols - len(added_symbols(task.source_dictionary)) <= rows <= symbols:
            raise UserError(f"{source}: its table has {rows} rows, but the dictionary {symbols} symbols; use its own")
        return saved

    @classmethod
    def complete(cls, cfg: DictConfig, task: FairseqTask) -> None:
        """Fill in the defaults of the options in place, and check them."""
        fill(cfg, DEFAULTS, len(task.source_dictionary))
        validate(cfg)


def added_symbols(dictionary: Dictionary) -> Sequence[str]:
    """Return the symbols that were added to a dictionary, which may have no row in a checkpoint's table."""
    return getattr(dictionary, "added", ())


for _size, _sizes in SIZES.items():
    register_size("causal_lm", f"causal_lm_{_size}", _sizes)
