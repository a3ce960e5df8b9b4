"""Exported folders: transformers loads them by its Auto classes and computes the same."""

import hashlib
import itertools
import json
import shutil

import pytest
import torch
import toy

from plugins import hub
from plugins.hub.huggingface import card, check, files, masked_lm, remote_code

pytestmark = pytest.mark.slow  # transformers takes seconds to import
POSITIONS = ("learned", "sinusoidal", "alibi", "alibi_symmetric", "rotary")
SENTENCES = ["the river carries a letter", "a machine", "every ship is near the old house by the river"]


@pytest.fixture(scope="module")
def code(tmp_path_factory):
    """The code of both shells as packages, to build many models without a folder for each."""
    import sys

    folder = tmp_path_factory.mktemp("code")
    for shell in (masked_lm.SHELL, "modeling_decoder_lm"):
        package = folder / f"exported_{shell}"
        package.mkdir()
        (package / "__init__.py").touch()
        for name, source in remote_code.files_of(shell).items():
            (package / name).write_text(source)
    sys.path.insert(0, str(folder))
    yield
    sys.path.remove(str(folder))


def theirs(shell, kind, contents, config_class):
    """Return a model of the exported code with the exported tensors, all of which must have a place."""
    module = __import__(f"exported_{shell}.{shell}", fromlist=["x"])
    config = getattr(module, config_class)(**contents.config)
    model = getattr(module, kind)(config).eval()
    tied = set(model._tied_weights_keys) if getattr(config, "tie_word_embeddings", False) else set()
    found = model.load_state_dict(contents.tensors, strict=False)
    assert set(found.missing_keys) <= tied and not found.unexpected_keys
    model.tie_weights()
    return model


@torch.no_grad()
def check_masked(model, other, tokens, pad=1):
    """Compare logits, those of one row without padding too."""
    mask = (tokens != pad).long()
    expected = model(tokens)[0]
    logits = other(tokens, attention_mask=mask).logits
    assert (logits - expected)[mask.bool()].abs().max() <= 1e-5
    assert (other(tokens[1:2]).logits - model(tokens[1:2])[0]).abs().max() <= 1e-5


def masked_tokens(dictionary):
    torch.manual_seed(0)
    tokens = torch.randint(4, len(dictionary) - 1, (3, 17))
    tokens[:, 0], tokens[0, 12:], tokens[:, 5] = 0, 1, dictionary.index("<mask>")
    return tokens


class Interface:
    """A loaded masked LM with the attributes that the export reads, without files."""

    def __init__(self, model, task, bpe):
        self.model, self.task, self.bpe, self.cfg = model, task, bpe, {}


@pytest.fixture(scope="module")
def bpe(toy_data):
    from fairseq.data import encoders

    from plugins.data.text import bpe

    return encoders.build_bpe(bpe.find(str(toy_data)))


VARIANTS = list(itertools.product(POSITIONS, ("clap", "roberta"), ("learned", "zero"), (False, True)))


@pytest.mark.parametrize(("positions", "head", "mask", "pre_norm"), VARIANTS)
def test_masked_lms_have_equal_logits(transformers, code, toy_data, bpe, positions, head, mask, pre_norm):
    task = toy.make_task(toy_data, omit_mask=mask == "zero")
    options = {"encoder_normalize_before": pre_norm, "layernorm_embedding": not pre_norm}
    model = toy.randomize(toy.make_model(task, positions=positions, head=head, **options), 3).eval()
    contents = masked_lm.contents(Interface(model, task, bpe), None, None)
    stock = (positions, head, mask, pre_norm) == ("learned", "roberta", "learned", False)
    assert bool(contents.code) != stock and contents.config["model_type"] == ("roberta" if stock else "clap_roberta")
    if stock:
        other = transformers.RobertaForMaskedLM(transformers.RobertaConfig(**contents.config)).eval()
        other.load_state_dict(contents.tensors, strict=False)
        other.tie_weights()
    else:
        other = theirs(masked_lm.SHELL, "ClapRobertaForMaskedLM", contents, "ClapRobertaConfig")
    check_masked(model, other, masked_tokens(task.dictionary))


