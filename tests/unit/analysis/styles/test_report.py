"""The first lines of an evaluation: which figure to quote."""

from plugins.analysis.styles import report


def score(mean, n=4):
    return {"mean": mean, "standard_error": 0.01, "n": n}


def judged(**given):
    nearest = {name: {"nearest": {"success": score(mean)}} for name, mean in given.items()}
    consistency = {"real": {"nearest_is_asked": {100: score(0.9), 200: score(0.97)}}}
    return {"transfer": nearest, "consistency": consistency}


RESULT = {
    "checkpoint": "c.pt", "styles": ["a", "b"], "chance": 0.5, "sees_the_future": False, "options": {"window": 200},
    "judges": {"svm": judged(prompted=0.6, given=0.81, transfer=0.7), "bayes": judged(prompted=0.5, given=0.79)},
    "cost": {"a": {"true": score(2.0), "wrong_minus_true": score(0.2)},
             "b": {"true": score(3.0), "wrong_minus_true": score(0.4)}},
    "head": {"accuracy": {8: score(0.5), 64: score(0.75)}},
}  # fmt: skip


def test_five_lines_give_the_figure_to_quote_its_chance_level_and_its_ceiling():
    lines = report.headline(RESULT)
    assert len(lines) == 6 and lines[0] == "c.pt, styles: a, b"
    assert lines[1].startswith("quote     0.810 ± 0.010") and "chance 0.50, real text 0.97" in lines[1]
    assert "0.790 ± 0.010" in lines[3] and "0.700 ± 0.010" in lines[3]
    assert "2.500 nats" in lines[4] and "+0.300" in lines[4]
    assert "0.750 ± 0.010" in lines[5] and "64 characters" in lines[5]


def test_without_forced_styles_the_prompted_text_is_quoted():
    judges = {name: judged(prompted=mean) for name, mean in (("svm", 0.6), ("bayes", 0.5))}
    lines = report.headline({**RESULT, "judges": judges, "cost": {}} | {"cost": RESULT["cost"]})
    assert lines[1].startswith("quote     0.600") and "prompt of the style" in lines[1]


def test_a_noncausal_model_is_reported_by_its_honest_loss():
    loss = {"honest": score(2.0), "one_pass": score(0.5), "gap": score(1.5), "tokens": 10}
    lines = report.headline({"checkpoint": "c", "styles": ["a"], "sees_the_future": True, "loss": loss})
    assert "honest loss 2.000" in lines[1] and "not a likelihood" in lines[2]


def test_a_model_without_styles_is_reported_by_its_loss():
    loss = {"honest": score(2.0), "one_pass": score(2.0), "gap": score(0.0), "tokens": 10}
    lines = report.headline({"checkpoint": "c", "styles": [], "sees_the_future": False, "loss": loss})
    assert "styles: none" in lines[0] and "2.000 ± 0.010 nats per character" in lines[-1]


def test_a_single_value_has_no_standard_error_and_an_empty_list_no_text():
    assert report.shown(score(0.5, n=1)) == "0.500" and report.shown(None) == "" and report.shown(score(0.5, 0)) == ""


def entry(mean):
    return {"success": score(mean), "over_seeds": score(mean + 0.01, n=1)}


FULL = {
    "checkpoint": "c.pt", "styles": ["a", "b"], "chance": 0.5, "sees_the_future": False,
    "loss": {"one_pass": score(1.0), "honest": score(2.0), "gap": score(1.0), "tokens": 1234},
    "head": {"accuracy": {8: score(0.5)}},
    "cost": {"a": {"true": score(2.0), "inferred": score(2.5), "none": score(3.0)}},
    "judges": {"svm": {
        "accuracy": {50: score(0.8), 100: score(0.9)},
        "consistency": {"real": {"asked_style": {50: score(0.6), 100: score(0.7)}}},
        "transfer": {"given": entry(0.25) | {"nearest": entry(0.75)}},
    }},
    "agreement": {"real": {"share": 0.5, "kappa": 0.25, "n": 4}},
}  # fmt: skip


def test_tables_have_every_number():
    lines = report.tables(FULL).splitlines()
    for line in (
        "c.pt, styles: a, b",
        "| loss, nats per character over 1,234 |  |",
        "| in one pass (the same, because the model is causal) | 1.000 ± 0.010 |",
        "| honest less one pass | 1.000 ± 0.010 |",
        "| 8 | 0.500 ± 0.010 |",
        "| nats per character, text of | true | inferred | none | wrong | wrong minus true |",
        "| a | 2.000 ± 0.010 | 2.500 ± 0.010 | 3.000 ± 0.010 |  |  |",
        "| judge: svm; chance 0.50; windows of | 50 | 100 |",
        "| accuracy on unseen text | 0.800 ± 0.010 | 0.900 ± 0.010 |",
        "| consistency of real, asked style | 0.600 ± 0.010 | 0.700 ± 0.010 |",
        "| given | 0.250 ± 0.010 | 0.260 | 0.750 ± 0.010 | 0.760 |",
        "| real | 0.500 | 0.250 |",
    ):
        assert line in lines
    assert not any("trained with later text" in line for line in lines)


def test_tables_of_a_model_that_sees_the_future_say_so():
    text = report.tables({"checkpoint": "c", "styles": [], "sees_the_future": True, "loss": FULL["loss"]})
    assert "styles: none" in text and "not a likelihood" in text and "No samples are judged" in text
    quiet = FULL["judges"]["svm"] | {"transfer": {}}
    assert "style reached" not in report.tables(FULL | {"judges": {"svm": quiet}})


def test_the_ceiling_is_of_the_judged_windows_or_else_of_the_longest():
    other = RESULT | {"options": {"window": 100}}
    assert "real text 0.90" in report.headline(other)[1]
    assert "real text 0.97" in report.headline({k: v for k, v in RESULT.items() if k != "options"})[1]


def test_the_cost_of_one_style_has_no_wrong_one():
    lines = report.headline(RESULT | {"cost": {"a": {"true": score(2.0)}}})
    assert "2.000 nats" in lines[4] and "wrong" not in lines[4]
