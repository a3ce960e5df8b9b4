"""Tools on top of Hugging Face's libraries, on exported models; each test skips where its tool is not installed."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import toy

from plugins import checkpoints, hub
from plugins.analysis.attention.capture import attention_of
from plugins.analysis.metrics.surprisal import surprisal
from plugins.data.text.causal_tokenizers import Characters
from plugins.data.text.token_dictionary import TokenDictionary
from plugins.hub import peft_format
from plugins.models.causal_lm import CausalLanguageModel

pytestmark = pytest.mark.slow
SENTENCES = ["the river carries a letter .", "a machine near the window", "the teacher answers a story ."]


def tool(name):
    return pytest.importorskip(name, reason=f"{name} is not installed")


@pytest.fixture(scope="module")
def masked(toy_data, tmp_path_factory):
    """The folder of a masked LM, and that of its export."""
    tool("transformers")
    folder = tmp_path_factory.mktemp("masked")
    toy.save_masked_lm(folder, toy_data, **toy.VARIANTS["zero_clap"])
    hub.export(folder, folder / "exported")
    return folder, folder / "exported"


@pytest.fixture(scope="module")
def causal(tmp_path_factory):
    """A causal LM with ALiBi, and the folder of its export."""
    tool("transformers")
    dictionary = TokenDictionary(Characters("\n abcdefghijklmnopqrstuvwxyz"))
    size = {"decoder_layers": 2, "decoder_attention_heads": 2, "decoder_embed_dim": 16, "block_size": 64}
    torch.manual_seed(0)
    model = checkpoints.new_model(CausalLanguageModel, size | {"positions": "alibi"}, dictionary)
    lm = hub.CausalLM(toy.randomize(model, 1, scale=0.3), dictionary)
    folder = tmp_path_factory.mktemp("causal")
    hub.export(lm, folder / "exported")
    return lm, folder / "exported"


# lm-eval


def write_task(folder, rows, **options):
    """Write a task of multiple choice over a local JSON file, as lm-eval reads it; return its name."""
    folder.mkdir()
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = {
        "task": "toy_choice", "dataset_path": "json", "output_type": "multiple_choice", "test_split": "test",
        "dataset_kwargs": {"data_files": {"test": str(folder / "rows.jsonl")}},
        "doc_to_text": "{{text}}", "doc_to_target": "{{label}}", "doc_to_choice": "{{choices}}",
        "metric_list": [{"metric": "acc"}], **options,
    }  # fmt: skip
    (folder / "toy_choice.yaml").write_text(json.dumps(task))
    return "toy_choice"


def evaluate(monkeypatch, folder, model, rows, **options):
    """Evaluate a model on a task, without a network; return the result of the task and its samples."""
    lm_eval = tool("lm_eval")
    from lm_eval.tasks import TaskManager

    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(folder / "cache"))
    name = write_task(folder / "task", rows)
    manager = TaskManager(include_path=str(folder / "task"), include_defaults=False)
    found = lm_eval.simple_evaluate(model, tasks=[name], task_manager=manager, bootstrap_iters=0, **options)
    return found["results"][name], found["samples"][name]


ROWS = [
    {"text": "a bad cab", "choices": ["faded", "caged"], "label": 0},
    {"text": "deaf", "choices": ["face", "egg"], "label": 1},
]


def test_lm_eval_scores_an_exported_causal_lm_as_we_do(causal, tmp_path, monkeypatch):
    tool("lm_eval")
    lm, folder = causal
    options = {"model_args": f"pretrained={folder},trust_remote_code=True,dtype=float32", "device": "cpu"}
    result, samples = evaluate(monkeypatch, tmp_path, "hf", ROWS, batch_size=2, **options)
    right = []
    for row, sample in zip(ROWS, sorted(samples, key=lambda s: s["doc_id"]), strict=True):
        expected = []
        for choice in row["choices"]:
            ids = lm.encode(f"{row['text']} {choice}")
            logp = lm.logits(ids)[:-1].log_softmax(-1).gather(1, ids[1:, None])[:, 0]
            expected.append(logp[len(row["text"]) - 1 :].sum().item())
        assert [float(found[0]) for found in sample["filtered_resps"]] == pytest.approx(expected, abs=1e-4)
        right.append(int(np.argmax(expected)) == row["label"])
    assert result["acc,none"] == np.mean(right)


def test_lm_eval_scores_masked_lms_by_pseudo_log_likelihood(masked, tmp_path, monkeypatch):
    tool("lm_eval")
    from plugins.hub.harness import MaskedLM

    lm = hub.load(masked[0])
    rows = [{"text": "the river", "choices": ["carries a letter", "near the"], "label": 0}]
    _, samples = evaluate(monkeypatch, tmp_path, MaskedLM(lm), rows)
    whole = surprisal(lm, "the river carries a letter")
    start = len(lm.encode("the river")) - 1  # without </s>
    expected = -whole.bits[start:-1].sum().item() * math.log(2)
    assert float(samples[0]["filtered_resps"][0][0]) == pytest.approx(expected, abs=1e-4)


class Request:
    def __init__(self, *args):
        self.args = args


def test_the_pseudo_log_likelihood_of_a_text_is_its_surprisal(masked):
    tool("lm_eval")
    from plugins.hub.harness import MaskedLM

    model = MaskedLM(masked[0])
    text = SENTENCES[1]
    expected = -surprisal(model.lm, text).bits.nansum().item() * math.log(2)
    assert model.loglikelihood_rolling([Request(text)]) == pytest.approx([expected], abs=1e-4)
    long = " ".join(SENTENCES * 3)  # longer than the model's positions
    assert len(model.lm.encode(long)) > model.longest == 32  # tokens of the training
    assert math.isfinite(model.loglikelihood_rolling([Request(long)])[0])
    assert model.loglikelihood([Request(long, " story")])[0][0] < 0
    with toy.refused("masked LM"):
        model.generate_until([Request("x", {})])


def test_a_causal_lm_is_not_scored_as_a_masked_one(causal):
    tool("lm_eval")
    from plugins.hub.harness import MaskedLM

    with toy.refused("CausalLM", "hf"):
        MaskedLM(causal[0])


# bertviz and TransformerLens


def test_bertviz_accepts_our_arrays_and_the_arrays_of_an_exported_model(masked):
    bertviz = tool("bertviz")
    transformers = tool("transformers")
    folder, exported = masked
    tokens, attention = attention_of(hub.load(folder), SENTENCES[0])
    page = bertviz.head_view(attention=attention, tokens=tokens, html_action="return").data
    assert all(json.dumps(token)[1:-1] in page for token in tokens)
    assert bertviz.model_view(attention=attention, tokens=tokens, html_action="return").data
    model = transformers.AutoModel.from_pretrained(exported, trust_remote_code=True).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(exported, trust_remote_code=True)
    batch = tokenizer(SENTENCES[0], return_tensors="pt")
    with torch.no_grad():
        theirs = model(**batch, output_attentions=True).attentions
    for a, b in zip(theirs, attention, strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=0)
    names = tokenizer.convert_ids_to_tokens(batch["input_ids"][0])
    assert bertviz.head_view(attention=theirs, tokens=names, html_action="return").data


class Stand:
    """What TransformerLens' detector asks of a model, for arrays that are there already."""

    def __init__(self, ids, layers, heads):
        self.ids = ids[None]
        self.cfg = SimpleNamespace(device="cpu", dtype=torch.float32, n_layers=layers, n_heads=heads, n_ctx=64)

    def to_tokens(self, text):
        return self.ids


