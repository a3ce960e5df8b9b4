"""Options that fairseq evaluates are literals."""

import pytest
from fairseq import utils
from fairseq.models import fconv_lm
from fairseq.optim import adam

from plugins.compat.literals import evaluate
from plugins.errors import UserError


@pytest.mark.parametrize("text, value", [
    ("(0.9, 0.98)", (0.9, 0.98)),
    ("[(512, 3)] * 2 + [(1024, 3)]", [(512, 3), (512, 3), (1024, 3)]),
    ("{'a': [1, -2]}", {"a": [1, -2]}),
    (" True", True),
    ("2 - 3 * 4", -10),
])  # fmt: skip
def test_literals_have_the_value_that_python_gives_them(text, value):
    assert evaluate(text) == value


@pytest.mark.parametrize("text", [
    "__import__('os').system('true')", "open('x')", "[x for x in (1,)]", "a", "(1).__class__", "f'{1}'", "lambda: 1",
    "[0] * 1000000000", "'a' * 1000000", "1 if 1 else 2", "(" * 500 + ")" * 500, "", "1 +", "{**{}}", "9" * 20_000,
])  # fmt: skip
def test_anything_else_is_refused(text):
    with pytest.raises(UserError) as error:
        evaluate(text)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400


@pytest.mark.parametrize("module", [utils, fconv_lm, adam])
def test_fairseqs_modules_use_it(module, tmp_path):
    assert module.eval is evaluate
    with pytest.raises(UserError):
        utils.eval_str_list(f"open({str(tmp_path / 'x')!r}, 'w')")
    assert not (tmp_path / "x").exists()
    assert utils.eval_str_list("[1, 2]", int) == [1, 2]
    assert utils.eval_bool("False") is False
    assert utils.eval_bool(None, True) is True


@pytest.mark.parametrize("text, longer", [
    ("[0] * 10000", "[0] * 10001"), ("2500 * (0, 1, 2, 3)", "2501 * (0, 1, 2, 3)"), ("'a' * 10000", "'a' * 10001"),
])  # fmt: skip
def test_a_repeated_list_has_a_largest_length(text, longer):
    assert len(evaluate(text)) == 10_000
    with pytest.raises(UserError):
        evaluate(longer)


def test_an_option_has_a_largest_length_and_a_sum_has_none():
    assert evaluate("1" + " " * 9_999) == 1 and evaluate("20000 * 2 + 1") == 40_001
    assert len(evaluate("[0] * 6000 + [0] * 6000")) == 12_000
    with pytest.raises(UserError):
        evaluate("1" + " " * 10_000)


def test_signs_belong_to_numbers():
    assert evaluate("+1.5") == 1.5 and evaluate("-(2)") == -2 and evaluate("2 * -3 + +4") == -2
    for text in ("-'a'", "+[1]", "~1", "not 1"):
        with pytest.raises(UserError):
            evaluate(text)


def test_what_is_not_a_text_is_a_type_error_as_for_eval():
    with pytest.raises(TypeError):
        evaluate(None)
