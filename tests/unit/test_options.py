"""Options of configs, and flags that may be on, off or absent."""

import argparse
from dataclasses import dataclass, field
from typing import Optional

import toy

from plugins import options


@dataclass
class Config:
    first: Optional[bool] = field(default=None, metadata={"help": "an on/off option"})
    plain: bool = field(default=False, metadata={"help": "not tri-state"})
    size: Optional[int] = options.architecture("its size")
    rate: float = options.option(0.5, "its rate")


def test_an_on_off_option_is_on_off_or_absent():
    parser = argparse.ArgumentParser()
    options.add_tristate_flags(parser, Config)
    found = [vars(parser.parse_args(words)) for words in ([], ["--first"], ["--no-first"])]
    assert found == [{"first": None}, {"first": True}, {"first": False}]


def test_only_options_of_the_architecture_are_decided_by_a_checkpoint():
    assert options.architecture_names(Config) == ["size"]
    assert (Config().size, Config().rate) == (None, 0.5)


def test_an_option_is_written_with_hyphens():
    assert options.flag("max_update_freq") == "--max-update-freq"


def test_a_model_outside_of_training_starts_from_nothing():
    assert options.NO_START == {"save_dir": None, "restore_file": None, "finetune_from_model": None}


def test_nothing_is_compiled_or_sharded_and_any_improvement_counts_unless_requested():
    assert options.CompileConfig().compile is False and options.ShardConfig().shard is False
    assert options.BestConfig().min_delta == 0


def test_a_number_of_layers_that_no_memory_holds_is_refused():
    options.check_depth(10_000, "encoder_layers")
    with toy.refused("--encoder-layers 10001"):
        options.check_depth(10_001, "encoder_layers")
