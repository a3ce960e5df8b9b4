"""scripts/command.py: how every command ends, and its checks of arguments before the heavy imports."""

import os
import signal
import subprocess
import sys

import pytest
import toy

from plugins import files
from plugins.checkpoints import IN_A_FOLDER

ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}


@pytest.fixture
def command(load_script):
    return load_script("command")


@pytest.fixture
def run(command):
    return command.run


@pytest.mark.parametrize("words", [
    ["sample.py", __file__],
    ["plot_runs.py", "--speed", __file__, "-o", "plots"],
    ["prepare_mlm.py", "--embedded", "-o", "folder"],
], ids=lambda words: words[0])  # fmt: skip
def test_without_the_environment_one_line_explains_how_to_activate_it(words, tmp_path):
    command = [sys.executable, "-S", toy.ROOT / "scripts" / words[0], *words[1:]]  # -S: no site-packages
    done = subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, timeout=60)
    (line,) = done.stderr.splitlines()
    assert done.returncode == 1 and line.startswith("error: ") and ".venv/bin/activate" in line


def test_texts_are_utf_8_in_any_locale_and_paths_stay_as_they_are(command, capsys):
    parser = command.Parser()
    parser.add_argument("--prompt", metavar="TEXT")
    parser.add_argument("-o", metavar="FILE")
    escaped = os.fsdecode("é".encode("latin-1")), "\udcc3\udca9"  # of Latin-1, and of UTF-8 in an ASCII locale
    given = parser.parse_args(["--prompt", escaped[1], "-o", escaped[1]])
    assert (given.prompt, given.o) == ("é", escaped[1])
    assert parser.parse_args(["--prompt", f"FILE:{escaped[1]}"]).prompt == f"FILE:{escaped[1]}"
    with pytest.raises(SystemExit):
        parser.parse_args(["--prompt", escaped[0]])
    assert "--prompt" in capsys.readouterr().err


def test_closed_output_is_discarded(run, monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    run(lambda: sys.stdout.reconfigure(errors="replace"))
    sys.stdout.close()


def test_another_missing_package_keeps_its_own_error(run):
    def main():
        import no_such_package  # noqa: F401

    with pytest.raises(ModuleNotFoundError, match="no_such_package"):
        run(main)


def test_ctrl_c_ends_with_the_commands_own_line(run):
    def main():
        raise KeyboardInterrupt

    with pytest.raises(SystemExit, match="resume"):
        run(main, "run it again to resume")


def test_the_status_of_a_command_is_the_exit_status(run):
    with pytest.raises(SystemExit) as ended:
        run(lambda: 3)
    assert ended.value.code == 3
    run(lambda: None)


@pytest.mark.parametrize("kind", ["files", "paths", "checkpoints"])
def test_a_missing_input_and_a_named_pipe_are_refused(command, tmp_path, kind):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "none", tmp_path / "pipe", "a\0b"):
        with toy.refused(command.escaped(path), error=SystemExit):
            command.check_inputs(**{kind: [None, __file__, path]})


def test_a_folder_is_a_path_but_no_file(command, tmp_path):
    command.check_inputs(paths=[tmp_path, str(tmp_path)])
    with toy.refused(str(tmp_path), error=SystemExit):
        command.check_inputs([tmp_path])


@pytest.mark.parametrize("name", [*IN_A_FOLDER, "config.json"])
def test_the_folder_of_a_checkpoint_contains_one(command, tmp_path, name):
    with toy.refused(str(tmp_path), *IN_A_FOLDER, error=SystemExit):
        command.check_inputs(checkpoints=[tmp_path])
    (tmp_path / name).touch()
    command.check_inputs(checkpoints=[tmp_path])


def test_a_plugin_folder_is_a_package(command, tmp_path):
    parser = command.Parser()
    command.add_user_dir(parser)
    with toy.refused("--user-dir", str(tmp_path), error=SystemExit):
        parser.parse_args(["--user-dir", str(tmp_path)])
    (tmp_path / "__init__.py").touch()
    assert parser.parse_args(["--user-dir", str(tmp_path)]).user_dir == str(tmp_path)


