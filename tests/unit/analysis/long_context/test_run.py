"""Comparison of checkpoints: files, table, names and the figure's title."""

import json
import statistics
from types import SimpleNamespace

import pytest
import torch
import toy

from plugins.analysis.long_context import figure, memory, run
from plugins.analysis.long_context.figure import conclusion, draw
from plugins.analysis.long_context.run import check_lengths, tokens_in
from plugins.analysis.runs import grids
from plugins.errors import UserError
from plugins.modules.positions import DECODER_SCHEMES

pytest.importorskip("matplotlib")


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("abac abad\nface bad cab egg hagbad bead\n" * 20)
    return path


@pytest.fixture
def checkpoints(make_char_lm, tmp_path):
    return [
        toy.save_char_lm(make_char_lm(positions=positions), tmp_path / positions / "checkpoint_best.pt").parent
        for positions in ("learned", "alibi", "rotary")
        if (tmp_path / positions).mkdir() is None
    ]


def test_all_results_are_written_and_drawn(run_script, checkpoints, text, tmp_path, capsys):
    options = ("--lengths", "1x", "4x", "--windows", 3, "--stride", 4, "--scaling", "none", "yarn")
    run_script("long_context", *checkpoints, "--text", text, *options, "-o", tmp_path / "long")
    written = json.loads((tmp_path / "long" / "long_context.json").read_text())
    assert list(written["results"]) == ["learned", "alibi", "rotary", "rotary, yarn"]
    assert [row["length"] for row in written["results"]["alibi"]] == [16, 64]
    assert (tmp_path / "long" / "long_context.png").stat().st_size > 10_000
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 9 and "16" in lines[2]


def test_one_name_for_two_checkpoints_is_refused_unless_they_get_names(run_script, checkpoints, text, tmp_path, capsys):
    options = ("--text", text, "--lengths", "1x", "--windows", 2, "--stride", 4, "-o", tmp_path / "long")
    with toy.refused("alibi", "NAME=CKPT"):
        run_script("long_context", checkpoints[1], checkpoints[1], *options)
    run_script("long_context", checkpoints[1], f"again={checkpoints[1]}", *options)
    assert "again" in capsys.readouterr().out


def test_checkpoints_of_one_name_are_pooled(run_script, make_char_lm, text, tmp_path):
    folders = []
    for seed in (1, 2, 3):
        (tmp_path / str(seed)).mkdir()
        lm = make_char_lm(positions="alibi", seed=seed)
        folders.append(toy.save_char_lm(lm, tmp_path / f"{seed}/checkpoint_best.pt"))
    options = ("--lengths", "1x", "4x", "--windows", 3, "--stride", 4, "-o", tmp_path / "long")
    run_script("long_context", *(f"alibi={path}" for path in folders), "--text", text, *options)
    written = json.loads((tmp_path / "long" / "long_context.json").read_text())
    each = [run[1]["sliding"]["mean"] for run in written["runs"]["alibi"]]
    pooled = written["results"]["alibi"][1]
    assert len(set(each)) == 3 and pooled["runs"] == 3
    assert pooled["sliding"]["mean"] == pytest.approx(statistics.mean(each))
    assert min(each) - 0.5 < pooled["sliding"]["low"] < pooled["sliding"]["mean"] < pooled["sliding"]["high"]
    first = [run[0]["sliding"]["mean"] for run in written["runs"]["alibi"]]
    assert pooled["change"]["mean"] == pytest.approx(statistics.mean(each) - statistics.mean(first))
    assert pooled["change"]["from"] == 1


