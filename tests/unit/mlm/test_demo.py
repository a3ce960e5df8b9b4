"""The command lines of the demo."""

import json
from pathlib import Path

import pytest
import torch
import toy

from plugins.mlm import demo


def option(name, mixed_precision=None, seed=1):
    """Return the value of an option in the command line of a model."""
    words = demo.Demo(Path("out"), [], "text", 2000, ["alibi"], 500, 2, mixed_precision, seed, False).command("alibi")
    return words[words.index(name) + 1]


@pytest.fixture
def precision(monkeypatch):
    """Return the value of ``--mixed-precision`` on a CPU with or without bfloat16."""

    def find(hardware, given=None):
        monkeypatch.setattr(demo, "has_bfloat16", lambda: hardware)
        return option("--mixed-precision", given)

    return find


def test_the_seed_is_passed_on():
    assert option("--seed", seed=7) == "7"


@pytest.mark.parametrize("hardware, expected", [(True, "bf16"), (False, "none")])
def test_models_are_trained_in_bfloat16_where_the_cpu_has_it(precision, hardware, expected):
    assert precision(hardware) == expected


@pytest.mark.parametrize("given", ["none", "bf16"])
@pytest.mark.parametrize("hardware", [True, False])
def test_the_precision_can_be_chosen(precision, hardware, given):
    assert precision(hardware, given) == given


def made(output, **options):
    given = {"data": [], "jsonl_key": "text", "vocab_size": 2000, "variants": ["alibi", "baseline"], "updates": 500,
             "threads": 2, "mixed_precision": "none", "seed": 1, "force": False}  # fmt: skip
    return demo.Demo(Path(output), **given | options)


@pytest.mark.parametrize("updates, every, warmup, log", [(500, 50, 150, 5), (2000, 200, 600, 20), (9, 1, 2, 1)])
def test_the_schedule_follows_the_number_of_updates(updates, every, warmup, log):
    words = made("out", updates=updates).command("baseline")
    expected = {"--max-update": updates, "--total-num-update": updates, "--warmup-updates": warmup,
                "--save-interval-updates": every, "--log-interval": log, "--save-dir": "out/baseline"}  # fmt: skip
    assert {name: words[words.index(name) + 1] for name in expected} == {k: str(v) for k, v in expected.items()}
    assert words[0] == "out/data" and words[words.index("--user-dir") + 1].endswith("plugins")


@pytest.mark.parametrize("name, options", demo.VARIANTS.items())
def test_a_variant_adds_its_options(name, options):
    assert f" {options} --user-dir" in " ".join(made("out").command(name))


def test_an_unknown_variant_and_a_text_that_would_be_replaced_are_refused(tmp_path):
    with toy.refused("--variants nope", "baseline"):
        made(tmp_path, variants=["baseline", "nope"]).run()
    for name in ("data.json", "results.json", "validation_curves.png"):
        (tmp_path / name).write_text("text")
        with toy.refused(tmp_path / name):
            made(tmp_path, data=[str(tmp_path / name)]).run()
    (tmp_path / "checkpoint_best.pt").touch()
    with toy.refused(tmp_path / "checkpoint_best.pt"):
        made(tmp_path / "out", data=[str(tmp_path / "checkpoint_best.pt")], share=tmp_path).run()


def test_checkpoints_of_earlier_stages_are_deleted(tmp_path):
    for name in ("checkpoint_best.pt", "checkpoint_last.pt", "checkpoint_1_50.pt", "checkpoint_2_100.pt"):
        (tmp_path / name).touch()
    assert demo.drop_stages(tmp_path, "cpu") == {}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint_best.pt", "checkpoint_last.pt"]


class Model:
    """A masked LM with a million parameters."""

    def parameters(self):
        return [torch.empty(1000, 999), torch.empty(1000)]

    def fill_mask(self, sentences, topk):
        return [[("", 0.5, "\u2581word "), ("", 0.25, " ")][:topk] for _ in sentences]


