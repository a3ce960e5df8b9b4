"""Arms of an augmentation experiment, and that selected rows help more than random ones."""

import json
import random
import sys

import numpy as np
import pytest
import toy

from plugins.diagnostics import augmentation
from plugins.diagnostics.specifications import Specification

SPECS = [Specification("new", "b", ("q one", "q two"), ("h one", "h two", "h three"))]


def test_the_arms_differ_in_what_is_added():
    train, pool = (["t1", "t2"], np.array([0, 1])), (["p1", "p2", "p3", "p4"], np.array([1, 0, 1, 1]))
    m0, m1, m2, m3 = augmentation.arms(train, pool, ["a", "b"], SPECS, {"new": np.array([1, 3])}, seed=5)
    assert m0.texts == ["t1", "t2"] and m0.added == 0
    assert len(m1.texts) == 4 and set(m1.texts[2:]) <= set(pool[0])
    assert m2.texts == ["t1", "t2", "p2", "p4"] and m2.labels.tolist() == [0, 1, 0, 1] and m2.relevant == 0.5
    assert m3.texts == ["t1", "t2", "q one", "q two"] and m3.labels.tolist() == [0, 1, 1, 1]


def test_failures_are_counted_by_part():
    on = augmentation.evaluated(["k1", "k2"], np.array([0, 1]), ["a", "b"], SPECS)
    assert on.texts == ["k1", "k2", "h one", "h two", "h three"] and on.labels.tolist() == [0, 1, 1, 1, 1]
    arm = augmentation.Arm("M0", 1, [], np.zeros(0, int), 0)
    rows = augmentation.results(arm, np.array([0, 0, 1, 0, 0]), on)
    assert {row["on"]: row["failure_rate"] for row in rows} == pytest.approx(
        {"training": 0.5, "new": 2 / 3, "mean of specifications": 2 / 3}
    )


def test_texts_of_a_specification_are_not_selected():
    pool = ["q one", "h two", "word q", "other text"]
    found = augmentation.select(pool, SPECS, 1, "tfidf", "rrf")
    assert found["new"].tolist() == [2]


@pytest.mark.parametrize(("spec", "named"), [
    (Specification("x", "b", ("q",)), "held_out"), (Specification("x", "z", ("q",), ("h",)), "'z'"),
    (Specification("training", "b", ("q",), ("h",)), "training"),
])  # fmt: skip
def test_bad_specifications_are_named(spec, named):
    with toy.refused(named):
        augmentation.evaluated(["k"], np.array([0]), ["a", "b"], [spec])


def world(folder, seed=0):
    """Texts of a class that the training rows lack: a tenth of the pool, and what the specification asks for."""
    draw = random.Random(seed)

    def text(prefix):
        return " ".join(draw.choices([f"{prefix}{i}" for i in range(20)], k=6) + draw.choices(["the", "of", "is"], k=4))

    def write(name, rows):
        (folder / name).write_text("".join(json.dumps({"text": t, "label": k}) + "\n" for t, k in rows))

    write("train.jsonl", [(text("calm"), "a") for _ in range(60)] + [(text("loud"), "b") for _ in range(60)])
    write("pool.jsonl", [(text("calm"), "a") for _ in range(90)] + [(text("new"), "b") for _ in range(10)])
    spec = {"name": "new", "label": "b", "queries": [text("new") for _ in range(4)],
            "held_out": [text("new") for _ in range(40)]}  # fmt: skip
    (folder / "specs.yaml").write_text(json.dumps([spec]))
    return [folder / "train.jsonl", "--pool", folder / "pool.jsonl", "--specs", folder / "specs.yaml", "--number", 10]


def test_selected_rows_lower_the_failure_rate_more_than_random_ones(tmp_path, load_script, monkeypatch):
    script = load_script("benchmark_selection")
    words = [*world(tmp_path), "--seeds", 1, 2, 3, "-o", tmp_path / "out"]
    monkeypatch.setattr(sys, "argv", ["benchmark_selection.py", *map(str, words)])
    script.main()
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    rate = {row["arm"]: row["failure_rate"] for row in summary["means"] if row["on"] == "new"}
    assert summary["relevant"] == 1.0 and rate["M2"] < rate["M1"] <= rate["M0"]


