"""One line for errors that the user can fix, a traceback for all others."""

import subprocess
import sys

import pytest
import toy

from plugins import errors
from plugins.errors import UserError, check, find_user_error, located, printable, shortened, shown


def caught(function):
    try:
        function()
    except Exception as error:
        return error


def plain():
    raise UserError("the file x is empty")


def wrapped_with_a_cause():
    try:
        plain()
    except UserError as error:
        raise RuntimeError("cannot load") from error


def wrapped_while_handling():
    try:
        plain()
    except UserError:
        raise Exception("cannot load")  # noqa: B904 (as fairseq does)


def wrapped_twice():
    try:
        wrapped_while_handling()
    except Exception as error:
        raise KeyError("y") from error


@pytest.mark.parametrize("function", [plain, wrapped_with_a_cause, wrapped_while_handling, wrapped_twice])
def test_a_user_error_is_found_in_the_chain_of_exceptions(function):
    assert str(find_user_error(caught(function))) == "the file x is empty"


def test_another_error_is_none():
    assert find_user_error(ZeroDivisionError()) is None
    assert find_user_error(None) is None


def run(body):
    script = f"import sys; sys.path.insert(0, {str(sys.path[0])!r})\n"
    script += f"sys.path.insert(0, {str(__import__('toy').ROOT)!r})\n"
    script += "import importlib.util as u\n"
    script += f"spec = u.spec_from_file_location('errors', {str(__import__('toy').ROOT / 'plugins' / 'errors.py')!r})\n"
    script += "errors = u.module_from_spec(spec); spec.loader.exec_module(errors)\n"
    return subprocess.run([sys.executable, "-c", script + body], capture_output=True, text=True, timeout=60)


def test_a_command_line_ends_with_one_line_and_status_1():
    first, second = "errors.report_in_one_line(); hook = sys.excepthook", "errors.report_in_one_line()"
    result = run(f"{first}\n{second}\nassert sys.excepthook is hook\nraise errors.UserError('no such file: x')")
    assert (result.returncode, result.stderr) == (1, "error: no such file: x\n")


def test_a_defect_keeps_its_traceback():
    result = run("errors.report_in_one_line()\n1 / 0")
    assert result.returncode == 1
    assert "Traceback" in result.stderr and "ZeroDivisionError" in result.stderr
    assert "error: " not in result.stderr


def test_ctrl_c_is_one_line_and_ends_the_process_as_the_signal_does():
    done = run("errors.report_in_one_line()\nraise KeyboardInterrupt")
    assert (done.stderr, done.returncode) == ("interrupted\n", -2)


def test_a_users_error_is_a_value_error():
    assert issubclass(UserError, ValueError)


CONTROLS = "\x1b]0;title\x07\x9b\u202e\u2066\u200f\r"


def test_an_error_is_one_line_without_control_characters():
    text = str(UserError(f"a{CONTROLS}.txt:\n3: é 日本 are kept"))
    assert text == r"a\x1b]0;title\x07\x9b\u202e\u2066\u200f\r.txt:\n3: é 日本 are kept"


def test_generated_text_keeps_its_lines_and_loses_control_characters():
    assert printable(f"é\n\t{CONTROLS}") == "é\n\t" + r"\x1b]0;title\x07\x9b\u202e\u2066\u200f\r"


@pytest.mark.parametrize("value", ["x" * 10**6, b"x" * 10**6, ["x" * 10**6], 10**300])
def test_values_in_errors_have_at_most_200_characters(value):
    assert len(shown(value)) <= 200
    assert shown("a'b") == repr("a'b")


def test_a_long_message_is_shortened_but_keeps_file_and_remedy():
    text = str(UserError(f"file.txt:1: {'x' * 10**6}; use --flag"))
    assert len(text) < 2100 and text.startswith("file.txt:1: ") and text.endswith("; use --flag")


@pytest.mark.parametrize("count", [198, 199])
def test_a_value_of_more_than_200_characters_is_cut_to_200(count):
    """Its quotes count."""
    text = "x" * count
    assert shown(text) == (f"'{text}'" if count == 198 else f"'{'x' * 196}...")


