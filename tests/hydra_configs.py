"""Example configs as ``fairseq-hydra-train`` reads them."""

import functools

from fairseq import tasks
from fairseq.data.iterators import GroupedIterator
from fairseq.dataclass.initialize import add_defaults, hydra_init
from fairseq.dataclass.utils import omegaconf_no_object_check
from fairseq.trainer import Trainer
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf, open_dict


@functools.cache
def composed(path, *overrides):
    """Return the config that hydra and ``fairseq_cli.hydra_train`` make of a file, interpolations not yet resolved.

    Args:
        overrides: as on the command line, for example ``variant=alibi``.
    """
    hydra_init(path.stem)
    with initialize_config_dir(str(path.parent), job_name="hydra_train", version_base="1.1"):
        cfg = compose(path.stem, list(overrides), return_hydra_config=True)
    HydraConfig.instance().set_config(cfg)
    with open_dict(cfg):
        cfg.checkpoint.save_dir = cfg.checkpoint.save_dir  # resolved while hydra's own part is there
        del cfg["hydra"]
    HydraConfig.instance().cfg = None
    add_defaults(cfg)
    return cfg


def one_update(cfg):
    """Train on the first batch of a resolved config; return the number of updates and the loss."""
    task = tasks.setup_task(cfg.task)
    trainer = Trainer(cfg, task, task.build_model(cfg.model), task.build_criterion(cfg.criterion))
    batches = trainer.get_train_iterator(epoch=1).next_epoch_itr(shuffle=False)
    trainer.begin_epoch(1)
    log = trainer.train_step(next(GroupedIterator(batches, 1)))
    return trainer.get_num_updates(), log["loss"]


def resolved(cfg):
    with omegaconf_no_object_check():
        return OmegaConf.create(OmegaConf.to_container(cfg, resolve=True, enum_to_str=True))