def test_pooling_files_equals_pooling_checkpoints(run_script, make_char_lm, text, tmp_path):
    names = []
    for seed in (1, 2):
        (tmp_path / str(seed)).mkdir()
        lm = make_char_lm(positions="alibi", seed=seed)
        names.append(f"alibi={toy.save_char_lm(lm, tmp_path / f'{seed}/checkpoint_best.pt')}")
    options = ("--text", text, "--lengths", "1x", "4x", "--windows", 3, "--stride", 4)
    run_script("long_context", *names, *options, "-o", tmp_path / "both")
    run_script("long_context", names[0], *options, "-o", tmp_path / "first")
    earlier = tmp_path / "first" / "long_context.json"
    run_script("long_context", names[1], *options, "--pool", earlier, "-o", tmp_path / "second")
    both, second = (json.loads((tmp_path / name / "long_context.json").read_text()) for name in ("both", "second"))
    for one, two in zip(both["results"]["alibi"], second["results"]["alibi"], strict=True):
        assert one["runs"] == two["runs"] == 2
        if "limit" not in one:
            assert two["sliding"]["mean"] == pytest.approx(one["sliding"]["mean"])


def _without(content, *keys):
    for key in keys[:-1]:
        content = content[key]
    content.pop(keys[-1])


SPOILED = {
    "other text": lambda content: content.update(text_sha256="0"),
    "other stride": lambda content: content.update(stride=8),
    "other dictionary": lambda content: content.update(dictionary_sha256="0"),
    "no runs": lambda content: content.update(runs=[]),
    "no run": lambda content: content["runs"].update(alibi=[]),
    "no losses": lambda content: _without(content, "runs", "alibi", 0, 0, "sliding"),
    "a loss that is text": lambda content: content["runs"]["alibi"][0][0]["windows"]["losses"].append("2.5"),
    "another number of passages": lambda content: content["runs"]["alibi"][0][0]["windows"]["losses"].pop(),
    "other lengths": lambda content: content["runs"]["alibi"][0].pop(),
}


@pytest.mark.parametrize("spoil", SPOILED.values(), ids=SPOILED)
def test_results_that_cannot_be_pooled_are_refused(run_script, checkpoints, text, tmp_path, spoil):
    options = ("--text", text, "--lengths", "1x", "2x", "--windows", 3, "--stride", 4)
    run_script("long_context", checkpoints[1], *options, "-o", tmp_path / "first")
    earlier = tmp_path / "first" / "long_context.json"
    content = json.loads(earlier.read_text())
    spoil(content)
    earlier.write_text(json.dumps(content))
    with toy.refused("alibi" if spoil in list(SPOILED.values())[5:] else "long_context.json"):
        run_script("long_context", checkpoints[1], *options, "--pool", earlier, "-o", tmp_path / "second")
    assert not (tmp_path / "second").exists()


def test_models_with_other_tokens_are_refused(run_script, make_char_lm, checkpoints, text, tmp_path):
    (tmp_path / "other").mkdir()
    other = toy.save_char_lm(make_char_lm(characters="\n abcdefgxyz"), tmp_path / "other" / "checkpoint_best.pt")
    with toy.refused(other, checkpoints[1]):
        run_script("long_context", checkpoints[1], other, "--text", text, "--lengths", "1x", "-o", tmp_path / "long")
    assert not (tmp_path / "long").exists()


def test_an_empty_text_is_refused(run_script, checkpoints, tmp_path):
    (tmp_path / "empty.txt").write_text("\n \n")
    with toy.refused("empty.txt"):
        run_script("long_context", checkpoints[1], "--text", tmp_path / "empty.txt", "-o", tmp_path / "long")


def test_a_text_shorter_than_a_length_is_named_with_its_tokens(run_script, checkpoints, tmp_path):
    (tmp_path / "short.txt").write_text("ab" * 8)
    with toy.refused(tmp_path / "short.txt", "16 tokens", "--lengths"):
        run_script("long_context", checkpoints[0], "--text", tmp_path / "short.txt", "--lengths", "8", "16", "-o",
                   tmp_path)  # fmt: skip


def test_an_input_that_does_not_fit_into_memory_is_refused(run_script, checkpoints, text, tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "free_memory", lambda device: 1e5)
    with toy.refused("--lengths", "64"):
        options = ("--lengths", "1x", "4x", "--windows", 2, "--stride", 4)
        run_script("long_context", checkpoints[1], "--text", text, *options, "-o", tmp_path / "long")


