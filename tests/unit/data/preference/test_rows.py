"""Comparisons and ratings: three kinds of columns, splits by text, comparisons from ratings, reversals."""

import json

import numpy as np
import pytest
import toy

from plugins.data.preference import flips, rows


def write(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def test_trl_columns(tmp_path):
    found = rows.read(write(tmp_path / "p.jsonl", [
        {"prompt": "Q", "chosen": "good", "rejected": "bad", "margin": 2, "weight": 0.5},
        {"prompt": "Q", "chosen": "fine", "rejected": "bad"},
    ]))  # fmt: skip
    assert found.texts == ["Q\ngood", "Q\nbad", "Q\nfine"]
    assert found.pairs.tolist() == [[0, 1], [2, 1]] and found.outcomes.tolist() == [0, 0]
    assert found.margins.tolist() == [2, 0] and found.weights.tolist() == [0.5, 1]


CHAT = [{"role": "user", "content": "Q?"}, {"role": "assistant", "content": "good"}]


@pytest.mark.parametrize("prompt", [{}, {"prompt": "Q?"}, {"prompt": CHAT[:1]}])
@pytest.mark.parametrize("first", [0, 1])
def test_a_chat_is_its_contents_after_its_prompt_which_it_may_repeat(tmp_path, prompt, first):
    if first and not prompt:
        prompt = {"prompt": "Q?"}
    record = {"chosen": CHAT[first:], "rejected": [*CHAT[first:1], {"role": "assistant", "content": "bad"}]} | prompt
    assert rows.read(write(tmp_path / "p.jsonl", [record])).texts == ["Q?\ngood", "Q?\nbad"]


@pytest.mark.parametrize("prompt", ["Q?", "Q? "])
def test_a_chat_may_begin_with_instructions_and_have_parts_and_messages_without_text(tmp_path, prompt):
    system, call = {"role": "system", "content": "Help"}, {"role": "assistant", "content": None, "tool_calls": []}
    answer = {"role": "assistant", "content": [{"type": "text", "text": "good"}, {"type": "image"}]}
    record = {"prompt": prompt, "chosen": [system, CHAT[0], call, answer], "rejected": [system, CHAT[0]]}
    assert rows.read(write(tmp_path / "p.jsonl", [record])).texts == ["Help\nQ?\ngood", "Help\nQ?"]


@pytest.mark.parametrize(
    "chat", [[], ["a"], [{"role": "user"}], [{"content": " "}], [{"content": ["a"]}], [{"content": 1}]]
)
def test_a_chat_without_a_text_is_refused(tmp_path, chat):
    with toy.refused("p.jsonl:1", "rejected"):
        rows.read(write(tmp_path / "p.jsonl", [{"chosen": CHAT, "rejected": chat}]))


def test_sides_and_ties(tmp_path):
    (tmp_path / "p.tsv").write_text("text_a\ttext_b\tpreference\nx\ty\tb\ny\tz\tTie\n")
    assert rows.read(tmp_path / "p.tsv").outcomes.tolist() == [1, 2]


def test_ratings_become_comparisons_of_the_better_with_the_worse(tmp_path):
    found = rows.read(write(tmp_path / "p.jsonl", [{"text": str(i), "score": i} for i in range(10)]))
    compared = rows.compare(found, min_gap=3, per_text=2)
    gaps = found.scores[compared.pairs[:, 0]] - found.scores[compared.pairs[:, 1]]
    assert gaps.min() >= 3 and len(compared.pairs) >= 10
    with toy.refused("--min-gap 20"):
        rows.compare(found, min_gap=20)


def test_ratings_of_different_lists_are_not_compared(tmp_path):
    records = [{"text": f"{q}{i}", "score": i, "query": q} for q in "ab" for i in range(5)]
    compared = rows.compare(rows.read(write(tmp_path / "p.jsonl", records)), 1, 4)
    assert (compared.groups[compared.pairs[:, 0]] == compared.groups[compared.pairs[:, 1]]).all()


def test_a_single_file_is_split_by_text(tmp_path):
    draw = np.random.default_rng(0)
    pairs = [draw.choice(60, 2, replace=False) for _ in range(400)]
    path = write(tmp_path / "p.jsonl", [{"chosen": f"text {a}", "rejected": f"text {b}"} for a, b in pairs])
    train, valid = (rows.load(str(path), split, 0.3) for split in ("train", "valid"))
    assert rows.shared_texts(train, valid) == 0
    assert len(train.pairs) > len(valid.pairs) > 0


@pytest.mark.parametrize(
    ("record", "named"),
    [
        ({"chosen": "x", "rejected": ""}, "'rejected'"),
        ({"chosen": "x", "rejected": "x"}, "p.jsonl:1"),
        ({"chosen": "x", "rejected": "y", "margin": "wide"}, "'wide'"),
        ({"chosen": "x", "rejected": "y", "weight": -1}, "-1"),
        ({"text_a": "x", "text_b": "y", "preference": "c"}, "'c'"),
        ({"text": "x", "score": "nan"}, "'nan'"),
        ({"text": "x", "score": 1e200}, "1e+200"),
        ({"chosen": "x", "rejected": "y", "margin": -1e16}, "margin"),
        ({"question": "x"}, "chosen"),
        ({"chosen": "x\ud800", "rejected": "y"}, "'chosen'"),
        ({"chosen": {"role": "user", "content": "x"}, "rejected": "y"}, "an object"),
        ({"chosen": "x", "rejected": "y", "prompt": "\udfff"}, "surrogate"),
    ],
)
def test_a_bad_row_is_named_by_its_line(tmp_path, record, named):
    path = write(tmp_path / "p.jsonl", [record])
    with toy.refused("p.jsonl:1", named):
        rows.read(path)


RATING, COMPARISON = {"text": "x", "score": 1}, {"chosen": "y", "rejected": "z"}


@pytest.mark.parametrize("records", [[RATING, COMPARISON], [COMPARISON, RATING]])
def test_ratings_among_comparisons_are_refused(tmp_path, records):
    with toy.refused("p.jsonl"):
        rows.read(write(tmp_path / "p.jsonl", records))


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("chosen\trejected\nx\n", ["p.tsv:2", "1 columns", 2]),
        ("chosen\tother\nx\ty\n", ["p.tsv:1", "text_a", "other"]),
        ("chosen,rejected\n", ["p.tsv:1", "comma"]),
        ("chosen\trejected\n", ["p.tsv"]),
        ("chosen\trejected\tmargin\nx\ty\tinf\n", ["p.tsv:2", "'inf'"]),
        ("text\tscore\nx\t\n", ["p.tsv:2", "score"]),
    ],
)
def test_a_bad_table_is_named_by_its_line(tmp_path, text, named):
    (tmp_path / "p.tsv").write_text(text)
    with toy.refused(*named):
        rows.read(tmp_path / "p.tsv")


