"""examples/own_plugin: a plugin next to ours trains, and every program rebuilds its model, never the parent of it."""

import json
import re

import pytest
import toy

pytestmark = pytest.mark.slow
OWN = toy.ROOT / "examples" / "own_plugin" / "own_plugin"
SENTENCE = "the river follows a <mask> near the garden ."

# Loads the model, and its twin without what the subclass adds: the same parameters, as `clap_roberta` would have them.
LOAD = """
import json, sys
from plugins import hub, user_dir

user_dir.load(sys.argv[1])
lm = hub.load(sys.argv[2])
own = lm.fill_mask(sys.argv[3], topk=1)[0][1]
lm.model.encoder.sentence_encoder.token_embedding._forward_hooks.clear()
print(json.dumps({"class": type(lm.model).__name__, "own": own, "parent": lm.fill_mask(sys.argv[3], topk=1)[0][1]}))
"""


@pytest.fixture(scope="module")
def trained(toy_data, tmp_path_factory):
    """The folder of a short run with the example's architecture, positions, task and metric."""
    folder = tmp_path_factory.mktemp("own") / "run"
    own = ["--user-dir", OWN, "--task", "part_masked_lm", "--training-share", 0.5, "--criterion", "masked_accuracy",
           "--best-checkpoint-metric", "accuracy", "--maximize-best-checkpoint-metric", "--lr", 1e-2]  # fmt: skip
    model = ["--arch", "bigram_roberta", "--positions", "log_distance"]
    done = toy.run_cli(toy.train_arguments(toy_data, folder, *own, model=model, updates=20))
    assert done.status == 0, done.text[-3000:]
    return folder, done.text


@pytest.fixture(scope="module")
def loaded(trained, tmp_path_factory):
    script = tmp_path_factory.mktemp("script") / "load.py"
    script.write_text(LOAD)
    done = toy.run_cli([script, OWN, trained[0], SENTENCE])
    assert done.status == 0, done.text[-3000:]
    return json.loads(done.out.splitlines()[-1])


def test_the_metric_chooses_and_half_of_the_blocks_are_an_epoch(trained):
    _, text = trained
    assert re.search(r"best_accuracy 0?\.\d+", text), text[-2000:]
    blocks = int(re.search(r"train: (\d+) blocks", text)[1])
    batches = -(-round(blocks / 2) // 8)
    assert max(map(int, re.findall(r"epoch (\d+):", text))) == -(-20 // batches)


def test_hub_load_rebuilds_the_subclass(loaded):
    assert loaded["class"] == "BigramRoberta"
    assert abs(loaded["own"] - loaded["parent"]) > 1e-3  # the test could not see the difference otherwise


def test_fairseq_validate_computes_the_loss_of_training(trained, toy_data):
    folder, text = trained
    done = toy.run_cli(["fairseq-validate", toy_data, "--user-dir", OWN, "--path", folder / "checkpoint_last.pt",
                        "--cpu", "--criterion", "masked_accuracy", "--batch-size", 8])  # fmt: skip
    assert done.status == 0, done.text[-3000:]
    at_the_end = re.findall(r"valid.*?\bloss (\d+\.\d+)", text)[-1]
    assert re.findall(r"\bloss (\d+\.\d+)", done.text)[-1] == at_the_end


def test_the_report_shows_the_subclass(trained, loaded, tmp_path):
    text, page = tmp_path / "text.txt", tmp_path / "report.html"
    text.write_text("\n".join(toy.sentences(20, 3)))
    done = toy.run_cli([toy.ROOT / "scripts" / "report.py", trained[0], "--user-dir", OWN, "--text",
                        text, "--mask", SENTENCE, "--pattern-texts", 0, "-o", page])  # fmt: skip
    assert done.status == 0, done.text[-3000:]
    data = json.loads(re.search(r'id="report">(.*?)</script>', page.read_text(encoding="utf-8"))[1])
    (given,) = [mask for mask in data["masks"] if len(mask["slots"]) == 1]
    assert given["slots"][0]["answers"][0][1] == pytest.approx(loaded["own"], abs=1e-4)


@pytest.mark.parametrize("program", ["hub", "validate", "report", "finetune"])
def test_without_the_plugin_one_line_names_the_model(trained, toy_data, tmp_path, program):
    folder, _ = trained
    script = tmp_path / "load.py"
    script.write_text("import plugins.errors\nplugins.errors.report_in_one_line()\n"
                      f"plugins.hub.load({str(folder)!r})\n")  # fmt: skip
    (tmp_path / "text.txt").write_text("a text\n")
    command = {
        "hub": [script],
        "validate": ["fairseq-validate", toy_data, "--user-dir", toy.ROOT / "plugins", "--path",
                     folder / "checkpoint_last.pt", "--cpu"],
        "report": [toy.ROOT / "scripts" / "report.py", folder, "--text", tmp_path / "text.txt", "-o",
                   tmp_path / "r.html"],
        "finetune": toy.train_arguments(toy_data, tmp_path / "run", "--finetune-from-model",
                                        folder / "checkpoint_last.pt"),
    }[program]  # fmt: skip
    toy.run_cli(command).refuses("bigram_roberta", "--user-dir")


def test_the_parent_does_not_start_from_its_subclass(trained, toy_data, tmp_path):
    done = toy.run_cli(toy.train_arguments(toy_data, tmp_path, "--user-dir", OWN, "--finetune-from-model",
                                           trained[0] / "checkpoint_last.pt"))  # fmt: skip
    done.refuses("checkpoint_last.pt", "--arch bigram_roberta")


def test_an_unknown_scheme_is_refused_by_name(toy_data, tmp_path):
    done = toy.run_cli(toy.train_arguments(toy_data, tmp_path, model=["--positions", "log_distance"]))
    done.refuses("--positions", "log_distance")
