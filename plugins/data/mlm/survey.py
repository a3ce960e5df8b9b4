"""The first pass over a corpus: count documents, sample lines for a tokenizer, collect what identifies duplicates."""

from dataclasses import dataclass

import numpy as np

from plugins.data.mlm.duplicates import digests, near_signatures
from plugins.data.text.blocks import TextBlock, parse
from plugins.data.text.line_sample import DrawnLines, draw


@dataclass
class Surveyed:
    """Results for a block.

    Attributes:
        documents: number of documents that begin in it.
        lines: those of its lines that may be in the sample; None if no sample is needed. Their documents are counted
            from the first that begins in the block; -1 is the one before.
        digests, signatures: digests and signatures of the documents, if duplicates are looked for.
    """

    documents: int
    lines: DrawnLines | None
    digests: np.ndarray | None
    signatures: np.ndarray | None


@dataclass(frozen=True)
class Surveyor:
    """The task of a worker of the first pass.

    Attributes:
        key: field of JSON records that contains the text.
        whole_documents: an item is a document, not a line.
        sample: draw lines.
        exact, near: collect the data that identifies duplicates.
    """

    key: str
    whole_documents: bool
    sample: bool
    exact: bool
    near: bool

    def __call__(self, work: tuple[TextBlock, tuple[int, ...], float]) -> Surveyed:
        """Survey a block, given the seed of its draws and the largest draw that may be in the sample."""
        block, seed, limit = work
        parsed = parse(block, self.key, self.whole_documents)
        starts = np.array(parsed.starts, np.int64)
        drawn, found, values = None, None, None
        if self.sample:
            documents = np.searchsorted(starts, np.arange(len(parsed.lines)), side="right") - 1
            drawn = draw(parsed.lines, documents, seed, limit)
        if self.exact or self.near:
            ends = [*parsed.starts[1:], len(parsed.lines)]
            texts = ["\n".join(parsed.lines[start:end]) for start, end in zip(parsed.starts, ends, strict=False)]
            found = digests(texts)
            values = near_signatures(texts) if self.near else None
        return Surveyed(len(starts), drawn, found, values)
