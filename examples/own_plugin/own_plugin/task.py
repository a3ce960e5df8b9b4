"""A task: masked language modeling with a part of the training blocks, to see what more data brings."""

from dataclasses import dataclass

from fairseq.tasks import register_task

from plugins.data.mlm.masking import MaskedBlocks
from plugins.errors import UserError
from plugins.options import option
from plugins.tasks.clap_masked_lm import ClapMaskedLMConfig, ClapMaskedLMTask


@dataclass
class PartMaskedLMConfig(ClapMaskedLMConfig):
    # A flag must be new: model, task, criterion and fairseq share one command line.
    training_share: float = option(1.0, "share of the training blocks that is used, from the start, above 0")


@register_task("part_masked_lm", dataclass=PartMaskedLMConfig)
class PartMaskedLMTask(ClapMaskedLMTask):
    """``clap_masked_lm`` on the first ``--training-share`` of the training blocks."""

    def load_dataset(self, split, epoch=1, combine=False, **kwargs):
        """Load a split.

        Raises:
            UserError: the share is not above 0 and at most 1.
        """
        super().load_dataset(split, epoch, combine, **kwargs)
        share = self.cfg.training_share
        if not 0 < share <= 1:
            raise UserError(f"--training-share {share} is not above 0 and at most 1")
        if split == "train" and share < 1:
            whole = self.datasets[split]
            count = max(1, round(share * len(whole)))
            self.datasets[split] = FirstBlocks(whole, count)


class FirstBlocks(MaskedBlocks):
    """The first blocks of masked blocks."""

    def __init__(self, whole: MaskedBlocks, count: int):
        super().__init__(whole.blocks, whole.masking, whole.seed)
        self.sizes, self.shuffle = self.sizes[:count], self.shuffle[self.shuffle < count]

    def __len__(self):
        return len(self.sizes)