OPTIONS = [
    {"head": "clap", "beta_reference_dim": 64, "max_logit_scale": 20.0, "exclude_unused": True},
    {"head": "clap", "scale_embeddings": True, "normalize_embeddings": False},
    {"head": "clap", "untie_weights_roberta": True},
    {"head": "roberta", "positions": "alibi", "alibi_bos": "learned"},
    {"head": "roberta", "positions": "alibi", "alibi_bos": "zero"},
    {"positions": "rotary", "position_scaling": "yarn", "position_scaling_factor": 4.0, "trained_length": 8},
    {"head": "roberta", "activation_fn": "relu"},
    {"head": "roberta", "activation_fn": "gelu_accurate", "head_activation_fn": "gelu", "norm_eps": 1e-3},
    {"head": "roberta", "untie_weights_roberta": True},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_options_of_masked_lms_are_exported(transformers, code, toy_data, bpe, options):
    task = toy.make_task(toy_data)
    model = toy.randomize(toy.make_model(task, **options), 4).eval()
    contents = masked_lm.contents(Interface(model, task, bpe), None, None)
    if contents.code:
        other = theirs(masked_lm.SHELL, "ClapRobertaForMaskedLM", contents, "ClapRobertaConfig")
    else:
        other = transformers.RobertaForMaskedLM(transformers.RobertaConfig(**contents.config)).eval()
        assert not other.load_state_dict(contents.tensors, strict=False).unexpected_keys
        if contents.config["tie_word_embeddings"]:
            other.tie_weights()
    tokens = masked_tokens(task.dictionary)
    real = tokens != 1
    with torch.no_grad():
        ours, logits = model(tokens)[0][real], other(tokens, attention_mask=real.long()).logits[real]
    torch.testing.assert_close(logits, ours, atol=1e-5, rtol=1e-5)


def made(folder):
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def zero_clap(transformers, toy_data, tmp_path_factory):
    """A checkpoint of a zero-clap, and its folder for transformers."""
    folder = tmp_path_factory.mktemp("zero_clap")
    toy.save_masked_lm(made(folder / "ours"), toy_data, **toy.VARIANTS["zero_clap"])
    hub.export(folder / "ours", folder / "exported")
    return hub.load(folder / "ours"), folder / "exported"


def test_a_folder_loads_by_the_auto_classes(transformers, zero_clap):
    interface, folder = zero_clap
    tokens = masked_tokens(interface.task.source_dictionary)
    model = transformers.AutoModelForMaskedLM.from_pretrained(folder, trust_remote_code=True).eval()
    check_masked(interface.model, model, tokens)
    base = transformers.AutoModel.from_pretrained(folder, trust_remote_code=True).eval()
    with torch.no_grad():
        features = interface.model(tokens, features_only=True)[0]
        assert torch.equal(base(tokens).last_hidden_state, features)
    assert "plugins" not in "".join(
        line for path in folder.glob("*.py") for line in path.read_text().splitlines() if "import " in line
    )


def test_the_pipeline_fills_masks_as_the_hub_does(transformers, zero_clap):
    interface, folder = zero_clap
    pipeline = transformers.pipeline("fill-mask", model=str(folder), trust_remote_code=True)
    for sentence in ("the <mask> carries a letter", "a <mask>", "<mask> is near the river"):
        expected = interface.fill_mask(sentence, topk=3)
        words = interface.answers().tolist()  # without special symbols and fillers
        answers = [answer for answer in pipeline(sentence, top_k=len(words)) if answer["token"] in words][:3]
        assert [a["score"] for a in answers] == pytest.approx([p for _, p, _ in expected], abs=1e-5)
        assert [a["token_str"].strip() for a in answers] == [word.strip() for _, _, word in expected]


def test_saved_again_and_in_half_precision_it_still_loads(transformers, zero_clap, tmp_path):
    interface, folder = zero_clap
    model = transformers.AutoModelForMaskedLM.from_pretrained(folder, trust_remote_code=True).eval()
    model.save_pretrained(tmp_path / "again")
    again = transformers.AutoModelForMaskedLM.from_pretrained(tmp_path / "again", trust_remote_code=True).eval()
    tokens = masked_tokens(interface.task.source_dictionary)
    with torch.no_grad():
        assert torch.equal(again(tokens).logits, model(tokens).logits)
    hub.export(interface, tmp_path / "half", dtype="bfloat16")
    half = transformers.AutoModelForMaskedLM.from_pretrained(tmp_path / "half", trust_remote_code=True)
    assert half.dtype == torch.bfloat16


def test_the_check_measures_the_difference(zero_clap, tmp_path):
    interface, folder = zero_clap
    assert check.largest_difference(interface, folder) <= 1e-5
    hub.export(interface, tmp_path / "half", dtype="bfloat16")
    assert 1e-4 < check.largest_difference(interface, tmp_path / "half") < 2.0


@pytest.mark.parametrize("kind", ["char_lm", "classifier"])
def test_the_check_knows_other_models(transformers, toy_data, tmp_path, kind):
    if kind == "char_lm":
        lm = toy.make_char_lm()
    else:
        lm = hub.load(toy.save_masked_lm(made(tmp_path / "ours"), toy_data, heads={"a": 2, "b": 3}))
    head = None if kind == "char_lm" else "b"
    hub.export(lm, tmp_path / "exported", head=head)
    assert check.largest_difference(lm, tmp_path / "exported", head) <= 1e-5


def test_the_check_compares_words_that_are_never_predicted(transformers, toy_data, tmp_path):
    """Their logits are minus infinity in both models."""
    lm = hub.load(toy.save_masked_lm(made(tmp_path / "ours"), toy_data, head="clap", vocab_multiple=64))
    assert len(lm.dictionary.padding)
    hub.export(lm, tmp_path / "exported")
    assert check.largest_difference(lm, tmp_path / "exported") <= 1e-5


def test_a_classifier_has_its_labels(transformers, toy_data, tmp_path):
    options = {"head": "clap", "positions": "alibi", "pooler_type": "mean"}
    toy.save_masked_lm(made(tmp_path / "ours"), toy_data, heads={"pair": 3}, **options)
    interface = hub.load(tmp_path / "ours")
    hub.export(tmp_path / "ours", tmp_path / "exported")
    load = transformers.AutoModelForSequenceClassification.from_pretrained
    model = load(tmp_path / "exported", trust_remote_code=True).eval()
    tokens = masked_tokens(interface.task.source_dictionary)
    with torch.no_grad():
        logits = model(tokens, attention_mask=(tokens != 1).long()).logits
        expected = interface.predict("pair", tokens, return_logits=True)
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=0)
    assert model.config.id2label == {0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"}


def test_a_stock_roberta_needs_no_code(transformers, toy_data, tmp_path):
    toy.save_masked_lm(made(tmp_path / "ours"), toy_data, heads={"sts": 1}, head="roberta")
    interface = hub.load(tmp_path / "ours")
    hub.export(tmp_path / "ours", tmp_path / "exported")
    assert not list((tmp_path / "exported").glob("*.py"))
    model = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "exported").eval()
    tokens = masked_tokens(interface.task.source_dictionary)
    with torch.no_grad():
        logits = model(tokens, attention_mask=(tokens != 1).long()).logits
    torch.testing.assert_close(logits, interface.predict("sts", tokens, return_logits=True), atol=1e-5, rtol=0)
    assert (type(model).__name__, model.config.problem_type) == ("RobertaForSequenceClassification", "regression")


