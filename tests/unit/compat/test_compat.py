"""The list of repairs."""

import importlib

import pytest
from fairseq import checkpoint_utils

from plugins import compat


def test_what_was_repaired_is_listed():
    assert len(compat.REPAIRS) >= 6
    assert all(name and what for name, what in compat.REPAIRS)
    assert len({name for name, _ in compat.REPAIRS}) == len(compat.REPAIRS)


def test_installing_twice_changes_nothing():
    before = list(compat.REPAIRS), checkpoint_utils.load_checkpoint_to_cpu
    compat.install(None, None)
    assert (compat.REPAIRS, checkpoint_utils.load_checkpoint_to_cpu) == before


PATCHED = {
    "fairseq.checkpoint_utils": ["load_checkpoint_to_cpu", "load_model_ensemble_and_task", "save_checkpoint",
                                 "torch_persistent_save", "verify_checkpoint_directory"],
    "fairseq.data.data_utils": ["raise_if_valid_subsets_unintentionally_ignored"],
    "fairseq.data.iterators:BufferedIterator": ["_create_consumer"],
    "fairseq.data.iterators:EpochBatchIterator": ["state_dict", "load_state_dict"],
    "fairseq.distributed.utils": ["all_gather_list", "call_main"],
    "fairseq.file_utils": ["cached_path", "get_from_cache", "http_get", "s3_get", "s3_etag", "load_archive_file"],
    "fairseq.logging.progress_bar": ["progress_bar"],
    "fairseq.models": ["DistributedFairseqModel"],
    "fairseq.modules.checkpoint_activations": ["_checkpointed_forward"],
    "fairseq.optim:AMPOptimizer": ["step"],
    "fairseq.optim:FP16Optimizer": ["build_fp32_params"],
    "fairseq.options": ["parse_args_and_arch"],
    "fairseq.trainer": ["_catalog_shared_params"],
    "fairseq.trainer:Trainer": ["__init__", "_build_optimizer", "_set_seed", "clip_grad_norm", "get_valid_iterator",
                                "load_checkpoint", "save_checkpoint"],
}  # fmt: skip
TWICE = {"call_main": 3, "__init__": 3, "_build_optimizer": 2}  # replaced by several files


@pytest.mark.parametrize("place", PATCHED)
def test_every_repair_is_in_place(place):
    module, _, name = place.partition(":")
    owner = importlib.import_module(module)
    owner = getattr(owner, name) if name else owner
    for name in PATCHED[place]:
        found, count = getattr(owner, name), 0
        while hasattr(found, "__wrapped__") and found.__closure__:
            found, count = found.__wrapped__, count + 1
        assert count >= TWICE.get(name, 1), name


def test_repairs_that_replace_whole_functions_are_in_place():
    from fairseq import utils
    from fairseq.file_io import PathManager
    from fairseq.models.roberta import model as roberta
    from fairseq.trainer import Trainer

    from plugins.compat import optimizers
    from plugins.hub.roberta import RobertaInterface

    assert utils.clip_grad_norm_ is optimizers.clip_grad_norm_
    assert PathManager.copy.__module__ == "plugins.compat.checkpoint_files"
    assert roberta.RobertaHubInterface is RobertaInterface
    assert isinstance(Trainer.always_call_state_dict_during_save_checkpoint, property)


def test_every_repair_is_listed_by_its_name():
    assert {name for name, _ in compat.REPAIRS} >= {
        "--amp", "--bf16", "--checkpoint-activations", "--clip-norm", "--finetune-from", "--help", "--patience",
        "--quant-noise-scalar",
        "--save-dir", "--shard", "--valid-subset train", "SIGTERM", "checkpoint reading", "checkpoint_best.pt",
        "checkpoint_last.pt", "console", "data in a file", "downloads", "evaluated options", "fill_mask", "full disks",
        "gathering",
        "half precision", "hydra paths", "late errors", "number formats", "position", "random numbers",
        "reading ahead", "safe checkpoints", "several processes", "several workers", "shared parameters",
    }  # fmt: skip
