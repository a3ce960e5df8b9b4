"""Descriptions of data: which cannot be changed, and the limits that users meet."""

import dataclasses
import importlib
import pkgutil

import pytest

import plugins.data
from plugins.data import by_length
from plugins.data.embedding import rows
from plugins.data.mlm import corpus, encoding, prepare, splits
from plugins.data.text import documents, line_sample, records, tokenizers

BUILT_IN_STEPS = {  # filled in or changed while data is read
    "text.blocks.TextBlock", "text.blocks.Parsed", "text.encoding.Piece", "text.encoding.Survey",
    "text.sources.Document", "text.line_sample.DrawnLines", "mlm.encoding.EncodedBlock", "mlm.streams.Stream",
    "mlm.survey.Surveyed",
}  # fmt: skip


def test_descriptions_of_data_cannot_be_changed():
    """They are keys of caches and shared by the splits of a task."""
    mutable = set()
    for info in pkgutil.walk_packages(plugins.data.__path__, "plugins.data."):
        for name, value in vars(importlib.import_module(info.name)).items():
            own = getattr(value, "__module__", None) == info.name
            if own and dataclasses.is_dataclass(value) and not value.__dataclass_params__.frozen:
                mutable.add(f"{info.name.removeprefix('plugins.data.')}.{name}")
    assert mutable == BUILT_IN_STEPS


@pytest.mark.parametrize("found, expected", [
    (by_length.LARGEST_BATCH, 512), (by_length.SMALL_BATCH, (1024, 16_384)), (by_length.LEAST_USED, 0.9),
    (by_length.LENGTH_NOISE, 0.1), (rows.HELD_OUT, 0.1), (corpus.VALID_FRACTION, 0.05), (prepare.VOCABULARY, 8000),
    (line_sample.SAMPLE_BYTES, 20_000_000), (tokenizers._TRAINING_BYTES, 20_000_000), (tokenizers._LONGEST_LINE, 4000),
    (records.LONGEST_LINE, 2**28), (records._FIRST_LINE, 2**20), (documents.EMBEDDED_BYTES, 5_000_000),
    (splits._CHUNK, 1_000_000), (encoding._LONG_LINE, 2**20), (tokenizers._TRAINING_THREADS, 4),
])  # fmt: skip
def test_documented_limits_stay_as_they_are(found, expected):
    """Text is divided, sampled or refused by them, so another value gives other data for the same command."""
    assert found == expected
