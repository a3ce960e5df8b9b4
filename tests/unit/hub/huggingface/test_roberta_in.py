"""RoBERTa-class folders and fairseq's archives become clap_roberta with equal logits, and go back."""

import argparse
import io
import json
import shutil

import pytest
import sentencepiece
import torch
import toy

from plugins import hub
from plugins.errors import UserError
from plugins.hub.huggingface import fairseq_archive, roberta_in

pytestmark = pytest.mark.slow  # transformers takes seconds to import
TEXT = ["the quick brown fox jumps over the lazy dog", "it's what it's about, naïve café", "שלום 🙂 12 3"]
SIZE = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24,
    "max_position_embeddings": 34, "type_vocab_size": 1, "layer_norm_eps": 1e-5,
}  # fmt: skip
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]


@pytest.fixture(scope="module")
def bpe(transformers, tmp_path_factory):
    """The tokenizer's files of a small RoBERTa, with <mask> last."""
    tokenizers, folder = pytest.importorskip("tokenizers"), tmp_path_factory.mktemp("bpe")
    bpe = tokenizers.ByteLevelBPETokenizer()
    bpe.train_from_iterator(TEXT * 20, vocab_size=300, special_tokens=SPECIAL[:4], show_progress=False)
    vocabulary = bpe.get_vocab() | {"<mask>": bpe.get_vocab_size()}
    bpe.save_model(str(folder))
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    mask = transformers.AddedToken("<mask>", lstrip=True, special=True)  # as in roberta-base
    transformers.RobertaTokenizer.from_pretrained(folder, mask_token=mask).save_pretrained(folder)
    return folder