@pytest.fixture
def reported(tmp_path, monkeypatch, capsys):
    """The report on two models, of which the second is better: (printed lines, results, arguments of the drawing)."""
    drawn, slimmed, loaded = [], [], []
    monkeypatch.setattr(demo.hub, "load", lambda path: loaded.append(path) or Model())
    monkeypatch.setattr(demo.plots, "validation_curves", lambda *given: drawn.append(given))
    (tmp_path / "share").mkdir()
    monkeypatch.setattr(
        demo.sharing, "slim", lambda *given: slimmed.append(given) or given[1].write_bytes(b"x" * 300_000)
    )
    for name, ppl in (("alibi", ("30", "9.5")), ("baseline", ("20", "8.25"))):
        (tmp_path / name).mkdir()
        log = toy.inner_line(50) + toy.valid_line(50, ppl[0]) + toy.inner_line(100) + toy.valid_line(100, ppl[1])
        (tmp_path / name / "train.log").write_text(log)
    data = {"unigram_perplexity": 99.96, "sentences": ["a <mask> c"]}
    made(tmp_path, share=tmp_path / "share", seed=3).report(data)
    results = json.loads((tmp_path / "results.json").read_text())
    return capsys.readouterr().out.splitlines(), results, drawn, slimmed, loaded


def test_the_report_compares_the_models(reported, tmp_path):
    lines, results, drawn, slimmed, loaded = reported
    assert lines[1].split() == ["model", "parameters", "valid.", "ppl", "tokens/s", "seconds"]
    assert lines[2].split() == ["(unigram)", "100.0"]
    assert lines[3].split()[:3] == ["alibi", "1,000,000", "9.5"] and lines[4].split()[:3] == [
        "baseline",
        "1,000,000",
        "8.2",
    ]
    assert (results["seed"], results["threads"], results["mixed_precision"]) == (3, 2, "none")
    assert results["models"]["alibi"]["parameters"] == 1_000_000
    assert results["models"]["alibi"]["validation"] == [[50, 100], [30, 9.5]]
    assert results["data"]["sentences"] == ["a <mask> c"]


def test_the_best_model_fills_masks_is_shared_and_names_the_figure(reported, tmp_path):
    lines, _, drawn, slimmed, loaded = reported
    best = tmp_path / "baseline"
    assert loaded == [str(tmp_path / name / "checkpoint_best.pt") for name in ("alibi", "baseline", "baseline")]
    assert "  a <mask> c" in lines and "    \u2581word 0.50   \u2581 0.25" in lines
    assert slimmed == [(best, tmp_path / "share" / "checkpoint_best.pt")]
    assert any("baseline without the optimizer state, 0.3 MB" in line for line in lines)
    [(path, curves, title, _, unigram)] = drawn
    assert path == tmp_path / "validation_curves.png" and list(curves) == ["alibi", "baseline"] and unigram == 99.96
    assert title.startswith("baseline ") and " 8, after 100 updates" in title


def test_models_are_trained_one_after_the_other_with_their_own_options(tmp_path, monkeypatch, capsys):
    seen = {}

    class Runner:
        def __init__(self, output, resources, **options):
            seen.update(output=output, threads=resources.threads, **options)

        def __enter__(self):
            return self

        def __exit__(self, *error):
            pass

        def done(self, jobs):
            return {"alibi"}

        def run(self, jobs):
            seen["jobs"] = jobs

    monkeypatch.setattr(demo, "Runner", Runner)
    (tmp_path / "zero-clap").mkdir()
    (tmp_path / "zero-clap" / "checkpoint_last.pt").touch()
    variants = ["alibi", "baseline", "zero-clap"]
    for force in (False, True):
        made(tmp_path, variants=variants, force=force).train({"train_tokens": 7})
        states = [line.split(" (log")[0] for line in capsys.readouterr().out.splitlines()]
        again = "training" if force else "resuming"
        assert states == [
            "alibi: finished already",
            "baseline: training, 500 updates",
            f"zero-clap: {again}, 500 updates",
        ]
        assert (seen["output"], seen["threads"], seen["total"], seen["fresh"]) == (tmp_path, 2, 3, force)
    assert seen["changed"] == "redo"
    job = seen["jobs"][1]
    assert (job.name, job.updates, job.finish) == ("baseline", 500, demo.drop_stages)
    assert list(job.command) == ["fairseq-train", *made(tmp_path).command("baseline")]
    assert job.identity["data"] == {"train_tokens": 7} and list(job.checkpoints) == ["checkpoint_best.pt"]
