"""The console output of a run: the command that is suggested at its end."""

from types import SimpleNamespace

import pytest

from plugins.compat.console import Console


@pytest.mark.parametrize(
    ("task", "files", "command"),
    [
        ("char_lm", ["checkpoint_last.pt"], "python scripts/sample.py {folder} --length 300"),
        ("clap_masked_lm", ["checkpoint_best.pt", "checkpoint_last.pt"],
         "python scripts/run_glue.py --glue-dir GLUE --checkpoint {folder}/checkpoint_best.pt --output {folder}/glue"),
        ("char_lm", [], None),
        ("glue", ["checkpoint_best.pt"], None),
    ],
)  # fmt: skip
def test_the_next_command_needs_a_checkpoint_and_a_known_task(tmp_path, task, files, command):
    for name in files:
        (tmp_path / name).touch()
    finished = []
    console = Console(None)
    console.cfg = SimpleNamespace(checkpoint=SimpleNamespace(save_dir=str(tmp_path)), task=SimpleNamespace(_name=task))
    console.trainer = SimpleNamespace(get_num_updates=lambda: 7)
    console.display = SimpleNamespace(finish=lambda *arguments: finished.append(arguments))
    display = console.display
    console.finish()
    [(_, about, following)] = finished
    assert display.done == 7 and following == (command and command.format(folder=tmp_path))
    assert about["files"].startswith(str(tmp_path)) and all(name in about["files"] for name in files)