def test_a_missing_file_and_bad_json_are_named(tmp_path):
    with toy.refused(tmp_path / "p.tsv"):
        rows.read(tmp_path / "p.tsv")
    (tmp_path / "p.jsonl").write_text('{"chosen": "x", "rejected": "y"}\n[1]\n')
    with toy.refused("p.jsonl:2"):
        rows.read(tmp_path / "p.jsonl")
    with toy.refused("p.jsonl:1", "prompt"):
        rows.read(write(tmp_path / "p.jsonl", [{"chosen": "x", "rejected": "y", "prompt": 3}]))


def test_empty_cells_are_the_defaults(tmp_path):
    (tmp_path / "p.csv").write_text("chosen,rejected,margin,weight\nx,y,,\nx,z,2,0\n")
    found = rows.read(tmp_path / "p.csv")
    assert (found.margins.tolist(), found.weights.tolist()) == ([0, 2], [1, 0])
    assert not found.rated


def test_queries_group_ratings_and_a_single_query_does_not(tmp_path):
    records = [{"text": str(i), "score": i, "query": q} for i, q in enumerate("bab")]
    assert rows.read(write(tmp_path / "p.jsonl", records)).groups.tolist() == [1, 0, 1]
    found = rows.read(write(tmp_path / "p.jsonl", records[::2]))
    assert found.groups is None and found.scores.tolist() == [0, 2] and found.rated


