"""No script overwrites its input, or takes one file in two roles: refused before any work, with the file intact."""

import pytest
import toy

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
    "predict_glue, submission": ["--runs", "DIR", "--glue-dir", "DIR", "--submission", "DIR/RTE/dev.tsv"],
    "predict_glue, over the results": ["--runs", "DIR", "--glue-dir", "DIR", "--submission", "DIR/results.json"],
    "merge_peft": ["CKPT", "-o", "CKPT"],
    "merge_peft, over the base": ["CKPT", "--base", "IN", "-o", "IN"],
    "merge_peft, over the checkpoint in a folder": ["DIR", "-o", "DIR/checkpoint_best.pt"],
    "compare_summaries": ["a=DIR/results.json", "b=IN", "-o", "DIR"],
    "plot_runs": ["--speed", "DIR/runs.json", "-o", "DIR"],
    "plot_runs, drawing": ["--speed", "DIR/speed.png", "-o", "DIR"],
    "plot_styles, drawing": ["CKPT", "--text", "DIR/texts.png", "-o", "DIR"],
    "plot_styles, ribbon": ["CKPT", "--text", "IN", "DIR/ribbon_in.png", "-o", "DIR"],
    "plot_embeddings": ["CKPT", "DIR", "--spec", "IN", "-o", "IN"],
    "apply_labels, over the specification": ["IN", "DIR/dev.tsv", "--spec", "SAME", "-o", "SAME"],
    "benchmark_label_errors": ["--lines", "DIR/results.csv", "IN", "-o", "DIR"],
    "benchmark_selection": ["IN", "--pool", "DIR/results.csv", "--specs", "IN", "--number", "1", "-o", "DIR"],
    "compare_data": ["IN", "DIR/conflicts.csv", "-o", "DIR"],
    "compare_losses": ["DIR", "--checkpoint", "CKPT", "--spec", "DIR/table.md", "-o", "DIR"],
    "diagnose": ["--data", "DIR/diagnosis.csv", "--checkpoint", "CKPT", "-o", "DIR"],
    "diagnose, over the predictions": ["--probabilities", "DIR/probabilities.npz", "-o", "DIR"],
    "embed": ["CKPT", "DIR/texts.npz", "-o", "DIR/texts.npz"],
    "evaluate_embeddings": ["CKPT", "DIR", "--spec", "DIR/table.md", "-o", "DIR"],
    "find_label_errors": ["DIR", "--specs", "DIR/errors.csv", "-o", "DIR"],
    "flip_preferences": ["IN", "--share", "0.1", "-o", "IN"],
    "glue_collapse": ["--glue-dir", "DIR", "--models", "DIR", "-o", "DIR/model/checkpoint_best.pt"],
    "inspect_data": ["DIR/words.csv", "-o", "DIR"],
    "lexical_bias": ["CKPT", "--words", "DIR/words.csv", "--data", "IN", "-o", "DIR"],
    "long_context": ["CKPT", "--text", "DIR/long_context.json", "-o", "DIR"],
    "run_glue": ["--glue-dir", "DIR", "--checkpoint", "CKPT", "--config", "DIR/results.json", "--output", "DIR"],
    "run_glue, over the checkpoint": ["--glue-dir", "DIR", "--checkpoint", "CKPT", "--output", "CKPT"],
    "search_texts": ["CKPT", "IN", "DIR/dev.tsv", "--query", "q", "--csv", "DIR/dev.tsv"],
    "select_data": ["--specs", "DIR/dev.tsv", "--pool", "IN", "--number", "1", "-o", "IN"],
    "slim_checkpoint": ["CKPT", "-o", "CKPT"],
    "study_flips": ["IN", "--valid", "DIR/flips.csv", "--checkpoint", "CKPT", "-o", "DIR"],
    "surprise": ["CKPT", "FILE:IN", "--json", "IN"],
    "surprise, drawing": ["CKPT", "FILE:DIR/text.png", "-o", "DIR/text.png"],
    "sweep": ["DIR/results.json", "-o", "DIR"],
    "transfer, over a task": ["DIR", "--tasks", "CoLA", "DIR/x.yaml", "--checkpoint", "CKPT", "-o", "DIR/x.yaml"],
    "transfer": ["DIR", "--tasks", "CoLA", "RTE", "--checkpoint", "CKPT", "-o", "CKPT"],
}
NAMES = ("in.csv", "checkpoint_best.pt", "dev.tsv", "diagnosis.csv", "probabilities.npz", "results.json")


@pytest.mark.parametrize("case", CASES)
def test_an_output_over_an_input_is_refused(tmp_path, run_script, case):
    named = [word.partition("DIR/")[2] for word in CASES[case] if "DIR/" in word]
    files = [tmp_path / name for name in dict.fromkeys([*NAMES, *named])]
    for path in files:
        path.parent.mkdir(exist_ok=True)
        path.write_text("content")
    (tmp_path / "link").symlink_to("in.csv")
    places = {
        "IN": tmp_path / "in.csv", "CKPT": tmp_path / "checkpoint_best.pt", "SAME": tmp_path / "link", "DIR": tmp_path
    }  # fmt: skip
    arguments = CASES[case]
    for key, path in places.items():
        arguments = [argument.replace(key, str(path)) if key in argument else argument for argument in arguments]
    with toy.refused(error=(UserError, SystemExit)) as error:
        run_script(case.split(",")[0], *arguments)
    assert any(str(path) in str(error.value) for path in (*files, tmp_path / "link"))
    assert {path.read_text() for path in files} == {"content"}


@pytest.mark.parametrize("script, words", [
    ("study_flips", ["IN", "--valid", "LINK", "--checkpoint", "IN", "-o", "OUT"]),
    ("choose_threshold", ["IN", "IN", "--test", "LINK"]),
    ("benchmark_selection", ["IN", "--pool", "LINK", "--specs", "IN", "--number", "1", "-o", "OUT"]),
    ("diagnose", ["--data", "IN", "LINK", "--checkpoint", "IN", "-o", "OUT"]),
    ("compare_data", ["IN", "LINK", "-o", "OUT"]),
])  # fmt: skip
def test_one_file_in_two_roles_is_refused(tmp_path, run_script, script, words):
    places = {"IN": tmp_path / "in.csv", "LINK": tmp_path / "link.csv", "OUT": tmp_path / "out"}
    places["IN"].write_text("content")
    places["LINK"].symlink_to("in.csv")
    with toy.refused(str(places["LINK"]), error=(UserError, SystemExit)):
        run_script(script, *(str(places.get(word, word)) for word in words))
    assert not places["OUT"].exists()
