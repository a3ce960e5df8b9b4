"""Checkpoints of the EIFY/fairseq fork, exactly as published, give the outputs of the fork itself."""

import json
import logging
import shutil

import numpy as np
import pytest
import torch
import toy
from fairseq.models.roberta import RobertaModel

import plugins
from plugins.checkpoints import roberta
from plugins.errors import UserError

NAMES = ["baseline", "learned_clap", "alibi", "zero_clap"]
PAD = 1


@pytest.fixture(scope="module")
def load(golden):
    """Load a checkpoint the way the fork's README does."""
    loaded = {}

    def load(name):
        if name not in loaded:
            loaded[name] = RobertaModel.from_pretrained(
                str(golden),
                f"{name}.pt",
                str(golden),
                bpe="sentencepiece",
                sentencepiece_model=str(golden / "sp.model"),
            ).eval()
        return loaded[name]

    return load


@pytest.mark.parametrize("name", NAMES)
def test_logits_and_features_of_a_padded_batch(golden, load, name):
    expected = np.load(golden / f"{name}.npz")
    tokens = torch.from_numpy(expected["tokens"])
    real = (tokens != PAD).numpy()
    with torch.no_grad():
        logits = load(name).model(tokens)[0].numpy()
        features = load(name).model(tokens, features_only=True)[0].numpy()
    assert np.abs(logits - expected["logits"])[real].max() < 1e-4
    assert np.abs(features - expected["features"])[real].max() < 1e-4


@pytest.mark.parametrize("name", NAMES)
def test_logits_of_a_row_without_padding(golden, load, name):
    expected = np.load(golden / f"{name}.npz")
    tokens = torch.from_numpy(expected["tokens"])[1:2, :31]
    with torch.no_grad():
        logits = load(name).model(tokens)[0].numpy()
    assert np.abs(logits - expected["logits_row1_unpadded"]).max() < 1e-4


@pytest.mark.parametrize("name", NAMES)
def test_fill_mask_gives_the_forks_words_in_its_order(golden, load, name):
    """The fork drops special tokens but not their scores, so of its answers only the words and their order count."""
    for sentence, answers in json.loads((golden / f"{name}.fill_mask.json").read_text()).items():
        ours = load(name).fill_mask(sentence, topk=3)
        assert len(ours) == 3
        expected = [(filled, word) for filled, _, word in answers]
        assert [(filled, word) for filled, _, word in ours][: len(expected)] == expected


def softmax_at_mask(interface, sentence):
    """Encode by hand, and return the probabilities (V,) at the one mask and the dictionary."""
    dictionary = interface.task.source_dictionary
    mask = dictionary.index("<mask>")
    ids = [0]
    before, after = sentence.split("<mask>")
    for piece in interface.bpe.encode(before.rstrip()).split():
        ids.append(dictionary.index(piece))
    ids.append(mask)
    for piece in interface.bpe.encode(after.rstrip()).split():
        ids.append(dictionary.index(piece))
    tokens = torch.tensor([[*ids, 2]])
    with torch.no_grad():
        logits = interface.model(tokens)[0]
    return logits[0, tokens[0] == mask][0].double().softmax(-1), dictionary


@pytest.mark.parametrize("name", NAMES)
def test_scores_are_the_softmax_at_the_predicted_words(load, name):
    interface, sentence = load(name), "My lord, the <mask> is dead."
    probabilities, dictionary = softmax_at_mask(interface, sentence)
    answers = interface.fill_mask(sentence, topk=10)
    for filled, score, word in answers:
        candidates = [i for i, s in enumerate(dictionary.symbols) if s.replace("\u2581", " ") == word]
        assert any(probabilities[i].item() == pytest.approx(score, abs=1e-6) for i in candidates)
        assert filled == "My lord, the" + word + " is dead."
    scores = [score for _, score, _ in answers]
    assert scores == sorted(scores, reverse=True)
    allowed = [
        i for i, s in enumerate(dictionary.symbols) if i > 3 and s != "<mask>" and not s.startswith("madeupword")
    ]
    assert scores[0] == pytest.approx(probabilities[allowed].max().item(), abs=1e-6)


@pytest.mark.parametrize("name", ["baseline", "zero_clap"])
def test_topk_above_the_vocabulary_gives_every_word_once(load, name):
    answers = load(name).fill_mask("A <mask> day.", topk=10**6)
    symbols = [s for s in load(name).task.source_dictionary.symbols[4:] if s != "<mask>" and not s.startswith("madeup")]
    assert len(answers) == len(symbols)
    assert not [w for _, _, w in answers if "madeupword" in w or w in ("<s>", "<pad>", "</s>", "<unk>", "<mask>")]


def test_several_masks_give_a_list_for_each(load):
    first, second = load("zero_clap").fill_mask("The <mask> of <mask> is here.", topk=2)
    assert [filled.count("<mask>") for filled, _, _ in first + second] == [1, 1, 1, 1]
    assert all(filled.endswith(" of <mask> is here.") for filled, _, _ in first)
    assert all(filled.startswith("The <mask> of") for filled, _, _ in second)


