"""The submission of runs in any folder."""

import json

import toy

from plugins import hub
from plugins.errors import UserError


def test_checkpoints_are_looked_for_in_the_folder_of_the_runs(run_script, tmp_path, monkeypatch):
    best = {"RTE": "RTE/lr2e-05_b16_s1/checkpoint_best.pt", "CoLA": "/elsewhere/checkpoint_best.pt"}
    (tmp_path / "results.json").write_text(json.dumps({"best": best}))
    loaded = []

    def load(path):
        loaded.append(str(path))
        raise UserError(f"{path}: no such file")

    monkeypatch.setattr(hub, "load", load)
    with toy.refused(tmp_path):
        run_script("predict_glue", "--runs", tmp_path, "--glue-dir", tmp_path, "--submission", tmp_path / "s.zip")
    assert loaded == [best["CoLA"], str(tmp_path / best["RTE"])]
