"""scripts/measure_memory.py ends with an error if no variant was measured."""

import json

import pytest
import toy

from plugins.planning import measuring

MEASURED, REFUSED = {"variant": "baseline"}, {"variant": "lora", "reason": "--peft is unknown"}


@pytest.mark.parametrize("rows, refused", [([MEASURED, REFUSED], False), ([REFUSED, REFUSED], True)])
def test_the_status_shows_whether_anything_was_measured(tmp_path, monkeypatch, run_script, rows, refused):
    monkeypatch.setattr(measuring, "measure", lambda *_: rows)
    monkeypatch.setattr(measuring, "markdown", lambda _: "table")
    words = ["--variants", "baseline", "lora", "-o", tmp_path / "out", "--", "fairseq-train", "x"]
    if refused:
        with toy.refused("--peft", error=SystemExit):
            run_script("measure_memory", *words)
    else:
        run_script("measure_memory", *words)
    assert json.loads((tmp_path / "out" / "memory.json").read_text())["rows"] == rows
