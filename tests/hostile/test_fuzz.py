"""Run fuzz.py for a few seconds."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.mark.slow
def test_a_short_run_finds_nothing(tmp_path):
    fuzz = pytest.importorskip("fuzz", reason="needs hypothesis: make install")
    report = fuzz.run(8, 3, tmp_path / "files", tmp_path / "findings")
    assert report.found == {}
    assert sum(report.counts.values()) > 20