@pytest.mark.parametrize("names", [("train", "jsonl"), ("train", "csv"), ("train", "tsv"), ("dev", "tsv")])
def test_a_split_is_a_file_of_its_name(tmp_path, names):
    name, suffix = names
    separator = {"csv": ",", "tsv": "\t"}.get(suffix)
    path = tmp_path / f"{name}.{suffix}"
    path.write_text(f"chosen{separator}rejected\nx{separator}y\n" if separator else '{"chosen": "x", "rejected": "y"}')
    split = "train" if name == "train" else "valid"
    assert rows.locate(str(tmp_path), split) == (path, False)
    assert rows.load(str(tmp_path), split).texts == ["x", "y"]  # nothing is held out of it


def test_two_files_of_a_split_and_none_are_refused(tmp_path):
    for name in ("dev.tsv", "valid.jsonl.gz"):
        (tmp_path / name).touch()
    with toy.refused(tmp_path, "dev.tsv", "valid.jsonl.gz"):
        rows.locate(str(tmp_path), "valid")
    with toy.refused(tmp_path, "test.jsonl"):
        rows.locate(str(tmp_path), "test")


def many(path, count=400, texts=60):
    draw = np.random.default_rng(0)
    pairs = [draw.choice(texts, 2, replace=False) for _ in range(count)]
    return write(path, [{"chosen": f"text {a}", "rejected": f"text {b}", "margin": int(a)} for a, b in pairs])


def test_a_tenth_of_the_texts_is_held_out_and_its_comparisons_with_others_are_left_out(tmp_path, caplog):
    path = many(tmp_path / "p.jsonl", count=3000, texts=2000)
    with caplog.at_level("INFO"):
        train, valid = (rows.load(str(path), split) for split in ("train", "valid"))
    assert len(train.texts) + len(valid.texts) > 1800
    assert 0.065 < len(valid.texts) / len(train.texts + valid.texts) < 0.135  # 0.1, standard deviation 0.007
    for part in (train, valid):  # margins are the number of the better text
        assert [part.texts[a] for a, _ in part.pairs] == [f"text {margin:g}" for margin in part.margins]
    (record,) = caplog.records
    assert record.args[1:] == (3000 - len(train.pairs) - len(valid.pairs), 3000)


def test_no_comparison_of_separate_texts_is_lost(tmp_path, caplog):
    """As in data of trl, where each prompt has its own two or three answers."""
    records = [{"prompt": f"p{i}", "chosen": "a", "rejected": worse} for i in range(300) for worse in ("b", "c")]
    path = write(tmp_path / "p.jsonl", records)
    with caplog.at_level("INFO"):
        train, valid = (rows.load(str(path), split) for split in ("train", "valid"))
    assert len(train.pairs) + len(valid.pairs) == 600 and not caplog.records
    assert rows.shared_texts(train, valid) == 0
    assert len(valid.pairs) == 60


@pytest.mark.parametrize(("prompts", "answers", "expected"), [(10, 2, 1), (8, 3, 1), (60, 2, 6), (20, 5, 2)])
def test_few_prompts_have_a_validation_part_and_lose_no_comparison(tmp_path, prompts, answers, expected):
    """``expected``: prompts in the part for validation."""
    records = [
        {"prompt": f"p{i}", "chosen": "0", "rejected": str(j)} for i in range(prompts) for j in range(1, answers)
    ]
    path = write(tmp_path / "p.jsonl", records)
    train, valid = (rows.load(str(path), split) for split in ("train", "valid"))
    assert len(valid.texts) == expected * answers and len(train.texts) == (prompts - expected) * answers
    assert len(train.pairs) + len(valid.pairs) == len(records)


def lists(path, *sizes):
    """Write lists of ``sizes`` texts, those of a list compared with each other."""
    draw, records = np.random.default_rng(1), []
    for group, size in enumerate(sizes):
        pairs = {tuple(sorted(draw.choice(size, 2, replace=False))) for _ in range(20 * size)}
        records += [{"chosen": f"{group} {a}", "rejected": f"{group} {b}"} for a, b in sorted(pairs)]
    return write(path, records), len(records)