@pytest.mark.parametrize("pattern", ["previous_token_head", "duplicate_token_head", "induction_head"])
def test_the_detector_of_transformer_lens_reads_our_arrays(causal, pattern):
    tool("transformer_lens")
    from transformer_lens import ActivationCache, head_detector

    lm, text = causal[0], "abcabdabcabd"
    _, attention = attention_of(lm, text)
    ids = lm.encode(text)
    model = Stand(ids, len(attention), attention[0].size(1))
    arrays = {f"blocks.{layer}.attn.hook_pattern": weights[0] for layer, weights in enumerate(attention)}  # (H, T, T)
    cache = ActivationCache(arrays, model, has_batch_dim=False)
    scores = head_detector.detect_head(model, text, pattern, cache=cache)
    keys = getattr(head_detector, f"get_{pattern}_detection_pattern")(ids[None])
    expected = torch.stack([(w[0] * keys).sum((1, 2)) / w[0].sum((1, 2)) for w in attention])  # (L, H)
    torch.testing.assert_close(scores, expected, atol=1e-5, rtol=0)


# peft and sentence-transformers


@pytest.mark.parametrize("kind", ["lora", "ia3", "merged"])
def test_an_exported_model_is_tuned_by_peft_and_imported(tmp_path, kind):
    transformers, peft = tool("transformers"), tool("peft")
    lm = hub_gpt2(tmp_path / "gpt2", transformers)
    hub.export(lm, tmp_path / "exported")
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "exported")
    modules = {"target_modules": ["c_attn"], "fan_in_fan_out": True}
    if kind == "ia3":
        config = peft.IA3Config(task_type="CAUSAL_LM", feedforward_modules=["mlp.c_proj"],
                                target_modules=["c_attn", "mlp.c_proj"], init_ia3_weights=False)  # fmt: skip
    else:
        config = peft.LoraConfig(task_type="CAUSAL_LM", init_lora_weights=False, **modules)
    tuned = peft.get_peft_model(model, config).eval()
    tokens = torch.randint(300, (2, 9), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = tuned(tokens).logits
    if kind == "merged":
        tuned.merge_and_unload().save_pretrained(tmp_path / "back")
        for name in ("vocab.json", "merges.txt", "tokenizer.json", "tokenizer_config.json"):
            (tmp_path / "back" / name).write_bytes((tmp_path / "exported" / name).read_bytes())
        back = hub.CausalLM.from_pretrained(tmp_path / "back").model
    else:
        tuned.save_pretrained(tmp_path / "adapter")
        base = tmp_path / "ours" / "model.pt"
        checkpoints.write_causal_lm(base, lm.model)
        peft_format.convert(tmp_path / "adapter", base, tmp_path / "ours" / "adapter.pt")
        back = hub.load(tmp_path / "ours" / "adapter.pt").model
    with torch.no_grad():
        torch.testing.assert_close(back(tokens)[0], expected, atol=1e-4, rtol=0)


def hub_gpt2(folder, transformers):
    """Write a small GPT-2 with a tokenizer, and return it as ours."""
    bpe = tool("tokenizers").ByteLevelBPETokenizer()
    bpe.train_from_iterator(SENTENCES * 20, vocab_size=300, special_tokens=["<|endoftext|>"], show_progress=False)
    folder.mkdir()
    bpe.save_model(str(folder))
    size = {"n_layer": 2, "n_head": 2, "n_embd": 16, "n_positions": 32, "bos_token_id": 0, "eos_token_id": 0}
    transformers.GPT2LMHeadModel(transformers.GPT2Config(vocab_size=300, **size)).save_pretrained(folder)
    return hub.CausalLM.from_pretrained(folder)


def test_sentence_transformers_encodes_as_we_do(masked):
    sentence_transformers = tool("sentence_transformers")
    model = sentence_transformers.SentenceTransformer(str(masked[1]), device="cpu", trust_remote_code=True)
    embedder = hub.Embedder.from_pretrained(masked[0])  # mean pooling, as sentence-transformers' default
    assert np.allclose(model.encode(SENTENCES), embedder.encode(SENTENCES), atol=1e-5)
