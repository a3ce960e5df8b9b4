"""A session of fine-tuning runs: the request is checked before training."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import toy

from plugins.data.glue import specs
from plugins.errors import UserError
from plugins.glue import session
from plugins.jobs import Resources


@pytest.fixture
def request_of(tmp_path):
    """A request for RTE, with the checkpoint given."""
    for split in ("train", "dev"):
        path = tmp_path / "glue" / "RTE" / f"{split}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("index\tsentence1\tsentence2\tlabel\n0\ta\tb\tentailment\n")
    options = {"seeds": [1], "cache_dir": "none", "hyperparameters": {}}
    return lambda checkpoint: session.GlueRequest(
        glue_dir=str(tmp_path / "glue"), checkpoint=str(checkpoint), output=str(tmp_path / "out"), tasks=["RTE"],
        intermediate=None, intermediate_for=None, config=None, skip_bad_rows=False, jobs=1, command="", **options,
    )  # fmt: skip


def test_the_folder_of_a_checkpoint_means_its_best(tmp_path, request_of):
    (tmp_path / "model").mkdir()
    with toy.refused(str(tmp_path / "model"), "checkpoint_best.pt"):
        session.prepare(request_of(tmp_path / "model"), Resources(cpu=True))
    (tmp_path / "model" / "checkpoint_best.pt").touch()
    (run,), setting = session.prepare(request_of(tmp_path / "model"), Resources(cpu=True))
    assert run.task == "RTE" and setting.checkpoint == tmp_path / "model" / "checkpoint_best.pt"


def test_a_refused_call_leaves_no_folder(tmp_path, request_of):
    (tmp_path / "model.pt").touch()
    with toy.refused("dict.txt"):
        session.run(request_of(tmp_path / "model.pt"), Resources(cpu=True))
    assert not (tmp_path / "out").exists()


# After training


def test_runs_that_fit_run_at_a_time(monkeypatch, capsys):
    setting = SimpleNamespace(checkpoint="c", cpu=True)
    done = []

    def do_all(planned, setting, resources):
        done.append(resources.at_a_time)

    monkeypatch.setattr(session, "prepare", lambda request, resources: (["one", "two", "three"], setting))
    monkeypatch.setattr(session.runs, "fitting", lambda checkpoint, threads, cpu: 2)
    monkeypatch.setattr(session.runs, "do_all", do_all)
    monkeypatch.setattr(session, "finish", lambda results, setting, command: done.append(command))
    for jobs, launcher in ((None, "local"), (None, "submitit"), (1, "local")):
        request = session.GlueRequest("g", "c", "o", jobs=jobs, command="x")
        session.run(request, Resources(launcher=launcher))
    assert done == [2, "x", 3, "x", 1, "x"]
    assert capsys.readouterr().out.splitlines()[0] == "3 runs, 2 at a time"


def test_seeds_are_the_requests_the_files_or_one_to_three(request_of, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "checkpoint_best.pt").touch()
    (tmp_path / "r.yaml").write_text("seeds: [7]\nepochs: 2")
    request = replace(request_of(tmp_path / "model"), seeds=None)
    planned, setting = session.prepare(request, Resources(cpu=True))
    assert [run.seed for run in planned] == [1, 2, 3]
    assert setting.cache is None and setting.glue_dir.is_absolute()
    planned, _ = session.prepare(replace(request, config=str(tmp_path / "r.yaml")), Resources(cpu=True))
    assert [(run.seed, run.hyperparameters["epochs"]) for run in planned] == [(7, 2)]
    planned, setting = session.prepare(replace(request, seeds=[4], cache_dir="kept"), Resources(cpu=True))
    assert [run.seed for run in planned] == [4] and setting.cache == "kept"


def test_only_tasks_that_receive_it_start_from_the_intermediate_task(request_of, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "checkpoint_best.pt").touch()
    for split in ("train", "dev"):
        path = tmp_path / "glue" / "CoLA" / f"{split}.tsv"
        path.parent.mkdir(exist_ok=True)
        path.write_text("x\t1\t\ta\n")
    request = replace(request_of(tmp_path / "model"), intermediate="CoLA")
    planned, setting = session.prepare(request, Resources(cpu=True))
    assert [(run.task, run.intermediate) for run in planned] == [("CoLA", None), ("RTE", "CoLA")]
    assert set(setting.flags) == {"CoLA", "RTE"}
    planned, _ = session.prepare(replace(request, intermediate_for=["CoLA"]), Resources(cpu=True))
    assert [run.intermediate for run in planned] == [None, None]


def test_the_files_of_a_task_are_of_its_best_run(monkeypatch, tmp_path, capsys):
    spec = specs.SPECS["MNLI"]
    cell = SimpleNamespace(spec=spec, best=("run", {"checkpoint": "MNLI/x/checkpoint_best.pt"}))
    setting = SimpleNamespace(output=tmp_path, checkpoint="base.pt", glue_dir="g", cache=None, skip_bad_rows=False)
    monkeypatch.setattr(session.cards, "hugging_face_results", lambda result: {"eval": {"a": 1}, "all": {"a": 2}})
    monkeypatch.setattr(session.cards, "model_card", lambda cell, base: f"card of {base}")
    monkeypatch.setattr(session.hub, "load", lambda path: path)

    def answers(model, glue_dir, split, *_):
        if split == spec.test_splits[0]:
            raise UserError("no such file")
        return model

    monkeypatch.setattr(session.predict, "answers", answers)
    monkeypatch.setattr(session.predict, "write_predictions", lambda path, given: path.write_text(given))
    session.write_task(cell, setting)
    folder = tmp_path / "MNLI"
    assert (folder / "README.md").read_text() == "card of base.pt"
    assert '"a": 2' in (folder / "all_results.json").read_text()
    assert (folder / "predict_results_mnli-mm.txt").read_text() == str(tmp_path / "MNLI/x/checkpoint_best.pt")
    assert spec.test_splits[0] in capsys.readouterr().err and not (folder / "predict_results_mnli.txt").exists()
