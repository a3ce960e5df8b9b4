"""examples/scaling and examples/long_context: every command is accepted by its program; figures and paths exist."""

import re
import runpy
import shlex

import pytest
import toy
from fairseq import options
from hydra_configs import composed
from torch.distributed.run import get_args_parser

from plugins.analysis.runs.grids import read_grid

TOPICS = ("scaling", "long_context")
TASK = ["--task", "char_lm", "--arch", "char_lm_nano", "--criterion", "style_lm"]  # in place of `...`


def page(topic):
    return (toy.ROOT / "examples" / topic / "README.md").read_text(encoding="utf-8")


def commands(topic):
    """Return the commands of a page, in blocks and in the tables, as lists of words."""
    text = page(topic)
    blocks = "".join(re.findall(r"^```bash\n(.*?)^```", text, flags=re.M | re.S)).replace("\\\n", " ")
    inline = re.findall(r"`([^`\n]*(?:fairseq-train|fairseq-hydra-train) [^`\n]*)`", text)
    blocks = re.sub(r"\$\(for .*?done\)", "CHECKPOINTS", blocks, flags=re.S)
    lines = [re.sub(r"\$\(which ([\w-]+)\)", r"\1", line) for line in [*blocks.splitlines(), *inline]]
    lines = [re.sub(r"\$[A-Z_]+|\$s\b", "0", line) for line in lines]  # numbers that a shell fills in
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def of_program(program, *topics):
    """Return (words before the program, words after it) of each command that runs it."""
    found = [words for topic in topics for words in commands(topic) if program in words]
    return [(words[: (at := words.index(program))], words[at + 1 :]) for words in found]


@pytest.mark.parametrize("words", [words[1] for words in of_program("python", *TOPICS)], ids=shlex.join)
def test_scripts_take_their_options(words, monkeypatch):
    monkeypatch.syspath_prepend(toy.ROOT / "scripts")
    if words[0].startswith("scripts/"):
        script = runpy.run_path(str(toy.ROOT / words[0]), run_name="parsed")
        script.get("parse_args", script.get("parse"))(words[1:])
    elif words[0] == "-c":
        compile(words[1], "the page", "exec")
    else:
        assert (toy.ROOT / words[0]).is_file()


RUNS = [found for found in of_program("fairseq-train", "scaling") if "--user-dir" in found[1]]


@pytest.mark.parametrize("launcher, words", RUNS, ids=" ".join)
def test_trainings_and_their_launchers_take_their_options(launcher, words):
    given = [str(toy.ROOT / "plugins") if word == "plugins" else word for word in words]
    if "..." in given:
        given[given.index("...") : given.index("...") + 1] = TASK
    options.parse_args_and_arch(options.get_training_parser(), given)
    if "torchrun" in launcher:
        found = get_args_parser().parse_args([*launcher[launcher.index("torchrun") + 1 :], "script"])
        assert int(found.nproc_per_node) > 1


@pytest.mark.parametrize("words", [w[1] for w in of_program("fairseq-hydra-train", "scaling")], ids=" ".join)
def test_configurations_of_the_page_exist(words):
    if "--config-dir" not in words:
        return
    folder, name = (words[words.index(flag) + 1] for flag in ("--config-dir", "--config-name"))
    assert composed(toy.ROOT / folder / f"{name}.yaml").task.data


@pytest.mark.parametrize("path", (toy.ROOT / "examples/long_context/grids").glob("*.yaml"), ids=lambda path: path.stem)
def test_trainings_of_the_grids_take_their_options(path):
    for run in read_grid(path, "DATA", [], [1]).runs:
        given = [str(toy.ROOT / "plugins") if word == "plugins" else word for word in run.arguments]
        options.parse_args_and_arch(options.get_training_parser(), given)


@pytest.mark.parametrize("topic", TOPICS)
def test_figures_and_results_that_a_page_names_exist(topic):
    folder = toy.ROOT / "examples" / topic
    for name in re.findall(r"!\[[^]]+\]\(([^)]+)\)", page(topic)):
        assert (folder / name).is_file(), name
    for name in re.findall(r"`((?:tests|benchmarks|scripts|examples)/[\w/]+(?:\.\w+)?)`", page(topic)):
        assert (toy.ROOT / name).exists(), name
