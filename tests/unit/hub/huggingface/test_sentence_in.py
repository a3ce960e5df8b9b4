"""What a folder of sentence-transformers has besides its transformer is named at import."""

import json

import pytest
import toy

from plugins.hub.huggingface import sentence_in

KIND = "sentence_transformers.models."


def write(folder, *kinds, pooling="cls_token", **more):
    modules = [{"idx": i, "path": f"{i}_{kind}" if i else "", "type": KIND + kind} for i, kind in enumerate(kinds)]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    modes = {"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": False, f"pooling_mode_{pooling}": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 8, **modes}))
    for name, content in more.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


def test_modules_settings_and_the_prompt_are_named(tmp_path, caplog):
    more = {
        "sentence_bert_config": {"do_lower_case": True},
        "config_sentence_transformers": {"prompts": {"query": "query: "}, "default_prompt_name": "query"},
    }
    sentence_in.warn(write(tmp_path, "Transformer", "Pooling", "Dense", "Normalize", **more))
    (message,) = caplog.messages
    for part in ("--pooling bos", "Dense", "Normalize", "do_lower_case", "query: "):
        assert part in message


@pytest.mark.parametrize(("mode", "shown"), [("mean_tokens", "--pooling mean"), ("x_tokens", "mode_x_tokens")])
def test_a_pooling_is_an_option_of_ours_or_its_own_name(tmp_path, mode, shown):
    assert shown in next(sentence_in.not_imported(write(tmp_path, "Transformer", "Pooling", pooling=mode)))


def test_a_transformer_alone_is_imported_whole(tmp_path, caplog):
    sentence_in.warn(tmp_path)
    sentence_in.warn(write(tmp_path, "Transformer"))
    assert not caplog.messages


def test_a_module_outside_the_folder_is_not_read(tmp_path):
    (tmp_path / "inner").mkdir()
    write(tmp_path, "Transformer", "Pooling")
    assert sentence_in.pooling_of(tmp_path / "inner", "../1_Pooling") == "unknown"


def test_a_damaged_list_of_modules_is_named(tmp_path):
    (tmp_path / "modules.json").write_text("[3]")
    with toy.refused(tmp_path / "modules.json"):
        sentence_in.warn(tmp_path)