def test_existing_files_are_kept_and_partial_files_are_removed(zero_clap, tmp_path, monkeypatch):
    interface, folder = zero_clap
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    with toy.refused(folder):
        hub.export(interface, folder)
    assert before == {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "save_tensors", full)
    with toy.refused(tmp_path / "new"):
        hub.export(interface, tmp_path / "new")
    assert not list(tmp_path.iterdir())


def test_the_card_has_the_results_of_the_run(zero_clap, tmp_path):
    interface, _ = zero_clap
    state = {"extra_state": {"best": 2.5}, "cfg": {"task": {"data": "/x/my-text"}, "checkpoint": {}}}
    text = card.model_card_text(interface, state, None, "tiny", "fill-mask", True)
    from huggingface_hub import ModelCard

    data = ModelCard(text).data
    (result,) = data.eval_results
    assert (result.dataset_name, result.metric_type, result.metric_value) == ("my-text", "loss", 2.5)
    assert data.license is None and data.pipeline_tag == "fill-mask"


def test_the_card_names_the_task_the_command_and_the_data(zero_clap, tmp_path):
    from huggingface_hub import ModelCard

    from plugins.data.glue import specs

    interface, folder = zero_clap
    data, run = made(tmp_path / "data"), made(tmp_path / "run")
    (data / "train.tsv").write_text("sentence\tlabel\n")
    shutil.copy(folder.parent / "ours" / "checkpoint_best.pt", run)
    (run / "train.log").write_text("$ fairseq-train data --task glue\nmore\n")
    state = {
        "extra_state": {"best": 0.5}, "cfg": {"task": {"data": str(data)}, "checkpoint": {}},
        "task_state": {"spec": specs.find("SST-2").plain()},
    }  # fmt: skip
    text = card.model_card_text(interface, state, run / "checkpoint_best.pt", "tiny", "text-classification", True)
    (result,) = ModelCard(text).data.eval_results
    assert (result.dataset_name, result.dataset_type, result.dataset_config) == ("GLUE SST-2", "glue", "sst2")
    assert "```bash\nfairseq-train data --task glue\n```" in text
    expected = hashlib.sha256(b"sentence\tlabel\n").hexdigest()
    assert f"| train.tsv | `{expected}` |" in text


