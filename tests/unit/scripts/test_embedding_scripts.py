"""Scripts on embeddings, in this process: embed, search, evaluate, draw."""

import csv
import json

import embedding_runs as runs
import numpy as np
import pytest
import toy

from plugins.data.embedding import vectors


@pytest.fixture(scope="module")
def base(tmp_path_factory, toy_data):
    return toy.save_masked_lm(tmp_path_factory.mktemp("base"), toy_data)


@pytest.fixture
def texts(tmp_path):
    path = tmp_path / "texts.txt"
    path.write_text("the river\n\nthe garden near the window\nthe river near the river\n", encoding="utf-8")
    return path


def test_embed_writes_a_vector_for_each_line_that_is_not_blank(run_script, base, texts, tmp_path, capsys):
    run_script("embed", base, texts, "-o", tmp_path / "v.npz", "--normalize")
    found = vectors.read(tmp_path / "v.npz")
    assert found.vectors.shape == (3, 32)
    assert found.index.tolist() == [f"{texts}:{line}" for line in (1, 3, 4)]
    assert np.allclose(np.linalg.norm(found.vectors, axis=1), 1, atol=1e-5)
    assert "3 vectors of 32 dimensions" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["texts.jsonl", "texts.json", "texts.txt"])
def test_embed_reads_the_texts_of_json_records(run_script, base, tmp_path, name):
    path = tmp_path / name
    path.write_text('{"text": "the river"}\n\n{"text": "the garden"}\n')
    run_script("embed", base, path, "-o", tmp_path / "v.npz")
    assert vectors.read(tmp_path / "v.npz").index.tolist() == [f"{path}:1", f"{path}:3"]


def test_embed_refuses_a_record_without_text(run_script, base, tmp_path):
    path = tmp_path / "texts.jsonl"
    path.write_text('{"text": "the river"}\n{"title": "the garden"}\n')
    with toy.refused("texts.jsonl:2", "text"):
        run_script("embed", base, path, "-o", tmp_path / "v.npz")
    assert not (tmp_path / "v.npz").exists()


def test_embed_names_the_line_with_an_unknown_character(run_script, tmp_path):
    model = toy.save_char_lm(toy.make_char_lm(), tmp_path / "char.pt")
    path = tmp_path / "texts.txt"
    path.write_text("abc\n\nab\nxyz\n")
    with toy.refused("texts.txt:4", "'x'"):
        run_script("embed", model, path, "-o", tmp_path / "v.npz")
    assert not (tmp_path / "v.npz").exists()


@pytest.mark.parametrize("script, flag, value", [
    ("embed", "--batch-size", "0"),
    ("search_texts", "-k", "0"),
    ("choose_threshold", "--recall", "1.5"),
    ("choose_threshold", "--resamples", "0"),
    ("evaluate_embeddings", "--max-rows", "0"),
    ("plot_embeddings", "--passage-words", "0"),
    ("compare_losses", "--lrs", "0"),
    ("diagnose", "--epochs", "0"),
    ("diagnose", "--lr", "-1"),
    ("run_glue", "--lr", "inf"),
    ("transfer", "--lr", "nan"),
    ("diagnose", "--batch-size", "-1"),
    ("diagnose", "--sizes", "2"),
    ("diagnose", "--bins", "0"),
    ("select_data", "--number", "0"),
    ("benchmark_label_errors", "--rows", "0"),
    ("plan_run", "--vocabulary", "0"),
    ("surprise", "--choices", "99999"),
    ("surprise", "--tokens", "1000000"),
])  # fmt: skip
def test_numbers_out_of_range_are_refused_by_the_parser(run_script, capsys, script, flag, value):
    with pytest.raises(SystemExit):
        run_script(script, *{"surprise": ["CKPT", "text"]}.get(script, []), flag, value)
    assert flag in capsys.readouterr().err.partition("error:")[2].partition("following arguments")[0]


def test_search_finds_the_query_itself_first(run_script, base, texts, tmp_path, capsys):
    run_script("embed", base, texts, "-o", tmp_path / "v.npz")
    run_script("search_texts", base, tmp_path / "v.npz", texts, "--query", "the garden near the window", "-k", 2,
               "--csv", tmp_path / "found.csv")  # fmt: skip
    rows = list(csv.DictReader((tmp_path / "found.csv").open()))
    assert [row["rank"] for row in rows] == ["1", "2"]
    assert rows[0]["index"] == f"{texts}:3" and float(rows[0]["cosine"]) == pytest.approx(1, abs=1e-4)
    assert "1. 1.000" in capsys.readouterr().out


def test_search_without_a_query_is_refused(run_script, base, texts, tmp_path):
    (tmp_path / "none.txt").write_text("\n \n")
    with toy.refused("none.txt"):
        run_script("search_texts", base, tmp_path / "none.txt", texts, "--queries", tmp_path / "none.txt")


def test_a_query_has_a_text_and_few_texts_are_all_shown(run_script, base, texts, tmp_path, capsys):
    run_script("embed", base, texts, "-o", tmp_path / "v.npz")
    with pytest.raises(SystemExit):
        run_script("search_texts", base, tmp_path / "v.npz", texts, "--query", " \t")
    assert "--query" in capsys.readouterr().err
    with toy.refused("k 4"):
        run_script("search_texts", base, tmp_path / "v.npz", texts, "--query", "x", "-k", 4)
    run_script("search_texts", base, tmp_path / "v.npz", texts, "--query", "x")
    assert capsys.readouterr().out.count(f"{texts}:") == 3


