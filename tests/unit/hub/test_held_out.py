"""The held-out text of a character LM's checkpoint."""

import json

import toy
from omegaconf import OmegaConf

from plugins.hub.held_out import held_out
from plugins.tasks.char_lm import CharLMTaskConfig


def saved(tmp_path, **task):
    lm = toy.make_char_lm("\n abcdef", block_size=4)
    model = OmegaConf.to_container(lm.model.cfg, enum_to_str=True)
    saved = OmegaConf.to_container(OmegaConf.structured(CharLMTaskConfig(**task)), enum_to_str=True)
    plain = {name: value for name, value in saved.items() if not str(value).startswith("${")}
    cfg = {"model": {**model, "_name": "char_lm"}, "task": {**plain, "_name": "char_lm"}}
    toy.save_char_lm(lm, tmp_path / "a.pt", cfg=cfg)
    return tmp_path / "a.pt", lm


def write(path, text):
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return str(path)


def test_the_last_part_of_the_training_text_is_held_out(tmp_path):
    data = write(tmp_path / "text.txt", "abc" * 20 + "def" * 5)
    path, lm = saved(tmp_path, data=data, valid_fraction=0.2)
    assert held_out(lm, path) == {"": ["def" * 5]}


def test_a_validation_file_is_held_out(tmp_path):
    data, valid = write(tmp_path / "text.txt", "abc" * 20), write(tmp_path / "v.txt", "fed" * 4)
    path, lm = saved(tmp_path, data=data, valid_data=valid)
    assert held_out(lm, tmp_path / "a.pt") == {"": ["fed" * 4]}


def test_other_data_is_read_instead(tmp_path):
    valid = write(tmp_path / "v.txt", "fed" * 4)
    path, lm = saved(tmp_path, data="/gone", valid_data=valid, valid_fraction=0.0)
    other = [
        write(tmp_path / "new" / f"{name}.txt", text) for name, text in (("x", "a" * 90 + "b" * 10), ("y", "c" * 100))
    ]
    assert held_out(lm, path, other) == {"": ["b" * 10, "c" * 10]}
    assert held_out(lm, path, other, "file") == {"x": ["b" * 10], "y": ["c" * 10]}


def test_a_style_without_held_out_text_is_named(tmp_path):
    rows = [json.dumps({"style": style, "text": "abcdef"}) + "\n" for style in "xy"]
    data, valid = write(tmp_path / "a.jsonl", "".join(rows)), write(tmp_path / "v.jsonl", rows[0])
    path, lm = saved(tmp_path, data=data, valid_data=valid, style_from="jsonl")
    with toy.refused("'y'"):
        held_out(lm, path)
