"""Checkpoints of causal LMs as fairseq reads them."""

import torch
import toy
from fairseq import checkpoint_utils

from plugins import checkpoints
from plugins.data.text.causal_tokenizers import Characters
from plugins.data.text.token_dictionary import TokenDictionary
from plugins.models.causal_lm import CausalLanguageModel

SIZES = {"decoder_layers": 1, "decoder_attention_heads": 2, "decoder_embed_dim": 8, "block_size": 8}


def model_of(characters):
    return checkpoints.new_model(CausalLanguageModel, SIZES, TokenDictionary(Characters(characters)))


def test_fairseq_reads_what_is_written(tmp_path):
    model = model_of("abcd")
    checkpoints.write_causal_lm(tmp_path / "new" / "x.pt", model)
    state = checkpoint_utils.load_checkpoint_to_cpu(str(tmp_path / "new" / "x.pt"))
    assert state["cfg"].model._name == state["cfg"].task._name == state["cfg"].criterion._name == "causal_lm"
    assert state["cfg"].model.decoder_layers == 1 and state["cfg"].model.finetune_from_model is None
    assert state["optimizer_history"][0]["num_updates"] == 0 and state["last_optimizer_state"] is None
    assert state["extra_state"]["train_iterator"]["epoch"] == 1
    assert state["model"].keys() == model.state_dict().keys()
    assert checkpoints.read_causal_lm(str(tmp_path / "new" / "x.pt"))[1].symbols == model.decoder.dictionary.symbols


def test_a_folder_has_one_tokenizer(tmp_path):
    checkpoints.write_causal_lm(tmp_path / "x.pt", model_of("abcd"))
    checkpoints.write_causal_lm(tmp_path / "y.pt", model_of("abcd"))
    before = sorted(path.name for path in tmp_path.iterdir())
    with toy.refused(tmp_path / "z.pt", "x.pt"):
        checkpoints.write_causal_lm(tmp_path / "z.pt", model_of("abce"))
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_the_only_model_of_a_folder_may_be_replaced_and_other_files_do_not_matter(tmp_path):
    checkpoints.write_causal_lm(tmp_path / "x.pt", model_of("abcd"))
    checkpoints.write_causal_lm(tmp_path / "x.pt", model_of("abce"))
    (tmp_path / "characters.json").write_text("[")  # no tokenizer that could be replaced
    torch.save({}, tmp_path / "y.pt")
    checkpoints.write_causal_lm(tmp_path / "x.pt", model_of("abcf"))
    assert "f" in checkpoints.read_causal_lm(str(tmp_path / "x.pt"))[1].symbols
