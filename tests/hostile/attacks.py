"""Malicious checkpoints: each function turns the content of a good checkpoint into an attack.

``MARKER`` in an option is replaced by the path of a file that must not appear.
"""

import argparse
import os
import struct
import zipfile

import numpy as np
import torch

MARKER = "MARKER"


class Runs:
    """Creates a file when it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


class Void:
    """A numpy scalar of 2 GB in 400 bytes."""

    def __reduce__(self):
        return np._core.multiarray.scalar, (np.dtype("V2000000000"), b"")


def options_of(state):
    """Return the options of the model, in which the sizes are."""
    return state["cfg"]["model"]


def with_args(state, **options):
    """Return a checkpoint whose options are a Namespace, as before fairseq used hydra."""
    return {**state, "cfg": None, "args": argparse.Namespace(**options)}


def set_in(section, **options):
    def change(state):
        state["cfg"].setdefault(section, {})
        state["cfg"][section] = {**(state["cfg"][section] or {}), **options}
        return state

    return change


def part(name, value):
    return lambda state: {**state, name: value}


def size(value, *names):
    def change(state):
        options = options_of(state)
        options.update({name: value for name in names if name in options or name.endswith("layers")})
        return state

    return change


def nested(depth, value="x"):
    for _ in range(depth):
        value = [value]
    return value


def laughs():
    value = ["x"]
    for _ in range(60):
        value = [value, value]
    return value


def weight(change):
    def changed(state):
        name = max(state["model"], key=lambda key: state["model"][key].numel())
        return {**state, "model": {**state["model"], name: change(state["model"][name])}}

    return changed


EVALUATED = f"__import__('os').system('touch {MARKER}') or [(8, 3)]"
CODE = {  # could create the file
    "a class that evaluates its options": lambda s: with_args(
        s, arch="fconv_lm", task="language_modeling", data=".", criterion="cross_entropy", decoder_layers=EVALUATED,
        decoder_embed_dim=4, decoder_out_embed_dim=4, decoder_attention="False", max_target_positions=8,
        tokens_per_sample=8, dropout=0.1, adaptive_softmax_cutoff=None,
    ),
    "the same under cfg": set_in("model", _name="fconv_lm", decoder_layers=EVALUATED),
    "convolutions of speech models": set_in("model", _name="wav2vec2", conv_feature_layers=EVALUATED),
    "character filters": set_in("model", _name="transformer_lm", character_filters=EVALUATED),
    "an option of attention": lambda s: with_args(
        s, arch="roberta_base", task="masked_lm", data=".", encoder_xformers_att_config=EVALUATED,
        xformers_att_config=EVALUATED, encoder_layers=1, encoder_embed_dim=4, encoder_ffn_embed_dim=4,
        encoder_attention_heads=1, max_positions=8, tokens_per_sample=8,
    ),
    "a task": set_in("task", _name="audio_pretraining", data=EVALUATED),
    "a criterion": set_in("criterion", _name="ctc", wer_args=EVALUATED),
    "an optimizer's option": set_in("optimizer", _name="adam", adam_betas=EVALUATED),
    "a pickle": part("extra", Runs(MARKER)),
    "a pickle among the weights": lambda s: {**s, "model": {**s["model"], "w": Runs(MARKER)}},
}  # fmt: skip
NETWORK = {  # could open a connection
    name: set_in("bpe", _name=name, **dict.fromkeys(options, "https://example.org/file"))
    for name, options in {
        "hf_byte_bpe": ("bpe_merges", "bpe_vocab"),
        "gpt2": ("gpt2_encoder_json", "gpt2_vocab_bpe"),
        "sentencepiece": ("sentencepiece_model",),
        "bert": ("bpe_vocab_file",),
        "fastbpe": ("bpe_codes",),
        "subword_nmt": ("bpe_codes",),
    }.items()
}
OUTSIDE = {  # could read the environment, or files elsewhere
    "an environment variable": set_in("task", data="${oc.env:HOME}"),
    "a resolver, deeper": set_in("common", x=[{"y": "a ${oc.env:HOME}"}]),
    "an environment variable in args": lambda s: with_args(
        s, arch="roberta_base", task="masked_lm", data="${oc.env:HOME}"
    ),
}
SCHEMA = {
    "cfg is a text": part("cfg", "x"),
    "cfg is a list": part("cfg", [1]),
    "args is a dict": part("args", {}),
    "no options": lambda s: {**s, "cfg": None, "args": None},
    "model is a list": part("model", [1]),
    "model is empty": part("model", {}),
    "names that are numbers": part("model", {1: torch.ones(2)}),
    "task state is a list": part("task_state", [1]),
    "dictionary is a list": part("task_state", {"dictionary": [1]}),
    "duplicate characters": part("task_state", {"dictionary": {"unit": "char", "characters": ["a", "a"]}}),
    "characters of two letters": part("task_state", {"dictionary": {"unit": "char", "characters": ["ab"]}}),
    "another unit": part("task_state", {"dictionary": {"unit": "x", "characters": ["a"]}}),
    "history is a number": part("optimizer_history", 5),
    "history is empty": part("optimizer_history", []),
    "extra state is a text": part("extra_state", "x"),
    "model is a text": lambda s: {**s, "cfg": {**s["cfg"], "model": "clap_roberta"}},
    "model has a list for a name": set_in("model", _name=["clap_roberta"]),
    "a text for a number": size("many", "encoder_layers", "decoder_layers"),
    "a negative size": size(-1, "encoder_layers", "decoder_layers"),
    "no layers": size(0, "encoder_layers", "decoder_layers"),
    "a model that nothing registers": set_in("model", _name="nobodys_model", arch="nobodys_model"),
    "nested deeply": set_in("task", data=nested(150)),
    "many references": set_in("task", data=laughs()),
    "a text of 2 MB": set_in("task", data="x" * 2_000_000),
}
WEIGHTS = {
    "not a number": weight(lambda w: torch.full_like(w, float("nan"))),
    "infinite": weight(lambda w: torch.cat([w.flatten()[1:], torch.tensor([float("inf")])]).view_as(w)),
    "integers": weight(lambda w: w.long()),
    "complex": weight(lambda w: w.to(torch.complex64)),
    "sparse": weight(lambda w: w.to_sparse()),
    "transposed": weight(lambda w: w.flatten()[:-1]),
    "a billion of one": weight(lambda w: torch.ones(1).expand(10**6, 10**6)),
}
SIZES = {
    f"{name} of {value:.0e}": size(value, *(f"{side}_{name}" for side in ("encoder", "decoder")))
    for name in ("layers", "embed_dim", "ffn_embed_dim", "attention_heads")
    for value in (10**6, 10**9)
} | {
    f"{name} of {value:.0e}": size(value, name)
    for name in ("vocab_size", "block_size", "max_positions")
    for value in (10**9, 10**12)
} | {"a numpy scalar of 2 GB": part("extra_state", {"best": Void()})}  # fmt: skip
CONTENT = CODE | NETWORK | OUTSIDE | SCHEMA | WEIGHTS | SIZES


# Attacks on the bytes of the file


def truncated(data):
    return data[: len(data) // 2]


def flipped(data):
    return data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 255]) + data[len(data) // 2 + 1 :]


def text(data):
    return b"a 1\nb 1\n"


def nothing(data):
    return b""


def legacy_claim(data):
    """A file of torch 0.4 that is cut after its magic number."""
    return b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03." + struct.pack("<Q", 2**60)


BYTES = {f.__name__: f for f in (truncated, flipped, text, nothing, legacy_claim)}


def compressed(path):
    """Compress the archive: zeros of any size would fit into a small file."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def replace_markers(value, marker):
    """Put the path of the marker into every option, and into what a pickle would run."""
    if isinstance(value, str):
        return value.replace(MARKER, str(marker))
    if isinstance(value, Runs):
        return Runs(marker)
    if isinstance(value, argparse.Namespace):
        return argparse.Namespace(**replace_markers(vars(value), marker))
    if isinstance(value, dict):
        return {key: replace_markers(item, marker) for key, item in value.items()}
    return value