def test_negative_costs_are_refused(run_script, tmp_path, capsys):
    with pytest.raises(SystemExit):
        run_script("choose_threshold", tmp_path, tmp_path, "--metric", "cost", "--costs", "-1", "2")
    assert "--costs -1 2" in capsys.readouterr().err


def test_search_refuses_texts_that_changed(run_script, base, texts, tmp_path):
    run_script("embed", base, texts, "-o", tmp_path / "v.npz")
    texts.write_text("another\n")
    with toy.refused("texts.txt:1", "v.npz"):
        run_script("search_texts", base, tmp_path / "v.npz", texts, "--query", "x")


@pytest.mark.parametrize("options", [["--normalize"], ["--dtype", "bfloat16"], ["--pooling", "max"]])
def test_search_refuses_vectors_of_another_model_or_pooling(run_script, base, texts, tmp_path, toy_data, options):
    (tmp_path / "other").mkdir()
    other = toy.save_masked_lm(tmp_path / "other", toy_data, positions="sinusoidal")
    run_script("embed", base, texts, "-o", tmp_path / "v.npz", *options)
    pooling = options if "--pooling" in options else []
    run_script("search_texts", base, tmp_path / "v.npz", texts, "--query", "x", *pooling)
    with toy.refused("v.npz", "other", "--pooling"):
        run_script("search_texts", other, tmp_path / "v.npz", texts, "--query", "x", *pooling)
    if pooling:
        with toy.refused("v.npz", "--pooling"):
            run_script("search_texts", base, tmp_path / "v.npz", texts, "--query", "x")


def test_evaluation_writes_every_file_with_baselines(run_script, base, tmp_path, capsys):
    data, out = runs.write_rows(tmp_path / "data", "labeled"), tmp_path / "out"
    given = (base, data, "--spec", data / "spec.yaml", "--untuned", base, "--whiten", 1, "-o", out)
    run_script("evaluate_embeddings", *given)
    found = json.loads((out / "metrics.json").read_text())
    names = ["untuned", "mean of word vectors", "TF-IDF"]
    assert list(found)[2:] == names
    assert found["untuned"] == pytest.approx(found[list(found)[0]])  # both are the same model
    header, row = (out / "triplet_evaluation_hard_results.csv").read_text().splitlines()
    assert header == "epoch,steps,accuracy_cosine" and row.startswith("-1,-1,")
    assert {path.name for path in out.iterdir()} >= {"map.png", "distances.png", "geometry.csv", "table.md"}
    before = (out / "hard_triplets.npy").read_bytes()
    run_script("evaluate_embeddings", *given)
    assert (out / "hard_triplets.npy").read_bytes() == before


def test_evaluation_accepts_a_file_of_vectors(run_script, base, tmp_path):
    data = runs.write_rows(tmp_path / "data", "labeled")
    (tmp_path / "all.txt").write_text("\n".join(text for text, _ in runs.labeled(12, 1)) + "\n")
    run_script("embed", base, tmp_path / "all.txt", "-o", tmp_path / "v.npz")
    run_script("evaluate_embeddings", tmp_path / "v.npz", data, "--spec", data / "spec.yaml", "-o", tmp_path / "out")
    assert "v" in json.loads((tmp_path / "out" / "metrics.json").read_text())


@pytest.mark.parametrize("kind, metric, chance", [
    ("scored pairs", "spearman", 0), ("labeled pairs", "average_precision", 0.5), ("pairs", "mrr", 0.116),
    ("triplets", "triplet_accuracy", 0.5), ("texts", "isoscore", 0),
])  # fmt: skip
def test_rows_without_classes_are_evaluated_next_to_the_baselines(run_script, base, tmp_path, kind, metric, chance):
    data, out = runs.write_rows(tmp_path / "data", kind), tmp_path / "out"
    run_script("evaluate_embeddings", base, data, "--spec", data / "spec.yaml", "--untuned", base, "-o", out)
    found = json.loads((out / "metrics.json").read_text())
    assert list(found)[1:] == ["untuned", "mean of word vectors", "TF-IDF"]
    assert all(metric in scores and "partition_score" in scores for scores in found.values())
    assert found["TF-IDF"][metric] > chance + 0.05  # only texts of one topic share words
    files = {path.name for path in out.iterdir()}
    assert files >= {"embedding_metrics.csv", "geometry.csv", "table.md"} and "hard_triplets.npy" not in files
    assert ("triplet_evaluation_given_results.csv" in files) == (kind == "triplets")
    assert f" {metric} " in (out / "table.md").read_text()


def test_frozen_triplets_of_other_rows_are_refused(run_script, base, tmp_path):
    data, out = runs.write_rows(tmp_path / "data", "labeled"), tmp_path / "out"
    out.mkdir()
    np.save(out / "hard_triplets.npy", np.array([[0, 1, 99]]))
    with toy.refused("hard_triplets.npy"):
        run_script("evaluate_embeddings", base, data, "--spec", data / "spec.yaml", "-o", out)


def test_a_map_of_two_models(run_script, base, tmp_path):
    data = runs.write_rows(tmp_path / "data", "labeled")
    spec = ("--spec", data / "spec.yaml")
    run_script("plot_embeddings", base, base / "checkpoint_best.pt", data, *spec, "--map", "tsne", "-o",
               tmp_path / "map.png")  # fmt: skip
    assert (tmp_path / "map.png").read_bytes()[:4] == b"\x89PNG"


def test_pairs_have_no_map(run_script, base, tmp_path):
    data = runs.write_rows(tmp_path / "data", "pairs")
    with toy.refused("toy"):
        run_script("plot_embeddings", base, data, "--spec", data / "spec.yaml", "-o", tmp_path / "map.png")
