"""The commands of examples/huggingface/README.md run as written, on toy folders where they name a published model."""

import importlib.util
import re
import shlex
import shutil

import pytest
import torch
import toy

pytestmark = pytest.mark.slow
README = (toy.ROOT / "examples" / "huggingface" / "README.md").read_text(encoding="utf-8")
TEXT = ["the quick brown fox jumps over the lazy dog", "it's what it's about"] * 20


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.M | re.S)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with what the commands name: the committed checkpoint, and toy models in place of published ones."""
    transformers, tokenizers = pytest.importorskip("transformers"), pytest.importorskip("tokenizers")
    peft = pytest.importorskip("peft")
    folder = tmp_path_factory.mktemp("place")
    (folder / "checkpoints").mkdir()
    shutil.copytree(toy.ROOT / "checkpoints" / "zero_clap_tiny", folder / "checkpoints" / "zero_clap_tiny")
    special = {"roberta-base": ["<s>", "<pad>", "</s>", "<unk>", "<mask>"], "gpt2": ["<|endoftext|>"]}
    for name, symbols in special.items():
        bpe = tokenizers.ByteLevelBPETokenizer()
        bpe.train_from_iterator(TEXT, vocab_size=300, special_tokens=symbols, show_progress=False)
        (folder / name).mkdir()
        bpe.save_model(str(folder / name))
        rows = bpe.get_vocab_size()
        if name == "gpt2":
            config = transformers.GPT2Config(
                vocab_size=rows, n_layer=1, n_head=1, n_embd=8, n_positions=16, bos_token_id=0, eos_token_id=0
            )
            model = transformers.GPT2LMHeadModel(config)
            model.save_pretrained(folder / name)
            lora = peft.LoraConfig(task_type="CAUSAL_LM", target_modules=["c_attn"], fan_in_fan_out=True)
            peft.get_peft_model(model, lora).save_pretrained(folder / "adapter")
        else:
            config = transformers.RobertaConfig(
                vocab_size=rows, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8,
                max_position_embeddings=18, type_vocab_size=1, layer_norm_eps=1e-5,
            )  # fmt: skip
            transformers.RobertaForMaskedLM(config).save_pretrained(folder / name)
            transformers.RobertaTokenizer.from_pretrained(folder / name).save_pretrained(folder / name)
    make_archive(folder)
    make_data(folder)
    return folder


def make_data(folder):
    """Write the files of RTE, and a dataset of the Hub if pyarrow is there."""
    rte = folder / "GLUE" / "RTE"
    rte.mkdir(parents=True)
    for split in ("train", "dev"):
        rows = [f"{i}\tthe fox\tthe dog\t{'' if i % 2 else 'not_'}entailment\n" for i in range(8)]
        (rte / f"{split}.tsv").write_text("index\tsentence1\tsentence2\tlabel\n" + "".join(rows))
    if importlib.util.find_spec("pyarrow") is not None:
        import pyarrow
        from pyarrow import parquet

        (folder / "wikitext").mkdir()
        rows = [{"text": text} for text in toy.sentences(200)]
        parquet.write_table(pyarrow.Table.from_pylist(rows), folder / "wikitext" / "train-00000-of-00001.parquet")


def make_archive(folder):
    """Write a RoBERTa in fairseq's format, and GPT-2's tokenizer for it."""
    import argparse
    import json

    source = folder / "roberta-base"
    vocabulary = json.loads((source / "vocab.json").read_text(encoding="utf-8"))
    gpt2, archive = folder / "data" / "gpt2-bpe", folder / "roberta.base"
    gpt2.mkdir(parents=True)
    archive.mkdir()
    (gpt2 / "encoder.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    shutil.copy(source / "merges.txt", gpt2 / "vocab.bpe")
    words = [str(i) for symbol, i in vocabulary.items() if not symbol.startswith("<")]
    (archive / "dict.txt").write_text("".join(f"{word} 1\n" for word in words), encoding="utf-8")
    from plugins.data.dictionaries import MaskDictionary

    dictionary = MaskDictionary.load(str(archive / "dict.txt"))
    dictionary.add_mask()
    from types import SimpleNamespace

    task = SimpleNamespace(
        dictionary=dictionary, source_dictionary=dictionary, max_positions=lambda: 32, cfg=SimpleNamespace(data="")
    )
    model = toy.make_stock_model(task)
    names = {"arch": "roberta_base", "task": "masked_lm", "criterion": "masked_lm", "max_positions": 32}
    state = {"args": argparse.Namespace(**names, **toy.SIZE), "model": model.state_dict(), "extra_state": {}}
    torch.save(state, archive / "model.pt")


def test_the_commands_run_as_written(place):
    lines = "".join(blocks("bash")).replace("\\\n", " ").splitlines()
    assert len(lines) >= 10
    for line in lines:
        words = shlex.split(line)
        assert words[0] == "python" and (toy.ROOT / words[1]).exists()
        if words[1] == "scripts/prepare_mlm.py" and importlib.util.find_spec("pyarrow") is None:
            continue
        done = toy.run_cli([toy.ROOT / words[1], *words[2:]], cwd=place)
        assert done.status == 0, done.text
        if "--check" in words:
            difference = float(re.search(r"difference of logits is (\S+) ", done.out)[1])
            assert difference <= (0.2 if "bfloat16" in words else 1e-5), line
    for name in ("zero_clap_tiny", "half", "rte", "gpt2", "adapter"):
        assert list((place / "exported" / name).glob("*.safetensors")), name


def test_the_python_runs_as_written_after_them(place, monkeypatch, capsys):
    if not (place / "exported").exists():
        pytest.skip("needs the folders that the commands write")
    monkeypatch.chdir(place)
    scope = {}
    for block in blocks("python"):
        exec(compile(block, "README", "exec"), scope)
    assert scope["features"].shape[-1] == 128
    assert "score" in capsys.readouterr().out


def test_an_exported_model_accepts_lora_of_the_peft_library(place, tmp_path):
    transformers, peft = pytest.importorskip("transformers"), pytest.importorskip("peft")
    folder = place / "exported" / "zero_clap_tiny"
    if not folder.exists():
        pytest.skip("needs the folders that the commands write")
    load = transformers.AutoModelForMaskedLM.from_pretrained
    tokens = torch.randint(4, 900, (2, 9))
    config = peft.LoraConfig(target_modules="all-linear", init_lora_weights=False)
    tuned = peft.get_peft_model(load(folder, trust_remote_code=True), config).eval()
    with torch.no_grad():
        expected = tuned(input_ids=tokens).logits
    tuned.save_pretrained(tmp_path / "adapter")
    again = peft.PeftModel.from_pretrained(load(folder, trust_remote_code=True), str(tmp_path / "adapter")).eval()
    with torch.no_grad():
        assert torch.equal(again(input_ids=tokens).logits, expected)
        base = load(folder, trust_remote_code=True).eval()(tokens).logits
    assert not torch.allclose(base, expected)
