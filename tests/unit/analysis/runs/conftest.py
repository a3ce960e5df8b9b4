"""A grid that the tests of grids and of their tables share."""

import pytest

from plugins.analysis.runs import grids

YAML = """
title: Two axes
base: "{data} --task t"
seeds: [1, 2]
axes:
  --decoder-layers: [5, 10]
  head: {a: --head clap, b: [--name, two words]}
rows:
  no residual: --no-residual
"""


@pytest.fixture
def read(tmp_path):
    def read(text=None, *arguments, **options):
        (tmp_path / "g.yaml").write_text(text or YAML)
        return grids.read_grid(tmp_path / "g.yaml", *arguments, **options)

    return read