def test_runs_of_one_name_with_other_trained_lengths_are_refused(run_script, make_char_lm, checkpoints, text, tmp_path):
    (tmp_path / "short").mkdir()
    lm = make_char_lm(positions="alibi", trained_length=8)
    short = toy.save_char_lm(lm, tmp_path / "short" / "checkpoint_best.pt")
    options = ("--lengths", "1x", "--windows", 2, "--stride", 4, "-o", tmp_path / "long")
    with toy.refused("called a"):
        run_script("long_context", f"a={checkpoints[1]}", f"a={short}", "--text", text, *options)


@pytest.mark.parametrize("length, tokens", [("512", 512), ("4x", 64), ("1.5x", 24)])
def test_lengths_are_tokens_or_multiples(length, tokens):
    assert tokens_in(length, 16) == tokens


@pytest.mark.parametrize("length", ["x", "4y", "-3", "0x", "7", "0.5x", "1e3x", "9" * 12])
def test_other_lengths_are_refused_by_name_before_a_model_is_loaded(length):
    with toy.refused(f"--lengths {length}"):
        check_lengths(["4x", length])


def series(first, last=None, low=-1.0, high=-0.5):
    """Return results at 1x and at 8x, where the table of positions has ended if ``last`` is None."""
    rows = [{"times": 1.0, "sliding": {"mean": first}, "change": {"from": 1.0, "mean": 0.0, "low": 0.0, "high": 0.0}}]
    change = {"from": 1.0, "mean": (last or 0) - first, "low": low, "high": high}
    return [*rows, {"times": 8.0, "sliding": {"mean": last}, "change": change} if last else {"times": 8.0, "limit": 16}]


def test_the_title_names_the_best_and_the_worst_of_those_with_positions():
    title = conclusion({"a": series(2.0, 1.9), "b": series(1.5, 3.0), "c": series(1.0, 1.25), "d": series(2.0)})
    assert "8 times" in title and "c " not in title
    assert "a is 0.10 nats lower" in title and "b 1.50 nats higher" in title


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [(-0.04, 0.03, "unchanged"), (-0.1, 0.2, "uncertain by 0.20 nats"), (0.01, 0.2, "0.10 nats higher"),
     (None, None, "0.10 nats higher")],
)  # fmt: skip
def test_a_change_is_one_if_its_interval_excludes_zero(low, high, words):
    title = conclusion({"a": series(2.0, 2.1, low, high)})
    assert title.endswith(f"a is {words}")


def test_the_title_does_not_name_models_that_are_all_unchanged():
    same = series(2.0, 2.01, -0.01, 0.03)
    assert conclusion({"a": same, "b": same, "c": same}).endswith("the loss of all 3 models is unchanged")


def test_the_title_of_a_single_length_names_the_lowest_loss():
    title = conclusion({"a": series(2.0, 1.9)[:1], "b": series(1.5, 3.0)[:1]})
    assert "b has the lowest loss, 1.50 nats" in title


def test_the_title_if_all_position_tables_end():
    assert "no model has positions left" in conclusion({"d": series(2.0), "e": series(2.0)})


@pytest.mark.parametrize("count", [1, 6, 9])
def test_the_figure_is_drawn_for_any_number_of_models(tmp_path, count):
    loss = {"mean": 2.0, "low": 1.9, "high": 2.2, "n": 5}
    change = {"from": 1.0, **loss}
    rows = [{"times": t, "sliding": loss, "windows": loss, "change": change, "runs": 1} for t in (1.0, 4.0)]
    draw(
        tmp_path / "figure.png",
        {f"model {i}": rows for i in range(count)} | {"d": [*rows[:1], {"times": 4.0, "limit": 8}]},
    )
    assert (tmp_path / "figure.png").stat().st_size > 10_000