def test_the_sums_of_a_manifest_are_stated(tmp_path):
    files = {"train.bin": {"sha256": "abc"}, "valid.bin": {"sha256": "def"}}
    (tmp_path / "manifest.json").write_text(json.dumps({"files": files}))
    assert card.data_hashes({"cfg": {"task": {"data": f"{tmp_path}:/nowhere"}}}) == {"train.bin": "abc"}


@pytest.mark.parametrize(
    ("options", "named"), [({"dtype": "int8"}, "int8"), ({"head": "x"}, "--head x")], ids=["dtype", "head"]
)
def test_arguments_that_make_no_sense_are_named(zero_clap, tmp_path, options, named):
    with toy.refused(named):
        hub.export(zero_clap[0], tmp_path / "new", **options)


# Decoders

DECODERS = {
    "characters": {},
    "alibi": {"positions": "alibi", "bias": True},
    "rotary": {"positions": "rotary", "tie_embeddings": False},
    "scaled": {"positions": "rotary", "position_scaling": "linear", "position_scaling_factor": 2.0},
    "sinusoidal": {"positions": "sinusoidal", "activation_fn": "gelu_tanh"},
    "styles": {"styles": ("drama", "novel"), "positions": "alibi"},
    "ema": {"styles": ("drama", "novel"), "style_inference": "ema", "style_layers": "every_other"},
    "prefix": {"styles": ("drama", "novel"), "style_inference": "prefix", "style_prefix": 4},
    "published": {"styles": ("drama", "novel"), "style_inference": "published"},
}


@pytest.mark.parametrize("name", DECODERS)
def test_character_lms_have_equal_logits_and_greedy_texts(transformers, code, name):
    from plugins.hub.huggingface import decoder_lm

    lm = toy.make_char_lm(**DECODERS[name])
    contents = decoder_lm.contents(lm)
    other = theirs("modeling_decoder_lm", "DecoderLMForCausalLM", contents, "DecoderLMConfig")
    other.generation_config.pad_token_id = len(lm.dictionary)
    text = "".join(lm.characters[i % len(lm.characters)] for i in range(9))
    tokens = lm.encode(text)[None]
    with torch.no_grad():
        torch.testing.assert_close(other(tokens).logits, lm.model(tokens)[0], atol=1e-5, rtol=0)
    short = tokens[:, -4:]
    for style in (None, *lm.styles, "none") if lm.styles else (None,):
        options = {} if style is None else {"style": style}
        length = lm.block_size - tokens.size(1)
        expected = [lm.dictionary.encode(lm.sample(t, length, temperature=0, **options)).tolist()
                    for t in (tokens[0], short[0])]  # fmt: skip
        use_cache = name != "published"
        found = other.generate(tokens, max_new_tokens=length, do_sample=False, use_cache=use_cache, **options)
        assert found[0, tokens.size(1) :].tolist() == expected[0]
        pad = torch.full((1, tokens.size(1) - 4), len(lm.dictionary))
        batch = torch.cat([tokens, torch.cat([pad, short], 1)])
        mask = (batch != len(lm.dictionary)).long()
        found = other.generate(
            batch, attention_mask=mask, max_new_tokens=length, do_sample=False, use_cache=use_cache, **options
        )
        assert found[:, tokens.size(1) :].tolist() == expected


