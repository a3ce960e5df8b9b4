"""The first pass over a block."""

import numpy as np

from plugins.data.mlm.duplicates import digests, near_signatures
from plugins.data.mlm.survey import Surveyor
from plugins.data.text.blocks import TextBlock, text_source

BLOCK = TextBlock(text_source("a.txt", "text"), 0, b"end of one\n\ntwo\nof two\n\nthree", continues=True)


def survey(sample=False, exact=False, near=False, limit=np.inf):
    return Surveyor("text", False, sample, exact, near)((BLOCK, (1, 0), limit))


def test_lines_are_drawn_with_their_documents():
    """-1 is the document that began in the block before."""
    found = survey(sample=True)
    assert found.documents == 2 and found.digests is None and found.signatures is None
    assert found.lines.documents.tolist() == [-1, 0, 0, 1]
    assert found.lines.text == b"end of onetwoof twothree"
    assert survey(sample=True, limit=-1).lines.text == b""


def test_documents_that_begin_in_the_block_are_compared_whole():
    texts = ["two\nof two", "three"]
    found = survey(exact=True)
    assert found.lines is None and found.signatures is None
    assert (found.digests == digests(texts)).all()
    found = survey(exact=True, near=True)
    assert (found.digests == digests(texts)).all() and (found.signatures == near_signatures(texts)).all()