@pytest.mark.parametrize("name", NAMES)
def test_a_list_of_sentences_gives_the_results_of_each_sentence(load, name):
    sentences = ["The king of <mask> is here.", "<mask>", "To be, or not to <mask>, that is the question: <mask>"]
    together = load(name).fill_mask(sentences, topk=4)
    assert len(together) == 3
    for sentence, result in zip(sentences, together, strict=True):
        alone = load(name).fill_mask(sentence, topk=4)
        flat = (alone, result) if sentence.count("<mask>") == 1 else (sum(alone, []), sum(result, []))
        for (text, score, word), (text2, score2, word2) in zip(*flat, strict=True):
            assert (text, word) == (text2, word2)
            assert score == pytest.approx(score2, abs=1e-5)


def test_targets_are_scored_in_place_of_the_best_words(load):
    sentence = "The <mask> of France"
    probabilities, dictionary = softmax_at_mask(load("baseline"), sentence)
    answers = load("baseline").fill_mask(sentence, targets=["king", "queen", "man"])
    assert {word.strip() for _, _, word in answers} == {"king", "queen", "man"}
    for _, score, word in answers:
        assert score == pytest.approx(probabilities[dictionary.index("\u2581" + word.strip())].item(), abs=1e-6)


def test_a_target_of_several_tokens_is_refused(load):
    with toy.refused("antidisestablishment"):
        load("baseline").fill_mask("The <mask>", targets=["antidisestablishment"])


@pytest.mark.parametrize("name", ["baseline", "zero_clap"])
@pytest.mark.parametrize("target", ["<mask>", "<pad>", "madeupword0000"])
def test_a_target_that_is_not_a_word_is_refused(load, name, target):
    with pytest.raises(UserError):
        load(name).fill_mask("The <mask>", targets=[target])


@pytest.mark.parametrize("given", ["No mask here.", ["A <mask>.", "None here."]])
def test_a_sentence_without_a_mask_is_refused(load, given):
    with toy.refused("<mask>", given if isinstance(given, str) else given[1]):
        load("alibi").fill_mask(given)


def test_no_sentences_give_no_results(load):
    assert load("alibi").fill_mask([]) == []


def test_a_sentence_beyond_the_learned_positions_is_refused_but_alibi_accepts_it(load):
    long = "word " * 300 + "<mask>"
    with toy.refused("256"):
        load("baseline").fill_mask(long)
    assert len(load("alibi").fill_mask(long, topk=2)) == 2


# Sizes that do not fit


def with_extra(golden, folder, words):
    """Copy a checkpoint next to a dictionary that has more words."""
    shutil.copy(golden / "zero_clap.pt", folder)
    shutil.copy(golden / "sp.model", folder / "sentencepiece.bpe.model")
    extra = "".join(f"{word} 0\n" for word in words)
    (folder / "dict.txt").write_text((golden / "dict.txt").read_text(encoding="utf-8") + extra, encoding="utf-8")
    return plugins.hub.load(folder / "zero_clap.pt")


@pytest.mark.parametrize(
    "extra", [["madeupword0006", "madeupword0007"], ["madeupword0006", "madeupword0007", "madeupword0008"]]
)
def test_extra_fillers_are_trimmed_with_one_log_line(golden, load, tmp_path, caplog, extra):
    with caplog.at_level(logging.INFO):
        interface = with_extra(golden, tmp_path, extra)
    lines = [record.getMessage() for record in caplog.records if record.getMessage().startswith("trimmed")]
    assert len(lines) == 1
    assert extra[0] in lines[0] and "1848" in lines[0]
    assert len(interface.task.source_dictionary) == 1848
    sentence = "The king of <mask> is here."
    for ours, theirs in zip(interface.fill_mask(sentence), load("zero_clap").fill_mask(sentence), strict=True):
        assert (ours[0], ours[2]) == (theirs[0], theirs[2])
        assert ours[1] == pytest.approx(theirs[1], abs=1e-6)


@pytest.mark.parametrize(
    "extra",
    [["madeupword0006"], [f"madeupword000{i}" for i in range(6, 10)], ["madeupword0006", "word"], ["word", "another"]],
    ids=["one", "four", "a word at the end", "two words"],
)
def test_any_other_excess_is_an_error_that_names_both_sizes(golden, tmp_path, extra):
    with toy.refused(1848 + len(extra), 1848):
        with_extra(golden, tmp_path, extra)


def test_a_dictionary_that_is_too_short_is_an_error_that_names_both_sizes(golden, tmp_path):
    shutil.copy(golden / "baseline.pt", tmp_path)
    shutil.copy(golden / "sp.model", tmp_path / "sentencepiece.bpe.model")
    lines = (golden / "dict.txt").read_text(encoding="utf-8").splitlines(keepends=True)
    (tmp_path / "dict.txt").write_text("".join(lines[:-2]), encoding="utf-8")
    with toy.refused(1847, 1849):
        plugins.hub.load(tmp_path / "baseline.pt")