def test_a_figure_without_losses_is_drawn_too(tmp_path):
    draw(tmp_path / "figure.png", {"d": [{"times": 4.0, "limit": 8}]})
    assert (tmp_path / "figure.png").exists()


def test_the_example_trains_every_scheme_of_the_decoder_with_each_seed():
    runs = grids.read_grid(toy.ROOT / "examples/long_context/grids/characters.yaml", "DATA").runs
    schemes = [run.arguments[run.arguments.index("--positions") + 1] for run in runs]
    assert sorted(schemes) == sorted(3 * list(DECODER_SCHEMES))


def test_a_table_has_a_line_for_each_model_and_length():
    loss = {"mean": 2.0, "low": 1.5, "high": 2.5}
    row = {"length": 1024, "times": 1.5, "windows": loss, "sliding": loss | {"low": None}, "tokens_per_second": 1234.5}
    lines = run.table({"a": [row | {"peak_mb": 99.6}, {"length": 2048, "times": 3.0, "limit": 1024}]}).splitlines()
    assert lines[0].split() == "model length times windows (nats) sliding (nats) tokens/s peak MB".split()
    assert lines[1] == "a      1,024   1.5x   2.000 (1.500-2.500)  2.000           1,234     100"
    assert lines[2] == "a      2,048   3x     table ends at 1024"


def test_a_text_is_encoded_line_by_line_for_a_masked_lm(tmp_path):
    lm = SimpleNamespace(fills_masks=True, encode=lambda line: torch.tensor([0, len(line), 9, 2]))
    assert run.tokens_of(lm, "ab\n \nabc\n", tmp_path).tolist() == [2, 9, 3, 9]
    lm = SimpleNamespace(fills_masks=False, encode=lambda text: torch.tensor([len(text)]))
    assert run.tokens_of(lm, "ab\n\nc", tmp_path).tolist() == [5]


@pytest.mark.parametrize("fills_masks", [True, False])
def test_an_error_of_the_text_names_its_file(tmp_path, fills_masks):
    lm = SimpleNamespace(fills_masks=fills_masks, encode=toy.raising(UserError("unknown character")))
    with toy.refused("valid.txt", "unknown character"):
        run.tokens_of(lm, "ab\n", tmp_path / "valid.txt")


def test_a_masked_lm_is_not_compared_with_a_causal_one():
    one, two = (
        SimpleNamespace(fills_masks=fills, dictionary=SimpleNamespace(symbols=["a"])) for fills in (True, False)
    )
    with toy.refused("first", "second"):
        run.check_same_tokens("first", one, "second", two)
    run.check_same_tokens("first", one, "second", one)


@pytest.mark.parametrize("length", ["8", "1x", "1.0x", "123456789"])
def test_the_shortest_lengths_are_accepted(length):
    run.check_lengths([length])


@pytest.mark.parametrize(("low", "high", "mean", "words"), [
    (-0.1, 0.0, -0.05, "uncertain by 0.10 nats"), (0.0, 0.04, 0.02, "unchanged"), (0.001, 0.008, 0.0049, "unchanged"),
    (0.001, 0.009, 0.0051, "0.01 nats higher"), (-0.4, -0.2, -0.3, "0.30 nats lower"),
])  # fmt: skip
def test_a_change_is_in_words(low, high, mean, words):
    assert figure.verdict({"low": low, "high": high, "mean": mean}) == words


def test_the_note_counts_runs_and_passages_and_names_the_tables_that_end():
    rows = [{"times": 1.0, "runs": 1, "sliding": {"n": 5}}]
    assert "over 5 passages" in figure.note({"a": rows}) and "x:" not in figure.note({"a": rows})
    rows = [{"times": 1.0, "runs": 3, "sliding": {"n": 5}}, {"times": 4.0, "limit": 16}]
    note = figure.note({"a": rows, "b": rows[:1]})
    assert "3 runs and 5 passages" in note and note.endswith("table of a")
    assert "0 passages" in figure.note({"d": [{"times": 4.0, "limit": 8}]})