def test_the_pipe_of_a_process_substitution_is_a_file(command):
    ends = os.pipe()
    command.check_inputs([f"/dev/fd/{ends[0]}"])
    for end in ends:
        os.close(end)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_without_permission_is_refused(command, tmp_path):
    (tmp_path / "secret").touch(mode=0)
    with toy.refused("secret", error=SystemExit):
        command.check_inputs([tmp_path / "secret"])


def test_a_usage_error_escapes_what_controls_a_terminal(command, capsys):
    parser = command.Parser(prog="program")
    parser.add_argument("--kind", choices=["a"])
    with pytest.raises(SystemExit) as ended:
        parser.parse_args(["--kind", "a", "x\x1b[31m\u202ey\nz\udcff"])
    assert ended.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1].endswith("x\\x1b[31m\\u202ey\\nz\\udcff")


@pytest.mark.parametrize("words", [["--key", ""], ["--rate", "nan"], ["--rate", "0.1", "inf"], ["--rate="]])
def test_empty_values_and_numbers_that_are_not_finite_are_usage_errors(command, capsys, words):
    parser = command.Parser(prog="program")
    parser.add_argument("--key", metavar="KEY", default="text")
    parser.add_argument("--rate", type=float, nargs="+")
    parser.add_argument("--prompt", metavar="TEXT")
    assert vars(parser.parse_args(["--prompt", ""])) == {"key": "text", "rate": None, "prompt": ""}
    with pytest.raises(SystemExit) as ended:
        parser.parse_args(words)
    assert ended.value.code == 2 and words[0].strip("=") in capsys.readouterr().err.splitlines()[-1]


def test_control_characters_in_errors_are_escaped(command, tmp_path):
    with pytest.raises(SystemExit) as ended:
        command.check_inputs([tmp_path / "x\x1b[31m\u202e\n"])
    assert ended.value.code.startswith("error: ") and ended.value.code.isprintable()
    assert "x\\x1b[31m\\u202e\\n" in ended.value.code


def test_a_text_is_read_from_a_file_only_if_it_starts_so(command):
    assert command.file_named("FILE:a.txt") == "a.txt"
    assert command.file_named("see FILE:a.txt") is None


def test_every_script_has_the_shared_parser():
    files = (toy.ROOT / "scripts").glob("[!_]*.py")
    assert [path.name for path in files if "argparse.ArgumentParser(" in path.read_text()] == []


@pytest.mark.parametrize("kind", ["files", "folders", "figures"])
def test_an_output_below_a_file_is_refused(command, tmp_path, kind):
    (tmp_path / "file").touch()
    with toy.refused(str(tmp_path / "file"), error=SystemExit):
        command.check_outputs(**{kind: [None, tmp_path / "new" / "out", tmp_path / "file" / "new" / "out"]})
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_file_is_written_to_no_folder_and_a_folder_is_no_file(command, tmp_path):
    (tmp_path / "file").touch()
    command.check_outputs([tmp_path / "file", "/dev/null"], [tmp_path], [tmp_path / "a.svg", tmp_path / "no_suffix"])
    for arguments in ([[tmp_path]], [[], [tmp_path / "file"]], [[], [], [tmp_path]], [["a\0b"]], [[""]]):
        with toy.refused(error=SystemExit):
            command.check_outputs(*arguments)


def test_a_figure_has_a_format_of_matplotlib(command):
    from matplotlib.figure import Figure

    written = set(Figure().canvas.get_supported_filetypes())
    assert {suffix.lstrip(".") for suffix in command.PICTURES} - {""} <= written
    with toy.refused("figure.xyz", ".xyz", error=SystemExit):
        command.check_outputs(figures=["figure.xyz"])


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_an_output_in_a_read_only_folder_is_refused(command, tmp_path):
    tmp_path.chmod(0o500)
    with toy.refused(str(tmp_path), error=SystemExit):
        command.check_outputs([tmp_path / "out"])