def test_beam_search_with_styles_is_that_without_a_cache(transformers, code):
    from plugins.hub.huggingface import decoder_lm

    lm = toy.make_char_lm(styles=("drama", "novel"))
    other = theirs("modeling_decoder_lm", "DecoderLMForCausalLM", decoder_lm.contents(lm), "DecoderLMConfig")
    tokens = lm.encode(lm.characters[0] + lm.characters[1])[None]
    options = {"max_new_tokens": 8, "num_beams": 3, "do_sample": False}
    assert torch.equal(other.generate(tokens, **options), other.generate(tokens, use_cache=False, **options))


def test_a_character_lm_loads_by_the_auto_classes(transformers, tmp_path):
    lm = toy.make_char_lm(styles=("drama", "novel"))
    path = toy.save_char_lm(lm, tmp_path / "model.pt")
    hub.export(path, tmp_path / "exported")
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "exported", trust_remote_code=True).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "exported")
    text = "".join(lm.characters[:5])
    batch = tokenizer([text, text[:2]], return_tensors="pt", padding=True)
    found = model.generate(**batch, max_new_tokens=6, do_sample=False, style="drama")
    expected = [lm.sample(t, 6, temperature=0, style="drama") for t in (text, text[:2])]
    assert [tokenizer.decode(row[5:]) for row in found] == expected
    assert json.loads((tmp_path / "exported" / "config.json").read_text())["styles"] == ["drama", "novel"]


CAUSAL = {
    "alibi": {"positions": "alibi"},
    "sinusoidal": {"positions": "sinusoidal", "activation_fn": "gelu"},
    "rotary": {"positions": "rotary", "tie_embeddings": False, "bias": False},
    "scaled": {"positions": "rotary", "position_scaling": "ntk", "position_scaling_factor": 2.0, "trained_length": 8},
}


def causal_lm(**options):
    """Return a causal LM over bytes of text with random weights, large enough that contexts make a difference."""
    from plugins import checkpoints
    from plugins.data.text.causal_tokenizers import Characters
    from plugins.data.text.token_dictionary import TokenDictionary
    from plugins.models.causal_lm import CausalLanguageModel

    size = {"decoder_layers": 2, "decoder_attention_heads": 2, "decoder_embed_dim": 16, "block_size": 24}
    dictionary = TokenDictionary(Characters(toy.CHARACTERS))
    torch.manual_seed(0)
    model = checkpoints.new_model(CausalLanguageModel, size | options, dictionary)
    return hub.CausalLM(toy.randomize(model, 1, scale=0.3), dictionary)


@pytest.mark.parametrize("name", CAUSAL)
def test_causal_lms_have_equal_logits_and_greedy_texts(transformers, tmp_path, name):
    lm = causal_lm(**CAUSAL[name])
    hub.export(lm, tmp_path / "exported")
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "exported", trust_remote_code=True).eval()
    assert type(model).__name__ == "DecoderLMForCausalLM"
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "exported", trust_remote_code=True)
    batch = tokenizer(["abba cab", "had"], padding=True, return_tensors="pt")
    assert batch["attention_mask"][1].tolist() == [0] * 5 + [1] * 3  # on the left
    with torch.no_grad():
        logits = model(**batch).logits
        for row, text in enumerate(("abba cab", "had")):
            torch.testing.assert_close(logits[row, -len(text) :], lm.logits(text), atol=1e-5, rtol=0)
    for use_cache in (True, False):
        found = model.generate(**batch, max_new_tokens=12, do_sample=False, use_cache=use_cache)
        texts = tokenizer.batch_decode(found[:, 8:], skip_special_tokens=True)
        assert texts == lm.generate(["abba cab", "had"], max_length=12)


def test_large_weights_are_written_in_parts(transformers, zero_clap, tmp_path, monkeypatch):
    interface, folder = zero_clap
    monkeypatch.setattr(files, "SHARD_SIZE", "20KB")
    hub.export(interface, tmp_path / "parts")
    index = json.loads((tmp_path / "parts" / "model.safetensors.index.json").read_text())
    parts = set(index["weight_map"].values())
    assert len(parts) > 1 and parts == {path.name for path in (tmp_path / "parts").glob("*.safetensors")}
    load = transformers.AutoModelForMaskedLM.from_pretrained
    whole, split = (load(place, trust_remote_code=True).eval() for place in (folder, tmp_path / "parts"))
    tokens = masked_tokens(interface.task.source_dictionary)
    with torch.no_grad():
        assert torch.equal(whole(tokens).logits, split(tokens).logits)