def test_a_tokenizer_file_that_is_missing_is_named(golden):
    with toy.refused("nowhere.model"):
        RobertaModel.from_pretrained(
            str(golden), "alibi.pt", str(golden), bpe="sentencepiece", sentencepiece_model=str(golden / "nowhere.model")
        )


def test_a_folder_without_a_tokenizer_is_named_and_nothing_is_downloaded(golden, tmp_path, monkeypatch):
    import socket

    monkeypatch.setattr(socket, "socket", None)
    for name in ("alibi.pt", "dict.txt"):
        shutil.copy(golden / name, tmp_path)
    with toy.refused(tmp_path):
        plugins.hub.load(tmp_path / "alibi.pt")


# Contradictions


@pytest.mark.parametrize(
    "name, override, words",
    [
        ("alibi", {"positions": "learned"}, ("--positions learned", "alibi")),
        ("alibi", {"positions": "alibi_symmetric"}, ("--positions alibi_symmetric", "alibi")),
        ("learned_clap", {"normalize_embeddings": False}, ("--normalize-embeddings False", True)),
        ("zero_clap", {"scale_embeddings": False}, ("--scale-embeddings False", True)),
        ("zero_clap", {"mask_embedding": "learned"}, ("--mask-embedding learned", "zero")),
        ("baseline", {"head": "clap"}, ("--head clap", "roberta")),
    ],
)
def test_a_contradicting_override_names_both_values_and_the_file(golden, name, override, words):
    with toy.refused(f"{name}.pt", *words):
        RobertaModel.from_pretrained(str(golden), f"{name}.pt", str(golden), bpe="sentencepiece",
                                     sentencepiece_model=str(golden / "sp.model"), **override)  # fmt: skip


EXPECTED = {
    "baseline": {"positions": "learned", "head": "roberta", "mask_embedding": "learned", "normalize_embeddings": False,
                 "scale_embeddings": False, "layernorm_embedding": True},
    "learned_clap": {"positions": "learned", "head": "clap", "mask_embedding": "learned", "normalize_embeddings": True,
                     "scale_embeddings": False, "layernorm_embedding": False},
    "alibi": {"positions": "alibi", "head": "roberta", "mask_embedding": "learned", "normalize_embeddings": False,
              "scale_embeddings": False, "layernorm_embedding": True},
    "zero_clap": {"positions": "alibi", "head": "clap", "mask_embedding": "zero", "normalize_embeddings": True,
                  "scale_embeddings": True, "layernorm_embedding": False},
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_the_forks_options_are_translated(golden, name):
    saved = roberta.of_checkpoint(torch.load(golden / f"{name}.pt"))
    assert {k: saved[k] for k in EXPECTED[name]} == EXPECTED[name]
    sizes = ("encoder_layers", "encoder_embed_dim", "encoder_ffn_embed_dim", "encoder_attention_heads", "vocab_size")
    assert [saved[k] for k in sizes] == [4, 128, 512, 4, 1848 if name == "zero_clap" else 1849]
    assert [saved[k] for k in ("alibi_bos", "exclude_unused", "max_logit_scale", "beta_reference_dim")] == [
        "linear",
        False,
        0,
        0,
    ]


@pytest.mark.slow
def test_a_fork_checkpoint_can_be_trained_on(golden, tmp_path):
    """fairseq-train --finetune-from-model takes the fork's architecture, and its loss starts where the fork's ended."""
    data = tmp_path / "data"
    data.mkdir()
    shutil.copy(golden / "dict.txt", data)
    shutil.copy(golden / "sp.model", data / "sentencepiece.bpe.model")
    lines = [row[row != PAD].tolist()[1:] for row in np.load(golden / "zero_clap.npz")["tokens"]]
    lines = [[t if t < 1848 else 5 for t in line] for line in lines]
    for split in ("train", "valid"):
        toy.write_split(data / split, lines * 24, vocabulary=1848)
    outcome = toy.run_cli([
        "fairseq-train", data, "--user-dir", toy.ROOT / "plugins", "--cpu", "--task", "clap_masked_lm", "--omit-mask",
        "--criterion", "clap_masked_lm", "--arch", "clap_roberta", "--tokens-per-sample", 64, "--batch-size", 8,
        "--optimizer", "fused_adamw", "--lr", 1e-4, "--max-update", 2, "--save-dir", tmp_path / "out",
        "--num-workers", 0,
        "--finetune-from-model", golden / "zero_clap.pt",
    ])  # fmt: skip
    assert outcome.status == 0, outcome.err
    reloaded = plugins.hub.load(tmp_path / "out" / "checkpoint_last.pt").model.encoder
    assert reloaded.sentence_encoder.token_embedding.normalize
    assert reloaded.sentence_encoder.token_embedding.scale == pytest.approx(11.3137, abs=1e-4)
    assert not reloaded.sentence_encoder.alibi.symmetric
    assert reloaded.sentence_encoder.embed_tokens.weight.shape == (1848, 128)
