"""scripts/evaluate_style.py on toy checkpoints: with styles, without styles, and errors."""

import json

import numpy as np
import pytest
import toy

pytestmark = pytest.mark.slow

SCRIPT = toy.ROOT / "scripts" / "evaluate_style.py"
WORDS = {
    "letters": "dear madam I remain your humble servant and trust that the carriage arrived before the evening".split(),
    "recipes": "stir two cups flour, one egg; bake at heat until golden (an hour), then cool: serve four.".split(),
}
SMALL = ["--samples", 2, "--seeds", 1, 2, "--sample-length", 240, "--lengths", 50, 100, "--window", 100,
         "--honest-tokens", 200, "--cost-windows", 8, "--tables"]  # fmt: skip


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    folder = tmp_path_factory.mktemp("styles")
    draw = np.random.default_rng(0)
    for style, words in WORDS.items():
        (folder / f"{style}.txt").write_text(" ".join(draw.choice(words, 6000)))
    return folder


@pytest.fixture(scope="module")
def train(text, tmp_path_factory):
    def train(*options):
        folder = tmp_path_factory.mktemp("model")
        done = toy.run_cli([
            "fairseq-train", text, "--user-dir", toy.ROOT / "plugins", "--cpu", "--task", "char_lm", "--arch",
            "char_lm_nano", "--decoder-layers", 3, "--decoder-embed-dim", 32, "--block-size", 32, "--max-update", 60,
            "--batch-size", 16, "--lr", 1e-2, "--save-dir", folder, *options,
        ])  # fmt: skip
        assert done.status == 0, done.text
        return folder

    return train


def evaluate(checkpoint, output, *more):
    done = toy.finish(toy.start_cli([SCRIPT, checkpoint, "-o", output, *SMALL, *more]), timeout=400)
    assert done.status == 0, done.text
    return json.loads(output.read_text()), done.out


@pytest.fixture(scope="module")
def report(train, tmp_path_factory):
    folder = train("--style-from", "file", "--style-layers", "every")
    return evaluate(folder, tmp_path_factory.mktemp("out") / "style.json")


def test_judges_are_validated_before_use(report):
    result, out = report
    for name in ("svm", "bayes"):
        accuracy = result["judges"][name]["accuracy"]
        assert accuracy["100"]["mean"] > 0.9 and accuracy["100"]["standard_error"] >= 0
        first = out.index(f"judge: {name}; chance 0.50")
        assert out.index("accuracy on unseen text", first) < out.index("consistency of real", first)


@pytest.mark.parametrize("judge", ["svm", "bayes"])
def test_random_letters_and_mixtures_score_no_more_than_chance_and_real_text_high(report, judge):
    scores = report[0]["judges"][judge]["consistency"]
    for kind in ("own_style", "asked_style"):
        assert scores["random letters"][kind]["100"]["mean"] < 0.1
        assert scores["mixture, 25 at a time"][kind]["100"]["mean"] <= 0.55
        assert scores["real"][kind]["100"]["mean"] > 0.9
    assert scores["random letters"]["nearest_is_asked"]["100"]["mean"] == pytest.approx(0.5, abs=0.25)


def test_a_model_with_styles_is_evaluated_with_each_style(report):
    result, _ = report
    assert result["model_has_these_styles"] and result["styles"] == ["letters", "recipes"]
    assert set(result["judges"]["svm"]["transfer"]) == {"prompted", "given", "transfer"}
    transfer = result["judges"]["svm"]["transfer"]["given"]
    assert transfer["success"]["n"] == 8 and len(transfer["over_seeds"]["values"]) == 2
    assert np.shape(transfer["confusion"]) == (2, 3) and 0 <= transfer["nearest"]["success"]["mean"] <= 1
    assert set(result["cost"]["letters"]) == {"true", "inferred", "none", "wrong", "wrong_minus_true"}
    assert np.shape(result["head"]["confusion"]) == (2, 2) and "32" in result["head"]["accuracy"]
    assert set(result["agreement"]) == {"real", "generated"}


def test_the_honest_loss_of_a_causal_model_equals_its_loss(report):
    loss = report[0]["loss"]
    assert loss["honest"]["mean"] == pytest.approx(loss["one_pass"]["mean"], abs=1e-5) and loss["tokens"] >= 200


def test_the_same_seeds_give_the_same_samples(report, train, text, tmp_path):
    first = report[0]
    again, _ = evaluate(first["checkpoint"], tmp_path / "again.json")
    assert again["samples"] == first["samples"] and again["judges"] == first["judges"]


def test_the_published_form_is_evaluated_with_its_honest_loss(train, tmp_path):
    folder = train("--style-from", "file", "--style-layers", "every", "--style-inference", "published")
    result, out = evaluate(folder, tmp_path / "p.json")
    assert result["sees_the_future"] and "not a likelihood" in out
    assert result["loss"]["gap"]["mean"] != 0
    assert "No samples are judged" in out and not {"judges", "agreement", "samples"} & set(result)


def test_a_checkpoint_without_styles_gets_the_applicable_results(train, text, tmp_path):
    folder = train()
    plain, out = evaluate(folder, tmp_path / "plain.json")
    assert "loss" in plain and not {"judges", "head", "cost"} & set(plain) and "styles: none" in out
    judged, _ = evaluate(folder, tmp_path / "judged.json", "--style-from", "file", "--data", text)
    assert set(judged["judges"]["svm"]["transfer"]) == {"prompted"} and "head" not in judged


@pytest.mark.parametrize(("arguments", "named"), [(["nowhere.pt"], ["nowhere.pt"])])
def test_mistakes_are_one_line_errors(arguments, named, tmp_path):
    toy.run_cli([SCRIPT, *arguments, "-o", tmp_path / "x.json"], real=True).refuses(*named)
    assert not list(tmp_path.iterdir())


def test_too_little_text_is_a_one_line_error(report, tmp_path):
    done = toy.run_cli([SCRIPT, report[0]["checkpoint"], "-o", tmp_path / "x.json"])
    done.refuses("--sample-length", "of the style 'recipes'")