def test_text_from_outside_is_one_printable_line_of_limited_length():
    assert shortened(" a\n b\x1b ") == "a b\\x1b"
    assert shortened("x" * 200) == "x" * 200 and shortened("x" * 201) == "x" * 199 + "…"
    assert shortened("x" * 9, 5) == "xxxx…"


@pytest.mark.parametrize("count", [2000, 2001])
def test_a_message_of_2000_characters_is_kept_and_a_longer_one_loses_its_middle(count):
    message = "a" * 1500 + "b" * (count - 1900) + "c" * 400
    assert str(UserError(message)) == (message if count == 2000 else "a" * 1500 + " ... " + "c" * 400)


def test_a_condition_that_is_false_is_an_error():
    check(1, "not raised")
    with pytest.raises(UserError) as error:
        check([], "--flag")
    assert str(error.value) == "--flag"


def test_an_error_is_located_in_its_file():
    with toy.refused("a.txt", "--lr"), located("a.txt"):
        raise UserError("--lr is odd")
    with pytest.raises(KeyError), located("a.txt"):
        raise KeyError("a defect")


def test_ctrl_c_is_one_line_where_the_cleanup_of_a_block_fails():
    body = "try:\n    raise KeyboardInterrupt\nfinally:\n    None.x"
    done = run(f"errors.report_in_one_line()\n{body}")
    assert (done.stderr, done.returncode) == ("interrupted\n", 1)


@pytest.mark.parametrize("how", ["", " from None", " from error", " from OSError()"])
def test_an_error_of_what_follows_ctrl_c_is_reported(how):
    raised = f"raise errors.UserError('results.json: cannot be written'){how}"
    body = f"try:\n    raise KeyboardInterrupt\nexcept KeyboardInterrupt as error:\n    {raised}"
    done = run(f"errors.report_in_one_line()\n{body}")
    assert (done.stderr, done.returncode) == ("error: results.json: cannot be written\n", 1)


def test_a_defect_after_ctrl_c_keeps_its_traceback_if_it_is_raised_from_none():
    body = "try:\n    raise KeyboardInterrupt\nexcept KeyboardInterrupt:\n    raise KeyError('x') from None"
    done = run(f"errors.report_in_one_line()\n{body}")
    assert "KeyError" in done.stderr and "interrupted" not in done.stderr


def test_ctrl_c_is_one_line_where_the_error_of_a_library_is_explained():
    halfway = "try:\n        raise KeyboardInterrupt\n    finally:\n        raise RuntimeError"
    body = f"try:\n    {halfway}\nexcept RuntimeError as error:\n    raise errors.UserError('x.pt') from error"
    within = "with errors.located('x'):\n    " + body.replace("\n", "\n    ")
    for block in (body, within):
        done = run(f"errors.report_in_one_line()\n{block}")
        assert (done.stderr, done.returncode) == ("interrupted\n", 1)


@pytest.mark.parametrize(
    "body",
    [
        "import torch\ntorch.empty(2**58)",
        "x = bytearray(2**62)",
        "import numpy\nnumpy.empty(2**58)",
        "import torch\ntry: torch.empty(2**58)\nexcept RuntimeError as error: raise ValueError() from error",
    ],
)
def test_a_lack_of_memory_is_one_line(body):
    done = run(f"errors.report_in_one_line()\n{body}")
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "not enough memory" in done.stderr


def test_only_an_exception_and_its_causes_are_taken_for_a_lack_of_memory():
    full, torchs = MemoryError(), RuntimeError("you tried to allocate 5000000000 bytes")
    wrapped, defect = RuntimeError("while reading"), KeyError("x")
    wrapped.__cause__, defect.__context__ = torchs, full
    assert "5.0 GB" in errors.lack_of_memory(wrapped) and errors.lack_of_memory(full)
    assert errors.lack_of_memory(defect) is None and errors.lack_of_memory(RuntimeError("a defect")) is None
