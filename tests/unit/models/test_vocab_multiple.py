"""``--vocab-multiple``: the unused rows change nothing but the number of rows."""

import pytest
import torch
import toy

from plugins.hub import load
from plugins.hub.huggingface import roberta_in
from plugins.hub.huggingface.export import export

MULTIPLE = 64
TABLE = "encoder.sentence_encoder.embed_tokens.weight"
BIAS = "encoder.lm_head.bias"


def pair(data, variant, **options):
    """Return tasks and models of equal weights, without padding and with, and the rows of real words."""
    options |= toy.VARIANTS[variant]
    tasks = [toy.make_task(data, omit_mask="mask_embedding" in options) for _ in range(2)]
    plain = toy.randomize(toy.make_model(tasks[0], **options))
    padded = toy.make_model(tasks[1], vocab_multiple=MULTIPLE, **options)
    real = [i for i in range(len(tasks[1].dictionary)) if i not in tasks[1].dictionary.padding]
    state = padded.state_dict()
    for name, tensor in plain.state_dict().items():
        if tensor.ndim and len(tensor) == len(real):
            state[name][real] = tensor
        else:
            state[name] = tensor
    padded.load_state_dict(state)
    return tasks, (plain, padded), torch.tensor(real)


def batch(task):
    tokens = torch.randint(4, 20, (3, 16), generator=torch.Generator().manual_seed(1))
    masked = torch.arange(16).expand(3, 16) % 5 == 2
    return tokens.masked_fill(masked, task.mask_idx), masked, tokens.masked_fill(~masked, 1)


@pytest.mark.parametrize("variant", toy.VARIANTS)
def test_logits_loss_and_gradients_are_those_of_the_model_without(toy_data, variant):
    tasks, models, real = pair(toy_data, variant)
    assert len(tasks[1].dictionary) % MULTIPLE == 0 < len(tasks[1].dictionary) - len(real)
    results = []
    for task, model in zip(tasks, models, strict=True):
        tokens, masked, target = batch(task)
        logits = model(tokens, masked_tokens=masked)[0]
        loss = model(tokens, masked_tokens=masked, target=target)[1]["loss"]
        loss.backward()
        results.append((logits.softmax(-1), loss.detach(), dict(model.named_parameters())[TABLE].grad))
    (p, loss, grad), (p_padded, loss_padded, grad_padded) = results
    torch.testing.assert_close(p_padded[:, real], p)
    torch.testing.assert_close(loss_padded, loss)
    torch.testing.assert_close(grad_padded[real], grad, atol=1e-5, rtol=1e-4)
    unused = list(tasks[1].dictionary.padding)
    assert p_padded[:, unused].count_nonzero() == 0
    assert grad_padded[unused].count_nonzero() == 0


def test_random_replacements_are_words(toy_data):
    task = toy.make_task(toy_data)
    toy.make_model(task, vocab_multiple=MULTIPLE)
    weights = task.masking().word_weights
    assert len(weights) == len(task.dictionary)
    assert weights[list(task.dictionary.padding)].tolist() == [0] * len(task.dictionary.padding)


@pytest.mark.parametrize("variant", toy.VARIANTS)
def test_a_checkpoint_records_it_and_its_dictionary_file_has_no_padding(toy_data, tmp_path, variant):
    toy.save_masked_lm(tmp_path, toy_data, vocab_multiple=MULTIPLE, **toy.VARIANTS[variant])
    assert (tmp_path / "dict.txt").read_bytes() == (toy_data / "dict.txt").read_bytes()
    model = load(tmp_path)
    assert len(model.dictionary) % MULTIPLE == 0
    assert len(model.model.encoder.sentence_encoder.embed_tokens.weight) == len(model.dictionary)
    answers = model.fill_mask("the river <mask> a garden .", topk=10**6)
    assert not [word for _, _, word in answers if "madeup" in word]


@pytest.mark.slow  # transformers takes seconds to import
@pytest.mark.parametrize("variant", toy.VARIANTS)
def test_an_exported_model_has_equal_probabilities_and_token_ids(toy_data, tmp_path, variant):
    transformers = pytest.importorskip("transformers")
    (tmp_path / "checkpoint").mkdir()
    toy.save_masked_lm(tmp_path / "checkpoint", toy_data, vocab_multiple=MULTIPLE, **toy.VARIANTS[variant])
    ours = load(tmp_path / "checkpoint")
    export(tmp_path / "checkpoint", tmp_path / "exported")
    theirs = transformers.AutoModelForMaskedLM.from_pretrained(tmp_path / "exported", trust_remote_code=True).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "exported")
    text = "the river <mask> a garden ."
    ids = tokenizer(text, return_tensors="pt").input_ids
    assert ids[0].tolist() == ours.encode(text).tolist()
    with torch.no_grad():
        found, expected = theirs(ids).logits.softmax(-1), ours.model(ids)[0].softmax(-1)
    torch.testing.assert_close(found, expected)


@pytest.mark.slow
def test_an_exported_model_is_imported_with_its_unused_rows(toy_data, tmp_path):
    pytest.importorskip("transformers")
    (tmp_path / "checkpoint").mkdir()
    toy.save_masked_lm(tmp_path / "checkpoint", toy_data, vocab_multiple=MULTIPLE, **toy.VARIANTS["baseline"])
    export(tmp_path / "checkpoint", tmp_path / "exported")
    roberta_in.convert(tmp_path / "exported", tmp_path / "again" / "model.pt")
    ours, again = load(tmp_path / "checkpoint"), load(tmp_path / "again" / "model.pt")
    assert again.dictionary.symbols == ours.dictionary.symbols and len(again.dictionary) % MULTIPLE == 0
    ids = ours.encode("the river <mask> a garden .")
    with torch.no_grad():
        torch.testing.assert_close(again.model(ids[None])[0], ours.model(ids[None])[0])
