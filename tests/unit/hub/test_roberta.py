"""``plugins.hub``: a checkpoint and its folder are all that is needed."""

import shutil

import pytest
import torch
import toy
from fairseq.models.roberta import RobertaModel
from omegaconf import OmegaConf

import plugins
from plugins import hub
from plugins.errors import UserError


@pytest.fixture(scope="module", params=["learned_clap", "zero_clap"])
def folder(request, toy_data, tmp_path_factory):
    """A folder as training leaves it: checkpoint, dictionary, tokenizer."""
    options = toy.VARIANTS[request.param]
    return toy.save_masked_lm(tmp_path_factory.mktemp(request.param), toy_data, heads={"mood": 3}, **options)


def test_load_needs_no_other_argument(folder):
    interface = hub.load(folder / "checkpoint_best.pt")
    answers = interface.fill_mask("the river <mask> a garden", topk=4)
    assert len(answers) == 4
    assert not interface.model.training


def test_a_relative_path_is_resolved_against_the_start_directory(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert len(hub.load("checkpoint_best.pt").fill_mask("the <mask>", topk=2)) == 2


def test_fairseqs_own_call_needs_no_tokenizer_either(folder):
    interface = RobertaModel.from_pretrained(str(folder), "checkpoint_best.pt", str(folder))
    assert isinstance(interface, hub.RobertaInterface)
    assert len(interface.fill_mask("the <mask>")) == 5


def test_fill_mask_leaves_the_model_in_its_mode(folder):
    interface = RobertaModel.from_pretrained(str(folder), "checkpoint_best.pt", str(folder)).train()
    first = interface.fill_mask("the <mask>")
    assert interface.model.training
    assert interface.fill_mask("the <mask>") == first  # no dropout


def test_the_answer_replaces_the_mask_as_fairseq_writes_it(folder):
    interface = hub.load(folder / "checkpoint_best.pt")
    everything = interface.fill_mask("the <mask> near", topk=1000)
    for text, score, word in everything:
        assert text == "the" + word + " near"
        assert 0 <= score <= 1
    assert len({text for text, _, _ in everything}) == len(everything)


def test_topk_of_one_and_targets_agree(folder):
    interface = hub.load(folder / "checkpoint_best.pt")
    everything = {word: score for _, score, word in interface.fill_mask("the <mask>", topk=1000)}
    (best,) = interface.fill_mask("the <mask>", topk=1)
    assert best[1] == max(everything.values())
    symbols = interface.task.source_dictionary.symbols
    words = [s[1:] for s in symbols if s.startswith("\u2581") and len(s) > 1 and interface.bpe.encode(s[1:]) == s][:2]
    answers = interface.fill_mask("the <mask>", targets=words)
    assert sorted(word for _, _, word in answers) == sorted(" " + word for word in words)
    for _, score, word in answers:
        assert score == pytest.approx(everything[word], abs=1e-7)


def test_fill_mask_works_for_a_model_with_a_classification_head(folder):
    interface = RobertaModel.from_pretrained(str(folder), "checkpoint_best.pt", str(folder)).eval()
    tokens = interface.encode("the river watches a garden")
    logits = interface.predict("mood", tokens, return_logits=True)
    saved = torch.load(folder / "checkpoint_best.pt")["model"]
    torch.testing.assert_close(
        interface.model.classification_heads["mood"].out_proj.weight, saved["classification_heads.mood.out_proj.weight"]
    )
    assert logits.shape == (1, 3)
    assert len(interface.fill_mask("the <mask>")) == 5


def test_encode_and_decode_round_trip(folder):
    interface = hub.load(folder / "checkpoint_best.pt")
    assert interface.decode(interface.encode("the river watches a garden .")) == "the river watches a garden ."


def test_features_have_one_row_a_token(folder):
    interface = hub.load(folder / "checkpoint_best.pt")
    tokens = interface.encode("the river")
    assert interface.extract_features(tokens).shape == (1, len(tokens), 32)
    assert len(interface.extract_features(tokens, return_all_hiddens=True)) == 3


@pytest.mark.parametrize("missing", ["checkpoint_best.pt", "dict.txt", "sentencepiece.bpe.model"])
def test_what_is_missing_is_named(folder, tmp_path, missing):
    shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "copy" / missing).unlink()
    with toy.refused(missing) as error:
        hub.load(tmp_path / "copy" / "checkpoint_best.pt")
    assert str(tmp_path) in str(error.value)