def test_a_number_above_the_pool_is_refused(tmp_path, load_script, monkeypatch):
    script = load_script("benchmark_selection")
    words = [*world(tmp_path)[:-1], 1000, "-o", tmp_path / "out"]
    monkeypatch.setattr(sys, "argv", ["benchmark_selection.py", *map(str, words)])
    with toy.refused("--number 1000"):
        script.main()
    assert not (tmp_path / "out").exists()


def test_the_folder_of_a_checkpoint_is_that_checkpoint(tmp_path, load_script, monkeypatch):
    script, found = load_script("benchmark_selection"), []
    (tmp_path / "checkpoint_best.pt").write_bytes(b"x")
    words = [*world(tmp_path), "--checkpoint", tmp_path, "-o", tmp_path / "out"]
    monkeypatch.setattr(sys, "argv", ["benchmark_selection.py", *map(str, words)])
    monkeypatch.setattr("plugins.glue.augmentation.run", lambda *given: found.append(given[-2]))
    monkeypatch.setattr("plugins.glue.augmentation.write", lambda *given: "")
    script.main()
    assert found[0].checkpoint == tmp_path / "checkpoint_best.pt"


def test_random_rows_keep_their_labels_and_follow_the_seed():
    train, pool = (["t"], np.array([0])), ([f"p{i}" for i in range(30)], np.arange(30) % 2)
    specs = [*SPECS, Specification("other", "a", ("q three",))]
    chosen = {"new": np.array([3, 1, 5]), "other": np.array([3, 4])}
    found = [augmentation.arms(train, pool, ["a", "b"], specs, chosen, seed) for seed in (1, 1, 2)]
    m0, m1, m2, m3 = found[0]
    assert [(arm.name, arm.seed, arm.added) for arm in found[0]] == [
        ("M0", 1, 0),
        ("M1", 1, 4),
        ("M2", 1, 4),
        ("M3", 1, 3),
    ]
    assert m2.texts == ["t", "p1", "p3", "p4", "p5"], "a row that two specifications select is added once"
    assert m2.relevant == (1 + 0.5) / 2 and {arm.relevant for arm in (m0, m1, m3)} == {None}
    assert m1.labels.tolist() == [0, *(int(text[1:]) % 2 for text in m1.texts[1:])] and len(set(m1.texts)) == 5
    assert m1.texts == found[1][1].texts != found[2][1].texts
    assert m3.labels.tolist() == [0, 1, 1, 0]


def test_rows_are_held_out_by_label():
    labels = np.repeat([0, 1], [80, 20])
    train, held = augmentation.split(labels, 0.25, 1)
    assert sorted([*train, *held]) == list(range(100)) and np.bincount(labels[held]).tolist() == [20, 5]
    assert held.tolist() != augmentation.split(labels, 0.25, 2)[1].tolist()
    assert len(augmentation.split(labels, 0.3, 1)[1]) in (33, 34)  # a third


def test_results_name_their_arm_and_the_mean_is_over_specifications():
    specs = [Specification(name, "b", ("q",), texts) for name, texts in (("x", ("1", "2")), ("y", ("3",)))]
    on = augmentation.evaluated(["k"], np.array([0]), ["a", "b"], specs)
    arm = augmentation.Arm("M2", 7, [], np.zeros(0, int), 4, 0.25)
    rows = augmentation.results(arm, np.array([0, 0, 1, 0]), on)
    assert [(row["on"], row["failure_rate"]) for row in rows] == [
        ("training", 0), ("x", 0.5), ("y", 1), ("mean of specifications", 0.75),
    ]  # fmt: skip
    shared = {"arm": "M2", "seed": 7, "added": 4, "relevant": 0.25}
    assert all({name: row[name] for name in shared} == shared for row in rows)


def test_a_pool_with_just_enough_rows_is_selected_from():
    pool = [" q one ", "word", "other", "h two\n"]
    assert sorted(augmentation.select(pool, SPECS, 2, "tfidf", "rrf")["new"].tolist()) == [1, 2]
    with toy.refused("--number 3", "2 rows"):
        augmentation.select(pool, SPECS, 3, "tfidf", "rrf")
