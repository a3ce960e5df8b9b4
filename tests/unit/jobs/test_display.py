"""What fairseq-train shows by default."""

import io

import pytest

from plugins.jobs.display import Display, duration, number


@pytest.mark.parametrize("seconds, words", [
    (0.2, "1 s"), (40, "40 s"), (89, "89 s"), (90, "2 min"), (300, "5 min"), (5400, "1 h 30 min"), (7200, "2 h"),
    (5340, "89 min"), (149, "2 min"), (172740, "47 h 59 min"), (86400 * 2, "2 d 0 h"), (86400 * 3 + 7200, "3 d 2 h"),
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


def test_slow_first_updates_do_not_count_in_the_estimate():
    shown, lines = display()
    run(shown, 1, seconds_each=100.0)
    run(shown, 11, start=1)
    assert lines() == ["about 2 min for 90 more updates (1 updates/s)"]


def test_the_speed_is_that_of_recent_updates():
    shown, lines = display(updates=1000)
    run(shown, 250, seconds_each=9.0)
    run(shown, 250, start=250)
    assert shown.speed() == pytest.approx(1.0, rel=0.02)


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


def test_the_names_of_a_header_are_a_column():
    shown, lines = display()
    shown.header({"a": "1", "long": "2"})
    shown.header({})
    assert lines() == ["a     1", "long  2"]


@pytest.mark.parametrize(("seconds", "advice"), [(3600, False), (3601, True)])
def test_more_than_an_hour_on_a_cpu_is_long(seconds, advice):
    shown, lines = display(updates=seconds + 10)
    run(shown, 11)
    shown.clock.now -= 1  # ten updates in ten seconds
    assert ("--arch" in shown.estimate()) == advice


def test_a_run_of_unknown_length_has_a_speed_only():
    shown, lines = display(updates=None)
    run(shown, 12, seconds_each=0.5)
    shown.clock.now -= 0.5
    shown.train({"loss": "1.5"}, 12)
    assert lines() == ["2 updates/s", "update 12  loss 1.500  2 updates/s"]


def test_a_log_interval_is_one_line_with_the_time_left():
    shown, lines = display(updates=2000)
    run(shown, 2)
    shown.train({"loss": 1.25}, 1000)
    shown.train({}, 1990)
    speed = "0.5 updates/s"  # one update, two seconds
    first, second = lines()
    assert first == f"update 1,000/2,000  loss 1.250  {speed}  33 min left"
    assert second == f"update 1,990/2,000  {speed}  20 s left"


def test_a_validation_is_one_line_with_the_metric_that_decides():
    shown, lines = display(metric="f1", maximize=True)
    for value in (0.5, 0.5, 0.75):
        shown.validation("valid", {"loss": "3", "ppl": 8.0, "f1": value}, 1200)
    shown.validation("valid", {"loss": 3.0}, 1300)
    assert lines() == [
        "update 1,200: valid  loss 3  ppl 8  f1 0.5  (best)", "update 1,200: valid  loss 3  ppl 8  f1 0.5",
        "update 1,200: valid  loss 3  ppl 8  f1 0.75  (best)", "update 1,300: valid  loss 3",
    ]  # fmt: skip
    assert shown.best == (0.75, 1200)


def test_the_end_without_a_validation_has_no_best_value_and_no_command():
    shown, lines = display()
    shown.update(1200)
    shown.finish(2.0, {"log": "a"}, None)
    assert lines() == ["1,200 updates in 2 s", "log  a"]


def test_the_end_of_a_run_that_was_finished_before_claims_no_updates():
    shown, lines = display()
    shown.done = 1200
    shown.finish(2.0, {}, None)
    assert lines() == ["1,200 updates before, none now"]


def test_a_terminal_shows_a_bar_and_lines_above_it(monkeypatch):
    class Bar:
        def __init__(self, **options):
            self.options, self.n, self.cleared, self.closed, self.postfix = options, options["initial"], 0, False, None

        def update(self, count):
            self.n += count

        def set_postfix_str(self, text):
            self.postfix = text

        def clear(self):
            self.cleared += 1

        def close(self):
            self.closed = True

    bars = []
    monkeypatch.setattr("plugins.jobs.display.tqdm", lambda **options: bars.append(Bar(**options)) or bars[-1])
    monkeypatch.setattr("sys.stderr", type("Terminal", (), {"isatty": lambda self: True})())
    shown, lines = display()
    for done in (5, 7, 9):
        shown.update(done)
    shown.train({"loss": "1.5"}, 9)
    (bar,) = bars
    assert (bar.options["total"], bar.options["initial"], bar.options["leave"], bar.n) == (100, 5, False, 9)
    assert bar.postfix == "loss 1.500" and lines() == [] and bar.cleared == 0
    shown.line("above")
    assert bar.cleared == 1 and not bar.closed
    shown.finish(1.0, {}, None)
    assert bar.closed and bar.cleared == 1


def test_a_meter_is_read_by_its_average():
    assert number(type("Meter", (), {"avg": 2.5})()) == 2.5
