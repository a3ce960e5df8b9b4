"""No script writes over what it reads: refused before any work, with the file intact."""

import pytest

from plugins.errors import UserError

CASES = {
    "summarize": ["lead-1", "IN", "-o", "IN"],
    "summarize, through a link": ["lead-1", "IN", "-o", "SAME"],
    "report": ["CKPT", "--text", "IN", "-o", "IN"],
    "report, over the checkpoint": ["CKPT", "--text", "IN", "-o", "CKPT"],
    "find_heads": ["CKPT", "IN", "--json", "IN"],
    "find_heads, drawing": ["CKPT", "IN", "-o", "IN"],
    "plot_attention": ["CKPT", "FILE:IN", "--json", "IN"],
    "evaluate_style": ["CKPT", "--data", "IN", "-o", "IN"],
    "predict_glue": ["--checkpoint", "CKPT", "--glue-dir", "DIR", "--task", "RTE", "-o", "DIR/dev.tsv"],
    "merge_peft": ["CKPT", "-o", "CKPT"],
    "merge_peft, over the base": ["CKPT", "--base", "IN", "-o", "IN"],
    "merge_peft, over the checkpoint in a folder": ["DIR", "-o", "DIR/checkpoint_best.pt"],
    "compare_summaries": ["a=DIR/results.json", "b=IN", "-o", "DIR"],
    "plot_runs": ["--speed", "DIR/runs.json", "-o", "DIR"],
}


@pytest.mark.parametrize("case", CASES)
def test_an_output_over_an_input_is_refused(tmp_path, run_script, case):
    names = ("in.csv", "checkpoint_best.pt", "dev.tsv", "results.json", "runs.json")
    for name in names:
        (tmp_path / name).write_text("content")
    (tmp_path / "link").symlink_to("in.csv")
    places = {
        "IN": tmp_path / "in.csv", "CKPT": tmp_path / "checkpoint_best.pt", "SAME": tmp_path / "link", "DIR": tmp_path
    }  # fmt: skip
    arguments = CASES[case]
    for key, path in places.items():
        arguments = [argument.replace(key, str(path)) if key in argument else argument for argument in arguments]
    with pytest.raises((UserError, SystemExit), match="would be written over"):
        run_script(case.split(",")[0], *arguments)
    assert {(tmp_path / name).read_text() for name in names} == {"content"}
