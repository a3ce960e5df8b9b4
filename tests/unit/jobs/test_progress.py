"""One bar for many jobs, from their logs."""

import pytest

from plugins.jobs import progress
from plugins.jobs.progress import Progress, Tail, names_twice, share


def inner(updates):
    return f'| INFO | train_inner | {{"num_updates": "{updates}"}}\n'


def valid(updates, ppl):
    return f'| INFO | valid | {{"valid_num_updates": "{updates}", "valid_ppl": "{ppl}"}}\n'


def test_a_growing_log_is_read_from_where_it_ended(tmp_path):
    tail = Tail(tmp_path / "log")
    tail.read()
    assert (tail.updates, tail.perplexity) == (0, None)
    (tmp_path / "log").write_text(inner(10) + valid(10, 8.5) + inner(20)[:20])
    tail.read()
    assert (tail.updates, tail.perplexity) == (10, 8.5)
    with open(tmp_path / "log", "a") as file:
        file.write(inner(20)[20:] + "a line\n")
    tail.read()
    tail.read()
    assert (tail.updates, tail.perplexity) == (20, 8.5)
    (tmp_path / "log").write_text(inner(3))  # started again
    tail.read()
    assert tail.updates == 3
    (tmp_path / "log").write_text("")
    tail.read()
    assert tail.updates == 0


@pytest.mark.parametrize(("updates", "of", "expected"), [(5, 20, 0.25), (30, 20, 1), (5, 0, 0)])
def test_a_job_counts_by_its_share_of_updates(tmp_path, updates, of, expected):
    tail = Tail(tmp_path / "log")
    tail.updates = updates
    assert share(tail, of) == expected


def test_names_that_occur_twice():
    assert names_twice(iter(["a", "b", "a", "c", "b"])) == ["a", "b"] and names_twice(["a", "b"]) == []


class Bar:
    """In the place of tqdm: what is shown."""

    def __init__(self, **options):
        self.options, self.disable, self.n, self.initial, self.postfix = options, False, 0, 0, None
        self.shown, self.closed = [], False

    def set_description_str(self, text, refresh):
        self.text = text

    def set_postfix_str(self, text, refresh):
        self.postfix = text

    def refresh(self):
        self.shown.append((self.text, self.initial, self.n, self.postfix))

    def close(self):
        self.closed = True


@pytest.fixture
def bars(monkeypatch):
    made = []
    monkeypatch.setattr(progress, "tqdm", lambda **options: made.append(Bar(**options)) or made[-1])
    return made


def test_the_bar_counts_finished_jobs_and_shares_of_running_ones(tmp_path, bars):
    with Progress(5, "runs") as found:
        (bar,) = bars
        assert (bar.options["total"], bar.options["desc"]) == (5, "0 of 5 runs")
        found.skip(1)
        (tmp_path / "a").write_text(inner(5))  # resumed at update 5 of 20
        found.follow("a", tmp_path / "a", 20)
        found.follow("b", tmp_path / "b", 20)
        found.show()
        (tmp_path / "b").write_text(inner(10) + valid(10, 7.25))
        found.show()
        found.finish("b")
        assert bar.shown == [
            ("1 of 5 runs", 1, 1, None),
            ("1 of 5 runs", 1.25, 1.25, None),
            ("1 of 5 runs", 1.25, 1.75, "validation perplexity 7.2"),
            ("2 of 5 runs", 1.25, 2.25, "validation perplexity 7.2"),
        ]
        assert not bar.closed
    assert bar.closed


def test_earlier_progress_is_at_most_the_whole(bars):
    found = Progress(1, "runs")
    found.skip(2)
    assert bars[0].shown == [("2 of 1 runs", 1, 2, None)]


def test_without_a_terminal_each_finished_job_is_a_line(tmp_path, capsys):
    with Progress(2, "models") as found:
        found.follow("a", tmp_path / "a", 10)
        found.show()
        found.finish("a")
    assert capsys.readouterr().err == "a finished (1 of 2 models)\n"