def test_a_dictionary_of_the_same_size_in_another_order_is_refused(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "copy")
    path = tmp_path / "copy" / "dict.txt"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join([lines[1], lines[0], *lines[2:]]), encoding="utf-8")
    with toy.refused("dict.txt"):
        hub.load(tmp_path / "copy" / "checkpoint_best.pt")


def test_one_of_gpt2s_two_files_does_not_cause_a_download_of_the_other(tmp_path):
    (tmp_path / "encoder.json").write_text("{}")
    given = {
        "_name": "gpt2",
        "gpt2_encoder_json": str(tmp_path / "encoder.json"),
        "gpt2_vocab_bpe": "https://dl.fbaipublicfiles.com/x",
    }
    cfg = OmegaConf.create({"bpe": given, "common_eval": {"path": None}, "task": {"data": str(tmp_path)}})
    with toy.refused("vocab.bpe"):
        hub.local_bpe(cfg)


def test_the_package_offers_the_hub():
    assert plugins.hub is hub


# Arguments


def words_of(interface):
    """Return two answers that are one token."""
    pieces = [(s, s.lstrip("\u2581")) for s in interface.dictionary.symbols if s.strip("\u2581")]
    return [word for symbol, word in pieces if interface.bpe.encode(word) == symbol][:2]


def test_a_single_target_and_any_iterable_of_targets_are_scored(folder):
    interface = hub.load(folder / "checkpoint_best.pt")
    everything = [s for s in interface.dictionary.symbols if interface.bpe.encode(s) == s]
    one, two = words_of(interface) if len(words_of(interface)) == 2 else everything[-2:]
    expected = interface.fill_mask("the <mask>", targets=[one, two])
    assert interface.fill_mask("the <mask>", targets=(word for word in (one, two))) == expected
    ((_, _, word),) = interface.fill_mask("the <mask>", targets=one)
    assert word.strip() == one


def test_any_iterable_of_sentences_is_filled(folder):
    interface = hub.load(folder / "checkpoint_best.pt")
    sentences = ["the <mask>", "<mask> garden"]
    assert interface.fill_mask(iter(sentences), topk=2) == interface.fill_mask(sentences, topk=2)
    assert interface.fill_mask([]) == interface.fill_mask(iter([])) == []


@pytest.mark.parametrize("arguments, named", [
    ({"targets": []}, "targets=[]"), ({"targets": [3]}, "int"), ({"targets": 3}, "targets=3"),
    ({"topk": -1}, "topk=-1"), ({"topk": 0}, "topk=0"), ({"topk": 2.5}, "topk=2.5"), ({"topk": None}, "topk=None"),
    ({"masked_input": None}, "masked_input=None"), ({"masked_input": [b"a <mask>"]}, "bytes"),
    ({"masked_input": ["no mask"]}, "no mask"),
])  # fmt: skip
def test_arguments_of_fill_mask_are_checked(folder, arguments, named):
    interface = hub.load(folder / "checkpoint_best.pt")
    with pytest.raises(UserError) as error:
        interface.fill_mask(**{"masked_input": "the <mask>", **arguments})
    assert named in str(error.value) and "\n" not in str(error.value)


TOKENS = [
    "the river", [1, 2], torch.tensor([]), torch.tensor([0.5]), torch.zeros(0, dtype=torch.long),
    torch.zeros(2, 0, dtype=torch.long), torch.tensor([10**6]), torch.tensor([-1]),
    torch.zeros(1, 1, 1, dtype=torch.long),
]  # fmt: skip


@pytest.mark.parametrize("tokens", TOKENS, ids=str)
def test_arguments_of_predict_are_checked(folder, tokens):
    with toy.refused("tokens"):
        hub.load(folder / "checkpoint_best.pt").predict("mood", tokens)


def test_a_mask_in_a_text_is_encoded_as_the_mask_token(folder):
    interface = hub.load(folder / "checkpoint_best.pt")
    assert interface.tokens(interface.encode("the <mask>"))[-2:] == ["<mask>", "</s>"]


def test_fillers_and_special_symbols_are_not_predicted(folder):
    interface = hub.load(folder / "checkpoint_best.pt")
    before = set(interface.answers().tolist())
    interface.dictionary.symbols[9], interface.dictionary.indices["madeupword0000"] = "madeupword0000", 9
    after = set(interface.answers().tolist())
    assert before - after == {9}
    assert not {interface.dictionary[i] for i in after} & {"<s>", "</s>", "<pad>", "<unk>", "<mask>"}


@pytest.mark.parametrize("path", [None, 3, b"x", ["x"]], ids=str)
def test_a_path_is_text(path):
    with toy.refused(f"path={path!r}"):
        hub.load(path)
