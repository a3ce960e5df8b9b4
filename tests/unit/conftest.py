"""Toy character LMs, and scripts run in this process."""

import importlib.util
import logging
import sys
from types import SimpleNamespace

import pytest
import torch
import toy
from omegaconf import OmegaConf

from plugins.data.char_dictionary import CharDictionary
from plugins.hub import CharLM
from plugins.models.char_lm import CharLanguageModel
from plugins.models.char_lm_config import CharLMConfig

TOY = {"decoder_layers": 2, "decoder_attention_heads": 2, "decoder_embed_dim": 16, "block_size": 16, "style_prefix": 5}
CHARACTERS = "\n abcdefgh"


@pytest.fixture
def make_char_lm():
    def make(characters=CHARACTERS, styles=(), unit="char", seed=0, **options):
        """Return a CharLM with random weights, large enough that styles and contexts make a difference."""
        dictionary = CharDictionary.of_bytes() if unit == "byte" else CharDictionary(characters)
        start = dict.fromkeys(("save_dir", "restore_file", "finetune_from_model"))
        if styles:
            options = {"style_layers": "every", **options}
        cfg = OmegaConf.structured(CharLMConfig(**{**TOY, **start, **options}))
        task = SimpleNamespace(source_dictionary=dictionary, style_names=list(styles))
        torch.manual_seed(seed)
        model = toy.randomize(CharLanguageModel.build_model(cfg, task), seed, scale=0.5)
        return CharLM(model, dictionary, list(styles))

    return make


@pytest.fixture
def run_script(monkeypatch):
    """Run the command line of a script: it returns nothing, or raises what ends it."""

    def run(name, *arguments):
        spec = importlib.util.spec_from_file_location(name, toy.ROOT / "scripts" / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        monkeypatch.setattr(sys, "excepthook", sys.excepthook)
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, arguments)])
        monkeypatch.setattr(logging.root.manager, "disable", logging.root.manager.disable)
        module.main()

    return run