@pytest.mark.parametrize("sizes", [(200,), (100, 100), (192, 4, 4)])
def test_large_lists_are_divided_by_text_and_the_log_says_so(tmp_path, caplog, sizes):
    path, count = lists(tmp_path / "p.jsonl", *sizes)
    with caplog.at_level("INFO"):
        train, valid = (rows.load(str(path), split) for split in ("train", "valid"))
    (record,) = caplog.records
    assert record.args[1:] == (count - len(train.pairs) - len(valid.pairs), count)
    assert 17 <= len(valid.texts) <= 20  # of which a text may have lost all its comparisons


def test_lists_that_fit_half_of_the_fraction_are_held_out_whole(tmp_path, caplog):
    path, count = lists(tmp_path / "p.jsonl", 100, 90, 10)
    with caplog.at_level("INFO"):
        train, valid = (rows.load(str(path), split) for split in ("train", "valid"))
    assert len(valid.texts) == 10 and len(train.pairs) + len(valid.pairs) == count and not caplog.records


@pytest.mark.parametrize(("fraction", "split"), [(0.0, "valid"), (1.0, "train")])
def test_a_split_without_texts_is_refused(tmp_path, fraction, split):
    path = many(tmp_path / "p.jsonl", 10)
    with toy.refused(path, f"{split} split"):
        rows.load(str(path), split, fraction)
    with toy.refused(path, "test split"):
        rows.load(str(path), "test")


def test_comparisons_that_are_all_cut_are_refused(tmp_path):
    """Two texts, one in each part."""
    texts = [f"text {i}" for i in range(40)]
    part = [text for text in texts if rows.text_hash(text) % 10_000 < 5000]
    path = write(tmp_path / "p.jsonl", [{"chosen": part[0], "rejected": next(t for t in texts if t not in part)}])
    with toy.refused(path):
        rows.load(str(path), "valid", 0.5)


def test_ratings_keep_scores_and_groups_of_their_part(tmp_path):
    records = [{"text": f"text {i}", "score": i, "query": str(i % 2)} for i in range(50)]
    path = write(tmp_path / "p.jsonl", records)
    for split in ("train", "valid"):
        found = rows.load(str(path), split, 0.4)
        numbers = [int(text.split()[1]) for text in found.texts]
        assert found.scores.tolist() == numbers and found.groups.tolist() == [n % 2 for n in numbers]


def test_equal_ratings_are_not_compared_and_each_text_starts_its_comparisons():
    none = np.zeros(0)
    found = rows.Preferences(
        list("abcd"), np.zeros((0, 2), int), none.astype(int), none, none, np.array([1.0, 1, 2, 3])
    )
    compared = rows.compare(found, min_gap=0, per_text=9)
    assert compared.pairs.tolist() == [[2, 0], [2, 1], [3, 0], [3, 1], [3, 2]]
    assert compared.outcomes.tolist() == [0] * 5
    assert compared.margins.tolist() == [0] * 5 and compared.weights.tolist() == [1] * 5
    assert rows.compare(found, min_gap=2).pairs.tolist() == [[3, 0], [3, 1]]  # exactly the gap
    few, again, other = (rows.compare(found, 0, per_text=1, seed=seed).pairs.tolist() for seed in (1, 1, 5))
    assert few == again and 2 <= len(few) <= 4
    assert any(rows.compare(found, 0, 1, seed).pairs.tolist() != few for seed in range(2, 9)) or other != few


def test_a_text_that_is_rated_twice_is_refused(tmp_path):
    path = write(tmp_path / "p.jsonl", [{"text": "x", "score": 1}, {"text": "x", "score": 2}])
    with toy.refused("p.jsonl", 1):
        rows.read(path)


@pytest.mark.parametrize(("which", "expected"), [("largest", {3, 4}), ("smallest", {0, 1})])
def test_reversals_by_gap(which, expected):
    mask = flips.reversed_pairs(np.array([1, 2, 3, 4, 5.0]), 0.4, which)
    assert set(np.flatnonzero(mask)) == expected


def test_random_reversals_have_the_share():
    assert flips.reversed_pairs(np.ones(100), 0.3).sum() == 30
    with toy.refused("--share 2"):
        flips.reversed_pairs(np.ones(3), 2)
