"""Model cards: results, data, provenance."""

import hashlib
import json

import pytest

from plugins.data.glue import specs
from plugins.hub.huggingface import card

EVERYTHING = {
    "card": [{"name": "Model", "facts": [("width", 8), ("a|b", "x\ny")]}, {"name": "Training", "facts": [("lr", 0.1)]}],
    "options": [("lr", 0.1)],
}


@pytest.fixture
def text(monkeypatch):
    def make(facts=EVERYTHING, command="fairseq-train a", own=False, path=None, state=None):
        monkeypatch.setattr(card, "model_card", lambda lm, state: facts)
        monkeypatch.setattr(card, "command_of", lambda state, path: command)
        monkeypatch.setattr(card, "front_matter", lambda *given: "---\nfront\n---\n")
        return card.model_card_text(None, state or {}, path, "mine", "fill-mask", own)

    return make


def test_a_card_has_all_parts_in_order(text, tmp_path):
    (tmp_path / "a.pt").write_bytes(b"abc")
    found = text(path=tmp_path / "a.pt", own=True)
    parts = ["front", "# mine", 'pipeline("fill-mask", model="mine", trust_remote_code=True)', "The Python files",
             "## Model", "| width | 8 |", "| a\\|b | x y |", "## Training", "| lr | 0.1 |",
             "## Command", "fairseq-train a", "## Provenance",
             f"| checkpoint | `{hashlib.sha256(b'abc').hexdigest()}` |",
             "<details>", "| `lr` | 0.1 |", "</details>"]  # fmt: skip
    places = [found.index(part) for part in parts]
    assert places == sorted(places)


def test_parts_without_content_are_left_out(text):
    found = text({"card": [], "options": []}, command=None)
    assert 'model="mine")' in found
    assert not any(part in found for part in ("The Python files", "## ", "<details>", "trust_remote_code"))


def result(state):
    return card.result_of(state, "mine", "fill-mask", dict)


def test_the_result_is_the_best_value_of_the_metric():
    cfg = {"checkpoint": {"best_checkpoint_metric": "accuracy"}, "task": {"data": "/a/corpus/"}}
    found = result({"extra_state": {"best": 0.123456, "val_loss": 3.0}, "cfg": cfg})
    assert found == {
        "model_name": "mine",
        "eval_results": [{
            "task_type": "fill-mask", "dataset_type": "corpus", "dataset_name": "corpus", "dataset_split": "validation",
            "metric_type": "accuracy", "metric_name": "accuracy", "metric_value": 0.1235,
        }],
    }  # fmt: skip


@pytest.mark.parametrize("extra", [{"val_loss": 2}, {"best": None, "val_loss": 2}])
def test_a_loss_is_in_bits(extra):
    (found,) = result({"extra_state": extra})["eval_results"]
    assert (found["metric_type"], found["metric_name"], found["metric_value"]) == ("loss", "loss, bits", 2.0)
    assert found["dataset_name"] == "unknown"


@pytest.mark.parametrize(
    "state", [{}, {"extra_state": None}, {"extra_state": {"best": None}}, {"extra_state": {"best": "x"}}]
)
def test_without_a_number_there_is_no_result(state):
    assert result(state) == {}


def test_zero_is_a_result():
    assert result({"extra_state": {"best": 0, "val_loss": 5}})["eval_results"][0]["metric_value"] == 0


def test_a_task_of_glue_is_named():
    state = {"task_state": {"spec": specs.find("STS-B").plain()}, "cfg": {"task": {"data": "/a/b"}}}
    assert card.dataset_of(state) == {
        "dataset_type": "glue", "dataset_name": "GLUE STS-B", "dataset_config": "stsb",
    }  # fmt: skip


def test_hashes_of_checkpoint_dictionary_and_data(tmp_path):
    (tmp_path / "a.pt").write_bytes(b"abc")
    (tmp_path / "train.bin").write_bytes(b"data")
    (tmp_path / "valid.bin").write_bytes(b"other")
    state = {"task_state": {"dictionary_sha256": "d"}, "cfg": {"task": {"data": str(tmp_path)}}}
    assert card.hashes_of(state, tmp_path / "a.pt") == {
        "checkpoint": hashlib.sha256(b"abc").hexdigest(), "dictionary": "d",
        "train.bin": hashlib.sha256(b"data").hexdigest(),
    }  # fmt: skip
    assert card.hashes_of({}, None) == {}


def test_a_manifest_states_the_sums_of_the_training_files(tmp_path):
    (tmp_path / "train.bin").write_bytes(b"data")
    files = {"train.bin": {"sha256": "1"}, "train1.bin": {"sha256": "2"}, "valid.bin": {"sha256": "3"}, "train.idx": {},
             "train2.bin": "x"}  # fmt: skip
    (tmp_path / "manifest.json").write_text(json.dumps({"files": files}))
    assert card.data_hashes({"cfg": {"task": {"data": str(tmp_path)}}}) == {"train.bin": "1", "train1.bin": "2"}


def test_several_places_and_files_are_hashed_and_moved_ones_are_left_out(tmp_path):
    (tmp_path / "text.txt").write_bytes(b"text")
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "train.tsv").write_bytes(b"rows")
    data = f"{tmp_path}/text.txt:{tmp_path}/f:{tmp_path}/gone"
    assert card.data_hashes({"cfg": {"task": {"data": data}}}) == {
        "text.txt": hashlib.sha256(b"text").hexdigest(), "train.tsv": hashlib.sha256(b"rows").hexdigest(),
    }  # fmt: skip
    assert card.data_hashes({}) == {}


def test_the_training_file_of_a_task_of_glue_is_found(tmp_path):
    (tmp_path / "RTE").mkdir()
    (tmp_path / "RTE" / "train.tsv").write_bytes(b"rows")
    state = {"task_state": {"spec": specs.find("RTE").plain()}, "cfg": {"task": {"data": str(tmp_path)}}}
    assert card.data_hashes(state) == {"train.tsv": hashlib.sha256(b"rows").hexdigest()}
    (tmp_path / "RTE" / "train.tsv").unlink()
    assert card.data_hashes(state) == {}


def test_the_front_matter_is_that_of_the_hub():
    pytest.importorskip("huggingface_hub")
    found = card.front_matter({"extra_state": {"best": 2.0}}, "mine", "fill-mask")
    assert found.startswith("---\nlicense: #") and found.endswith("\n---\n")
    for line in ("library_name: transformers", "pipeline_tag: fill-mask", "- fairseq", "- name: mine"):
        assert f"\n{line}\n" in found


def test_a_colon_in_the_name_of_a_file_does_not_split_it(tmp_path):
    (tmp_path / "a:b.txt").write_bytes(b"text")
    state = {"cfg": {"task": {"data": f"{tmp_path / 'a:b.txt'}:gone"}}}
    assert card.data_hashes(state) == {"a:b.txt": hashlib.sha256(b"text").hexdigest()}