def test_a_name_that_there_is_not_is_refused_with_the_nearest(command):
    command.check_names([None, "mean"], ["mean", "max"], "--pooling")
    with toy.refused("--pooling meen", "did you mean mean?", "mean, max", error=SystemExit):
        command.check_names(["max", "meen"], ["mean", "max"], "--pooling")


def test_names_of_tasks_ignore_case_and_punctuation(command, tmp_path):
    command.check_tasks([None, "sst2", "SST-2", "mnli", "my.yaml"], "--tasks")
    for name in ("SST3", "my.yaml"):
        with toy.refused(f"--tasks {name}", "SST-2", error=SystemExit):
            command.check_tasks([name], "--tasks", own=False)
    (tmp_path / "sst2").mkdir()
    (tmp_path / "diagnostic").mkdir()
    command.check_tasks(["SST-2", "AX"], "--tasks", str(tmp_path))
    with toy.refused("--tasks RTE", str(tmp_path), error=SystemExit):
        command.check_tasks(["SST-2", "RTE"], "--tasks", str(tmp_path))
    (tmp_path / "train.tsv").touch()  # the folder of a task itself
    command.check_tasks(["RTE"], "--tasks", str(tmp_path))


def test_a_folder_has_the_files_of_one_alternative(command, tmp_path):
    (tmp_path / "model.pt").touch()
    with toy.refused(str(tmp_path), "config.json", "dict.txt", error=SystemExit):
        command.check_contains(tmp_path, ["config.json"], ["model.pt", "dict.txt"])
    (tmp_path / "dict.txt").touch()
    command.check_contains(tmp_path, ["config.json"], ["model.pt", "dict.txt"])
    command.check_contains(None, ["config.json"])


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "CPU", ""])
def test_a_device_that_torch_has_not_is_refused(command, name):
    with toy.refused(f"--device {name}", error=SystemExit):
        command.device(name)


def test_devices_of_torch_are_left_to_it(command):
    assert [command.device(name) for name in ("cpu", "cuda", "cuda:1", "mps")] == ["cpu", "cuda", "cuda:1", "mps"]


@pytest.mark.parametrize("name", ["checkpoint_last.pt", "pytorch_model-00001-of-00002.bin", "model.safetensors"])
def test_large_inputs_are_announced_with_their_size(command, tmp_path, name, capsys):
    with (tmp_path / name).open("wb") as file:
        file.truncate(1_234_000_000)  # sparse
    command.announce("converting", tmp_path)
    command.announce("reading", tmp_path / name)
    assert capsys.readouterr().err.splitlines() == [f"converting {tmp_path} (1,234 MB)",
                                                    f"reading {tmp_path / name} (1,234 MB)"]  # fmt: skip
    (tmp_path / name).write_bytes(b"small")
    command.announce("converting", tmp_path)
    command.announce("converting", tmp_path / "missing")
    assert capsys.readouterr().err == ""


def test_after_sigterm_temporary_files_are_removed_and_the_command_ends_with_one_line(command, tmp_path):
    def main():
        with files.replacing(tmp_path / "a"):
            os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as ended:
        command.run(main, "stopped: nothing was written")
    assert ended.value.code == "stopped: nothing was written" and not list(tmp_path.iterdir())
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize("main", ["lambda: print('x' * 100_000)", "lambda: print('x')", "lambda: sys.exit(print('x'))"])
def test_a_closed_output_ends_a_command_without_a_traceback(main):
    code = f"import sys; sys.path.insert(0, {str(toy.ROOT / 'scripts')!r}); import command; command.run({main})"
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([sys.executable, "-c", code], stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(writing)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")


@pytest.mark.parametrize("text", ["-1e-3", "-1.5E+4", "-.5e1", "-2.", "-7"])
def test_a_negative_number_with_an_exponent_is_a_value(command, text):
    parser = command.Parser()
    parser.add_argument("--margins", nargs="+", type=float)
    assert parser.parse_args(["--margins", "1", text]).margins == [1, float(text)]
