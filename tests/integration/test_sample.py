"""The real command line of scripts/sample.py, on a checkpoint of a character LM."""

import pytest
import torch
import toy

import plugins

STYLES = ["drama", "novel"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a checkpoint, as training leaves it, of a model with random weights."""
    folder = tmp_path_factory.mktemp("run")
    lm = toy.make_char_lm(sorted("\n :abcdefghרומ"), STYLES, block_size=32)
    toy.save_char_lm(lm, folder / "checkpoint_best.pt")
    return folder


def start(*arguments, **options):
    return toy.start_cli([toy.ROOT / "scripts" / "sample.py", *arguments], PYTHONIOENCODING="utf-8", **options)


def run(*arguments, **options):
    """Return (exit status, what it printed, its errors)."""
    outcome = toy.finish(start(*arguments, **options))
    return outcome.status, outcome.out, outcome.err


def test_one_sample_is_the_prompt_and_its_continuation(folder):
    options = ["--prompt", "abc:", "--length", 60, "--style", "drama:0.7,novel:0.3", "--seed", 5]
    status, out, err = run(folder, *options, real=True)
    assert status == 0, err
    lm = plugins.hub.load(folder)
    assert out == "abc:" + lm.sample("abc:", 60, seed=5, style={"drama": 0.7, "novel": 0.3}) + "\n"
    assert err == ""


def test_several_samples_with_nanogpts_options(folder, tmp_path):
    (tmp_path / "prompt.txt").write_text("\ufeffרומ\n", encoding="utf-8")  # the mark is dropped
    status, out, err = run(
        folder / "checkpoint_best.pt", f"--start=FILE:{tmp_path / 'prompt.txt'}", "--num_samples=3",
        "--max_new_tokens=20", "--top_k=5", "--temperature=1.0", "--seed=1", "--style", "novel",
    )  # fmt: skip
    assert status == 0, err
    options = {"temperature": 1.0, "top_k": 5, "seed": 1, "style": "novel", "n": 3}
    texts = plugins.hub.load(folder).sample("רומ\n", 20, **options)
    assert out == "---------------\n".join(f"רומ\n{text}\n" for text in texts)


def test_weights_in_eight_bits(folder):
    status, out, err = run(folder, "--prompt", "abc:", "--length", 60, "--dtype", "int8", "--no-compile")
    assert status == 0, err
    assert out == "abc:" + plugins.hub.load(folder).to(dtype=torch.int8).sample("abc:", 60) + "\n"


@pytest.mark.slow
def test_the_text_is_the_same_with_compiled_steps(folder):
    status, out, err = run(folder, "--prompt", "abc:", "--length", 100, "--compile")
    assert (status, err) == (0, "")
    assert out == "abc:" + plugins.hub.load(folder).sample("abc:", 100) + "\n"


@pytest.mark.parametrize(
    "arguments, named",
    [
        (["--prompt", "abz"], ["'z'", 3]),
        (["--style", "poem"], ["poem"]),
        (["--style", "drama:x"], ["--style", "drama:x"]),
        (["--style", "drama:1,drama:2"], ["--style", "drama", "two weights"]),
        (["--start", "FILE:none.txt"], ["none.txt"]),
    ],
)
def test_bad_arguments_are_one_line(folder, arguments, named):
    outcome = toy.finish(start(folder, *arguments))
    outcome.refuses(*named)
    assert outcome.out == "" and outcome.err.count("\n") == 1


def test_characters_come_as_they_are_drawn_and_a_closed_pipe_ends_it(folder):
    process = start(folder, "--prompt", "abc:", "--length", 5_000_000, "--no-compile")
    assert process.stdout.read(14).startswith("abc:")  # long before it is done
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    process.wait(timeout=60)
    assert err == ""
