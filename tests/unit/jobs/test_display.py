"""What fairseq-train shows by default."""

import io

import pytest

from plugins.jobs.display import Display, duration, number


@pytest.mark.parametrize("seconds, words", [
    (0.2, "1 s"), (40, "40 s"), (89, "89 s"), (90, "2 min"), (300, "5 min"), (5400, "1 h 30 min"), (7200, "2 h"),
    (86400 * 2, "2 d 0 h"), (86400 * 3 + 7200, "3 d 2 h"),
])  # fmt: skip
def test_durations(seconds, words):
    assert duration(seconds) == words


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def display(**options):
    made = Display(**{"updates": 100, "on_cpu": True, "out": io.StringIO(), "clock": Clock(), **options})
    return made, lambda: made.out.getvalue().splitlines()


def run(shown, updates, seconds_each=1.0, start=0):
    for done in range(start, start + updates):
        shown.update(done)
        shown.clock.now += seconds_each


def test_the_estimate_comes_once_after_ten_updates():
    shown, lines = display()
    run(shown, 10)
    assert lines() == []
    run(shown, 20, start=10)
    assert lines() == ["about 2 min for 90 more updates (1 updates/s)"]


def test_a_resumed_run_is_timed_from_where_it_starts():
    shown, lines = display(updates=1000)
    run(shown, 12, start=500)
    (line,) = lines()
    assert "490 more updates (1 updates/s)" in line


def test_a_run_of_hours_on_a_cpu_gets_advice_and_on_a_gpu_does_not():
    for on_cpu in (True, False):
        shown, lines = display(updates=100_000, on_cpu=on_cpu)
        run(shown, 12)
        assert ("--max-update" in lines()[0]) == on_cpu
        assert "1 d" in lines()[0] or "27 h" in lines()[0]


@pytest.mark.parametrize("maximize, best", [(False, [True, True, False]), (True, [True, False, True])])
def test_the_best_validation_is_marked(maximize, best):
    shown, lines = display(maximize=maximize)
    for done, loss in ((10, 3.0), (20, 2.0), (30, 4.0)):
        shown.validation("valid", {"loss": str(loss), "ppl": "8"}, done)
    assert [line.endswith("(best)") for line in lines()] == best
    assert all("valid" in line and "ppl 8" in line for line in lines())


def test_only_the_first_validation_subset_selects_the_best_checkpoint():
    shown, lines = display()
    shown.validation("valid", {"loss": 3.0}, 10)
    shown.validation("train", {"loss": 1.0}, 10, first=False)
    assert shown.best == (3.0, 10)


def test_the_end_names_the_best_value_the_files_and_what_comes_next():
    shown, lines = display()
    run(shown, 3)
    shown.validation("valid", {"loss": 2.5}, 2)
    shown.finish(65.0, {"files": "DIR"}, "python scripts/sample.py DIR")
    text = "\n".join(lines()[1:])
    assert all(word in text for word in ("65 s", "2.5", "update 2", "DIR", "next: python scripts/sample.py DIR"))


@pytest.mark.parametrize("value, expected", [("1.5", 1.5), (2, 2.0), (None, None), ("x", None)])
def test_meters_become_numbers(value, expected):
    assert number(value) == expected