def save(transformers, folder, tokenizer, rows=None, kind="RobertaForMaskedLM", **options):
    """Write a folder whose every parameter matters; return the model."""
    shutil.copytree(tokenizer, folder)
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    torch.manual_seed(1)
    config = transformers.RobertaConfig(vocab_size=rows or len(theirs), **{**SIZE, **options})
    model = getattr(transformers, kind)(config).eval()
    for parameter in model.parameters():
        parameter.data.add_(0.2 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    return model


@torch.no_grad()
def difference(model, interface, rows, mask):
    """Return the largest difference of logits, in a batch with padding; row i of ours is row rows[i] of theirs."""
    count = len(rows)
    tokens = torch.randint(4, count - 1, (3, 20), generator=torch.Generator().manual_seed(0))
    tokens[:, 0], tokens[1, 12:], tokens[:, 5] = 0, 1, count - 1
    order = torch.tensor(rows)
    real = tokens != 1
    theirs = model(order[tokens], attention_mask=real.long()).logits[..., order]
    assert order[count - 1] == mask
    return (theirs - interface.model(tokens)[0])[real].abs().max().item()


OPTIONS = [
    {},
    {"layer_norm_eps": 1e-12, "type_vocab_size": 2},
    {"layer_norm_eps": 1e-3, "hidden_act": "relu"},
    {"hidden_act": "gelu_new"},
    {"hidden_act": "gelu_pytorch_tanh", "tie_word_embeddings": False},
    {"hidden_act": "tanh", "hidden_dropout_prob": 0.3, "attention_probs_dropout_prob": 0.2},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_folder_has_equal_logits_and_goes_back(transformers, bpe, tmp_path, options):
    model = save(transformers, tmp_path / "hf", bpe, **options)
    roberta_in.convert(tmp_path / "hf", tmp_path / "ours" / "model.pt")
    interface = hub.load(tmp_path / "ours" / "model.pt")
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "hf")
    rows = list(range(len(theirs)))
    assert difference(model, interface, rows, theirs.mask_token_id) < 1e-5
    for text in TEXT:
        assert interface.encode(text).tolist() == theirs(text).input_ids
    hub.export(interface, tmp_path / "back")
    again = transformers.AutoModelForMaskedLM.from_pretrained(tmp_path / "back", trust_remote_code=True).eval()
    assert difference(again, interface, rows, theirs.mask_token_id) < 1e-5
    back = transformers.AutoTokenizer.from_pretrained(tmp_path / "back", trust_remote_code=True)
    for text in (*TEXT, "the <mask> fox"):
        assert back(text).input_ids == theirs(text).input_ids
    for ours, name in (("dropout", "hidden_dropout_prob"), ("attention_dropout", "attention_probs_dropout_prob")):
        assert interface.model.args[ours] == model.config.to_dict()[name]


@pytest.mark.parametrize("weights", ["pytorch_model.bin", "parts"])
def test_weights_in_a_bin_or_in_parts(transformers, bpe, tmp_path, weights):
    model = save(transformers, tmp_path / "hf", bpe)
    (tmp_path / "hf" / "model.safetensors").unlink()
    if weights == "parts":
        model.save_pretrained(tmp_path / "hf", max_shard_size="10KB")
        assert (tmp_path / "hf" / "model.safetensors.index.json").exists()
    else:
        torch.save(model.state_dict(), tmp_path / "hf" / weights)
    roberta_in.convert(tmp_path / "hf", tmp_path / "ours" / "model.pt")
    rows = list(range(model.config.vocab_size))
    assert difference(model, hub.load(tmp_path / "ours" / "model.pt"), rows, rows[-1]) < 1e-5


def test_rows_without_a_symbol_become_fillers(transformers, bpe, tmp_path):
    model = save(transformers, tmp_path / "hf", bpe, rows=310)
    roberta_in.convert(tmp_path / "hf", tmp_path / "ours" / "model.pt")
    interface = hub.load(tmp_path / "ours" / "model.pt")
    mask = transformers.AutoTokenizer.from_pretrained(tmp_path / "hf").mask_token_id
    rows = [i for i in range(310) if i != mask] + [mask]
    assert difference(model, interface, rows, mask) < 1e-5
    assert len(interface.task.source_dictionary) == 310
    assert interface.task.source_dictionary[308].startswith("madeupword")


def save_pieces(transformers, folder, kind, *added):
    """Write the folder of a model with a sentencepiece tokenizer; return the model and the tokenizer."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXT * 20), model_writer=model, vocab_size=60, hard_vocab_limit=False, minloglevel=2
    )
    folder.mkdir()
    (folder / "sentencepiece.bpe.model").write_bytes(model.getvalue())
    tokenizer = getattr(transformers, f"{kind}Tokenizer").from_pretrained(folder)
    tokenizer.add_tokens(list(added))
    tokenizer.save_pretrained(folder)
    (folder / "sentencepiece.bpe.model").write_bytes(model.getvalue())
    ends = {name: getattr(tokenizer, name) for name in ("bos_token_id", "pad_token_id", "eos_token_id")}
    torch.manual_seed(1)
    config = getattr(transformers, f"{kind}Config")(vocab_size=len(tokenizer), **SIZE, **ends)
    theirs = getattr(transformers, f"{kind}ForMaskedLM")(config).eval()
    theirs.save_pretrained(folder)
    return theirs, tokenizer


@pytest.mark.parametrize("kind", ["XLMRoberta", "Camembert"])
def test_a_sentencepiece_folder_has_equal_logits_and_ids(transformers, tmp_path, kind):
    folder = tmp_path / "hf"
    theirs, tokenizer = save_pieces(transformers, folder, kind)
    roberta_in.convert(folder, tmp_path / "ours" / "model.pt")
    interface = hub.load(tmp_path / "ours" / "model.pt")
    special = [tokenizer.bos_token_id, tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id]
    mask = tokenizer.mask_token_id
    rows = special + [i for i in range(len(tokenizer)) if i not in (*special, mask)] + [mask]
    assert difference(theirs, interface, rows, mask) < 1e-5
    for text in TEXT[:2]:
        assert [rows[i] for i in interface.encode(text).tolist()] == tokenizer(text).input_ids


def save_bert(transformers, folder, kind="BertForMaskedLM", lower=True, added=()):
    """Write the folder of a BERT; return the model and the tokenizer."""
    pieces = pytest.importorskip("tokenizers").BertWordPieceTokenizer(lowercase=lower)
    pieces.train_from_iterator([*TEXT, "The Fox"] * 20, vocab_size=120, show_progress=False)
    folder.mkdir()
    pieces.save_model(str(folder))
    tokenizer = transformers.BertTokenizer.from_pretrained(folder, do_lower_case=lower)
    tokenizer.add_tokens(list(added))
    tokenizer.save_pretrained(folder)
    torch.manual_seed(1)
    config = transformers.BertConfig(vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, **SIZE)
    theirs = getattr(transformers, kind)(config).eval()
    for parameter in theirs.parameters():
        parameter.data.add_(0.2 * torch.randn_like(parameter))
    theirs.save_pretrained(folder)
    return theirs, tokenizer


@pytest.mark.parametrize("lower", [True, False], ids=["uncased", "cased"])
@pytest.mark.parametrize("kind", ["BertForPreTraining", "BertForMaskedLM"])
def test_a_bert_has_equal_logits_and_ids(transformers, tmp_path, kind, lower):
    folder = tmp_path / "hf"
    theirs, tokenizer = save_bert(transformers, folder, kind, lower)
    roberta_in.convert(folder, tmp_path / "ours" / "model.pt")
    interface = hub.load(tmp_path / "ours" / "model.pt")
    special = [tokenizer.cls_token_id, tokenizer.pad_token_id, tokenizer.sep_token_id, tokenizer.unk_token_id]
    rows = special + [i for i in range(len(tokenizer)) if i not in (*special, tokenizer.mask_token_id)]
    rows.append(tokenizer.mask_token_id)
    for text in (*TEXT, "The Fox; Straße"):
        assert [rows[i] for i in interface.encode(text).tolist()] == tokenizer(text).input_ids
    tokens = interface.encode(TEXT[0])[None]
    with torch.no_grad():
        found = theirs(torch.tensor(rows)[tokens])
        expected = found.logits if kind == "BertForMaskedLM" else found.prediction_logits
        torch.testing.assert_close(interface.model(tokens)[0], expected[..., rows], atol=1e-5, rtol=0)
    hub.export(interface, tmp_path / "back")
    back = transformers.AutoTokenizer.from_pretrained(tmp_path / "back")
    for text in (*TEXT, "The Fox; Straße", "x" * 200):
        assert back(text).input_ids == interface.encode(text).tolist()
    assert back("the <mask>").input_ids[-2] == len(rows) - 1
    again = transformers.AutoModelForMaskedLM.from_pretrained(tmp_path / "back").eval()
    with torch.no_grad():
        torch.testing.assert_close(again(tokens).logits, interface.model(tokens)[0], atol=1e-5, rtol=0)
    roberta_in.convert(tmp_path / "back", tmp_path / "again" / "model.pt")
    assert hub.load(tmp_path / "again" / "model.pt").encode(TEXT[1]).tolist() == interface.encode(TEXT[1]).tolist()


def test_a_bert_with_another_tokenizer_is_refused(transformers, bpe, tmp_path):
    save(transformers, tmp_path / "hf", bpe)
    change_config(tmp_path / "hf", model_type="bert")
    with toy.refused("WordPiece"):
        roberta_in.convert(tmp_path / "hf", tmp_path / "ours" / "model.pt")
    assert not (tmp_path / "ours").exists()


def save_bpe(transformers, folder, bpe, added):
    """Write the folder of a RoBERTa whose tokenizer has added tokens."""
    with_added = shutil.copytree(bpe, folder.with_name("with"))
    tokenizer = transformers.AutoTokenizer.from_pretrained(with_added)
    tokenizer.add_tokens(added)
    tokenizer.save_pretrained(with_added)
    save(transformers, folder, with_added)


@pytest.mark.parametrize("token", ["covfefe", "fox", "<|user|>"])
@pytest.mark.parametrize("kind", ["Roberta", "Bert", "XLMRoberta", "Camembert"])
@pytest.mark.parametrize("single_word", [False, True], ids=["anywhere", "single_word"])
def test_an_added_token_is_named(transformers, bpe, tmp_path, kind, token, single_word):
    folder, name = tmp_path / "hf", token
    token = transformers.AddedToken(name, single_word=single_word, lstrip=single_word)
    if (kind, name, single_word) == ("Bert", "fox", True):
        pytest.skip("a WordPiece finds whole words of its own, too")
    if kind == "Roberta":
        save_bpe(transformers, folder, bpe, [token])
    elif kind == "Bert":
        save_bert(transformers, folder, added=[token])
    else:
        save_pieces(transformers, folder, kind, token)
    with toy.refused(folder, name, "--tokenizer"):
        roberta_in.convert(folder, tmp_path / "ours" / "model.pt")
    assert not (tmp_path / "ours").exists()


def test_an_added_token_that_our_tokenizer_finds_too_is_kept(transformers, tmp_path):
    _, tokenizer = save_bert(transformers, tmp_path / "hf", added=["'"])
    assert "'" in [token.content for token in tokenizer.added_tokens_decoder.values()]
    roberta_in.convert(tmp_path / "hf", tmp_path / "ours" / "model.pt")
    interface = hub.load(tmp_path / "ours" / "model.pt")
    ours = [interface.task.source_dictionary[i] for i in interface.encode(TEXT[1]).tolist()[1:-1]]
    assert "'" in ours and ours == tokenizer.tokenize(TEXT[1])


@pytest.mark.parametrize("flags", [{"lstrip": False}, {"rstrip": True}, {"single_word": True}], ids=str)
def test_a_mask_that_takes_other_white_space_is_named(transformers, bpe, tmp_path, flags, caplog):
    other = shutil.copytree(bpe, tmp_path / "other")
    mask = transformers.AddedToken("<mask>", special=True, **({"lstrip": True} | flags))
    (other / "tokenizer.json").unlink()
    (other / "tokenizer_config.json").unlink()
    transformers.RobertaTokenizer.from_pretrained(other, mask_token=mask).save_pretrained(other)
    save(transformers, tmp_path / "hf", other)
    roberta_in.convert(tmp_path / "hf", tmp_path / "ours" / "model.pt")
    assert any("<mask>" in message and "white space" in message for message in caplog.messages)
    ours = hub.load(tmp_path / "ours" / "model.pt")
    hub.export(ours, tmp_path / "back")
    back = transformers.AutoTokenizer.from_pretrained(tmp_path / "back")
    for text in ("the <mask> fox", "a<mask>b", "the <mask>"):
        assert back(text).input_ids == ours.encode(text).tolist()


@pytest.mark.parametrize("token", ["x", "the"])
def test_a_special_symbol_that_a_text_becomes_is_named(transformers, bpe, tmp_path, token):
    folder = tmp_path / "hf"
    save(transformers, folder, bpe)
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | {"unk_token": token}), encoding="utf-8")
    with toy.refused(folder, f"<unk> is '{token}'"):
        roberta_in.convert(folder, tmp_path / "ours" / "model.pt")
    assert not (tmp_path / "ours").exists()


LOWER = {"type": "Lowercase"}
BLANK = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}


@pytest.mark.parametrize("part", [{"normalizer": LOWER}, {"pre_tokenizer": BLANK}], ids=lambda part: next(iter(part)))
def test_a_step_of_the_tokenizer_without_a_counterpart_is_refused(transformers, bpe, tmp_path, part):
    folder = tmp_path / "hf"
    save(transformers, folder, bpe)
    for name, changes in (
        ("tokenizer.json", part),
        ("tokenizer_config.json", {"tokenizer_class": "TokenizersBackend"}),
    ):
        path = folder / name
        path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8")
    with toy.refused(folder, "gpt2"):
        roberta_in.convert(folder, tmp_path / "ours" / "model.pt")
    assert not (tmp_path / "ours").exists()


@pytest.mark.parametrize("kind", ["Roberta", "Bert", "XLMRoberta"])
def test_a_folder_without_its_vocabulary_is_refused(transformers, bpe, tmp_path, kind):
    """transformers itself makes an empty tokenizer."""
    folder, name = tmp_path / "hf", {"Bert": "vocab.txt", "Roberta": "vocab.json"}.get(kind, "sentencepiece.bpe.model")
    if kind == "Roberta":
        save(transformers, folder, bpe)
    else:
        save_bert(transformers, folder) if kind == "Bert" else save_pieces(transformers, folder, kind)
    (folder / "tokenizer.json").unlink()
    (folder / name).unlink()
    with toy.refused(folder):
        roberta_in.convert(folder, tmp_path / "ours" / "model.pt")
    assert not (tmp_path / "ours").exists()


def change_config(folder, **options):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | options))


NAMED = {
    "layers": ({"num_hidden_layers": 10**9}, "num_hidden_layers 1000000000"),
    "words": ({"vocab_size": 10**9}, "vocab_size 1000000000"),
    "positions": ({"max_position_embeddings": 10**9}, "max_position_embeddings 1000000000"),
    "width": ({"hidden_size": 10**9}, "hidden_size 1000000000"),
    "inner": ({"intermediate_size": 10**9}, "intermediate_size 1000000000"),
    "heads": ({"num_attention_heads": 3}, "num_attention_heads 3"),
    "relative": ({"position_embedding_type": "relative_key"}, "position_embedding_type relative_key"),
    "decoder": ({"is_decoder": True}, "is_decoder true"),
    "activation": ({"hidden_act": "silu"}, "hidden_act silu"),
    "padding": ({"pad_token_id": None}, "pad_token_id null"),
}


@pytest.mark.parametrize("case", NAMED)
def test_a_config_that_does_not_fit_is_one_line_that_names_it(transformers, bpe, tmp_path, case):
    options, named = NAMED[case]
    save(transformers, tmp_path / "hf", bpe)
    change_config(tmp_path / "hf", **options)
    with pytest.raises(UserError) as error:
        roberta_in.convert(tmp_path / "hf", tmp_path / "ours" / "model.pt")
    assert f"config.json: {named}" in str(error.value) and "\n" not in str(error.value)
    assert not (tmp_path / "ours").exists()


@torch.no_grad()
@pytest.mark.parametrize("options", [{}, {"tie_word_embeddings": False, "add_pooling_layer": False}], ids=str)
def test_a_folder_without_the_lm_head_has_equal_features_and_a_new_head(transformers, bpe, tmp_path, caplog, options):
    model = save(transformers, tmp_path / "hf", bpe, kind="RobertaModel", **options)
    roberta_in.convert(tmp_path / "hf", tmp_path / "ours" / "model.pt")
    assert "no lm_head" in caplog.text
    interface = hub.load(tmp_path / "ours" / "model.pt")
    tokens = interface.encode(TEXT[0])[None]
    expected = model(tokens).last_hidden_state
    torch.testing.assert_close(interface.extract_features(tokens), expected, atol=1e-5, rtol=0)
    assert interface.model(tokens)[0].isfinite().all()


def test_a_truncated_head_names_the_tensor(transformers, bpe, tmp_path):
    """A config that names a masked LM, or a part of the head, shows that there was one."""
    for number, kept in enumerate(("lm_head.bias", "nothing")):
        folder = tmp_path / f"hf{number}"
        model = save(transformers, folder, bpe)
        state = {name: t for name, t in model.state_dict().items() if name == kept or not name.startswith("lm_head")}
        (folder / "model.safetensors").unlink()
        torch.save(state, folder / "pytorch_model.bin")
        with toy.refused("lm_head"):
            roberta_in.convert(folder, tmp_path / "ours" / "model.pt")
        assert not (tmp_path / "ours").exists()


def test_a_classifier_is_named(transformers, bpe, tmp_path):
    save(transformers, tmp_path / "hf", bpe, kind="RobertaForSequenceClassification")
    with toy.refused("classifier.dense.bias"):
        roberta_in.convert(tmp_path / "hf", tmp_path / "ours" / "model.pt")


def test_another_models_dictionary_is_not_changed(transformers, bpe, tmp_path):
    save(transformers, tmp_path / "hf", bpe)
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours" / "dict.txt").write_text("x 1\n")
    with toy.refused("dict.txt"):
        roberta_in.convert(tmp_path / "hf", tmp_path / "ours" / "model.pt")
    assert [path.name for path in (tmp_path / "ours").iterdir()] == ["dict.txt"]


def test_an_archive_of_fairseq_has_equal_logits(toy_data, tmp_path):
    """The published archives have names of 2019: a decoder, one matrix for q, k and v, options in a Namespace."""
    task = toy.make_task(toy_data)
    stock = toy.randomize(toy.make_stock_model(task), 2).eval()
    tensors, old = stock.state_dict(), {}
    for name, tensor in tensors.items():
        name = name.replace("encoder.", "decoder.", 1).replace(".layernorm_embedding.", ".emb_layer_norm.")
        if ".q_proj." in name:
            parts = [tensors[name.replace("decoder.", "encoder.", 1).replace("q_proj", p)] for p in ("q_proj", "k_proj", "v_proj")]  # fmt: skip # noqa: E501
            old[name.replace("q_proj.", "in_proj_")] = torch.cat(parts)
        elif not any(part in name for part in (".k_proj.", ".v_proj.")):
            old[name] = tensor
    known = {"arch": "roberta_base", "task": "masked_lm", "criterion": "masked_lm", "max_positions": 32}
    options = argparse.Namespace(**known, **toy.SIZE)
    archive = tmp_path / "roberta.toy"
    archive.mkdir()
    torch.save({"args": options, "model": old, "extra_state": {}}, archive / "model.pt")
    for name in ("dict.txt", "sentencepiece.bpe.model"):
        shutil.copy(toy_data / name, archive)
    assert fairseq_archive.is_archive(archive)
    fairseq_archive.convert(archive, tmp_path / "ours" / "model.pt")
    interface = hub.load(tmp_path / "ours" / "model.pt")
    tokens = torch.randint(4, len(task.dictionary), (2, 15))
    with torch.no_grad():
        torch.testing.assert_close(interface.model(tokens)[0], stock(tokens)[0], atol=1e-5, rtol=0)
    (archive / "sentencepiece.bpe.model").unlink()
    with toy.refused("encoder.json"):
        fairseq_archive.convert(archive, tmp_path / "other" / "model.pt")
