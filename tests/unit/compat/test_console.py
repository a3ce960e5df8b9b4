"""The console output of a run: what is shown, what goes to the file, and the command suggested at its end."""

import contextlib
import logging
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from fairseq.dataclass.configs import FairseqConfig
from omegaconf import OmegaConf

from plugins.compat import console as module
from plugins.compat.console import Console
from plugins.errors import UserError


@pytest.mark.parametrize(
    ("task", "files", "command"),
    [
        ("char_lm", ["checkpoint_last.pt"], "python scripts/sample.py {folder} --length 300"),
        ("clap_masked_lm", ["checkpoint_best.pt", "checkpoint_last.pt"],
         "python scripts/run_glue.py --glue-dir GLUE --checkpoint {folder}/checkpoint_best.pt --output {folder}/glue"),
        ("char_lm", [], None),
        ("glue", ["checkpoint_best.pt"], None),
    ],
)  # fmt: skip
def test_the_next_command_needs_a_checkpoint_and_a_known_task(tmp_path, task, files, command):
    for name in files:
        (tmp_path / name).touch()
    finished = []
    console = Console(None)
    console.cfg = SimpleNamespace(checkpoint=SimpleNamespace(save_dir=str(tmp_path)), task=SimpleNamespace(_name=task))
    console.trainer = SimpleNamespace(get_num_updates=lambda: 7)
    console.display = SimpleNamespace(finish=lambda *arguments: finished.append(arguments))
    display = console.display
    console.finish()
    [(_, about, following)] = finished
    assert display.done == 7 and following == (command and command.format(folder=tmp_path))
    assert about["files"].startswith(str(tmp_path)) and all(name in about["files"] for name in files)


class Display:
    """Notes what it is asked to show."""

    def __init__(self, **options):
        self.__dict__.update(options)
        self.calls = []

    def __getattr__(self, name):
        return lambda *arguments: self.calls.append((name, *arguments))


@pytest.fixture
def begun(tmp_path, monkeypatch):
    """Return a function that begins a run with options, dotted names with two underscores: (console, begun)."""
    stream, consoles = logging.StreamHandler(), []
    monkeypatch.setattr(logging.root, "handlers", [stream])
    monkeypatch.setattr(logging.root, "level", logging.WARNING)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    def begin(**given):
        cfg = OmegaConf.structured(FairseqConfig())
        cfg.checkpoint.save_dir = str(tmp_path / "run")
        cfg.task, cfg.model = {"_name": "char_lm", "data": "text"}, {"_name": "char_lm"}
        for name, value in given.items():
            OmegaConf.update(cfg, name.replace("__", "."), value, force_add=True)
        consoles.append(Console(Display))
        return consoles[-1], consoles[-1].begin(cfg)

    yield begin
    for console in consoles:
        console.end()


@pytest.mark.parametrize("given", [{"common__log_format": "json"}, {"distributed_training__distributed_rank": 1}])
def test_another_format_and_the_other_processes_are_left_to_fairseq(begun, tmp_path, given):
    console, shown = begun(**given)
    assert not shown and console.display is None and not (tmp_path / "run").exists()


@pytest.mark.parametrize("rank", [0, -1])
def test_the_log_and_the_configuration_go_to_files_and_the_rest_to_people(begun, tmp_path, rank):
    console, shown = begun(distributed_training__distributed_rank=rank, optimization__max_update=9)
    assert shown and (console.display.updates, console.display.on_cpu) == (9, True)
    assert (console.display.metric, console.display.maximize) == ("loss", False)
    stream = logging.root.handlers[0]
    for name in ("fairseq.trainer", "plugins.tasks"):
        logging.getLogger(name).info("of %s", name)
    text = (tmp_path / "run" / "train.log").read_text()
    assert "INFO | fairseq.trainer | of fairseq.trainer" in text and "of plugins.tasks" in text
    kinds = [("fairseq.trainer", logging.INFO), ("fairseq.trainer", logging.WARNING), ("plugins.tasks", logging.INFO)]
    records = [logging.LogRecord(*kind, "", 1, "m", (), None) for kind in kinds]
    assert [bool(stream.filter(record)) for record in records] == [False, True, True]
    assert stream.format(records[0]) == "m"
    console.trainer = trainer_of()
    console.header(1)
    assert OmegaConf.load(tmp_path / "run" / "config.yaml").optimization.max_update == 9
    console.end()
    assert not any(isinstance(each, logging.FileHandler) for each in logging.root.handlers) and not console.display


def test_a_run_without_a_limit_has_none(begun):
    assert begun()[0].display.updates is None


def trainer_of(updates=0, frozen=False):
    model = torch.nn.Linear(999, 1)
    model.weight.requires_grad_(not frozen)
    task = SimpleNamespace(datasets={"valid": range(10), "train": range(2000)})
    return SimpleNamespace(get_model=lambda: model, get_num_updates=lambda: updates, task=task)


@pytest.mark.parametrize("updates, frozen, given, expected", [
    (0, False, {}, ["no limit, 1,500 per epoch", "char_lm, 1,000 parameters"]),
    (2500, True, {"optimization__max_epoch": 2},
     ["3,000, 1,500 per epoch; continues at update 2,500", "char_lm, 1,000 parameters, 1 of them trained"]),
    (0, False, {"optimization__max_epoch": 2, "optimization__max_update": 5},
     ["5, 1,500 per epoch", "char_lm, 1,000 parameters"]),
])  # fmt: skip
def test_the_header_is_shown_once_with_the_sizes_of_the_run(begun, tmp_path, updates, frozen, given, expected):
    console, _ = begun(**given)
    console.trainer = trainer_of(updates, frozen)
    console.header(1500)
    console.header(1500)
    [(name, about)] = console.display.calls
    assert name == "header" and [about["updates"], about["model"]] == expected
    assert (about["data"], about["device"]) == ("text (train 2,000, valid 10)", "CPU")
    assert about["writes to"].startswith(str(tmp_path / "run"))


class Bar(list):
    n = 5

    def log(self, stats, tag, step):
        self.logged = stats, tag, step

    def print(self, stats, tag, step):
        self.printed = stats, tag, step


def test_a_bar_reports_training_and_validation_to_the_display(begun):
    console, _ = begun(dataset__valid_subset="valid,other")
    console.trainer = trainer_of(4)
    made, original = [], lambda iterator, **options: made.append(options) or Bar(iterator)
    training = module.new_bar(console, original, "ab", log_format=None, default_log_format="tqdm")
    validation = module.new_bar(console, original, "cd", log_format=None, prefix="valid on 'valid' subset")
    assert [options["log_format"] for options in made] == ["simple"] * 2 and made[0]["default_log_format"] == "tqdm"
    assert list(training) == ["a", "b"] and len(training) == 2 and training.n == 5
    assert [name for name, *_ in console.display.calls] == ["header", "update", "update"]
    assert console.display.calls[1] == ("update", 4)
    console.display.calls.clear()
    assert list(validation) == ["c", "d"] and not console.display.calls
    training.log({"loss": 1}, tag="train", step=3)
    validation.log({"loss": 2}, tag="valid", step=3)
    training.print({"loss": 3}, tag="train", step=3)
    validation.print({"loss": 4}, tag="valid", step=3)
    validation.print({"loss": 5}, tag="other", step=3)
    assert console.display.calls == [("train", {"loss": 1}, 3), ("validation", "valid", {"loss": 4}, 3, True),
                                     ("validation", "other", {"loss": 5}, 3, False)]  # fmt: skip
    assert training._bar.logged == ({"loss": 1}, "train", 3) and validation._bar.printed == ({"loss": 5}, "other", 3)


def test_without_a_display_a_bar_is_fairseqs():
    made = module.new_bar(
        Console(None), lambda *given, **options: (given, options), "ab", log_format="json", prefix="x"
    )
    assert made == (("ab",), {"log_format": "json", "prefix": "x"})
    bar = module.ReportingBar(Bar("ab"), Console(None), training=True)  # of a run that has ended
    bar.log({}, step=1)
    bar.print({}, step=1)
    assert list(bar) == ["a", "b"]


def test_a_run_is_recognized_by_its_first_and_last_record(monkeypatch):
    console, seen = Console(Display), []
    monkeypatch.setattr(console, "begin", lambda cfg: seen.append(("begin", cfg)) or True)
    monkeypatch.setattr(console, "finish", lambda: seen.append("finish"))

    def watched(message):
        record = logging.LogRecord("fairseq_cli.train", logging.INFO, "", 1, message, (), None)
        return module.watch(record, console, lambda cfg: seen.append(("separate", cfg)))

    cfg = OmegaConf.create({"a": 1})
    assert watched("done training in 3 s") and not seen  # of a run that is not shown
    assert not watched(cfg) and seen == [("separate", cfg), ("begin", cfg)]
    console.display = Display()
    assert watched("model: x") and watched("done training in 3 s") and seen[2:] == ["finish"]


def test_the_trainer_of_the_run_is_noted():
    console, trainer, given = Console(None), object(), []
    module.note_trainer(console, lambda *arguments, **options: given.append((arguments, options)), trainer, 1, x=2)
    assert console.trainer is trainer and given == [((trainer, 1), {"x": 2})]


def test_absent_biases_are_not_listed_as_shared():
    model = torch.nn.Sequential(torch.nn.Linear(1, 1, bias=False), torch.nn.Linear(1, 1, bias=False))
    found = [["0.bias", "1.bias"], ["0.weight", "1.weight"]]
    assert module.shared_params(lambda *given: found, model) == [["0.weight", "1.weight"]]
    assert module.shared_params(lambda *given: None, model) is None


def test_the_folder_of_a_run_is_made_or_used_again(begun, tmp_path):
    for _ in range(2):
        assert begun(checkpoint__save_dir=str(tmp_path / "a" / "b"))[1]
    assert (tmp_path / "a" / "b" / "train.log").exists()


@pytest.fixture
def train(begun, tmp_path):
    """A function that begins a run, updates or not, and raises an error: as fairseq's ``main`` does."""

    def run(error, updates, program="fairseq_cli.train"):
        def main(cfg):
            (tmp_path / "new" / "run").mkdir(parents=True, exist_ok=True)
            other, _ = begun(checkpoint__save_dir=str(tmp_path / "new" / "run"), common__seed=2 if error else 1)
            console.__dict__ = other.__dict__
            console.trainer = trainer_of()
            if updates:
                console.header(3)
            if error:
                raise error

        main.__module__ = program
        console, cfg = Console(Display), SimpleNamespace(checkpoint=SimpleNamespace(save_dir=tmp_path / "new" / "run"))
        with contextlib.suppress(ValueError, RuntimeError):
            module.leave_nothing(console, lambda cfg, main: main(cfg), cfg, main)

    return run


@pytest.mark.parametrize("error, updates, kept", [
    (UserError("a.csv:3: bad row"), False, False), (UserError("no space left"), True, True),
    (RuntimeError("a bug"), False, True),
])  # fmt: skip
def test_a_run_that_is_refused_before_its_first_update_leaves_no_folder(train, tmp_path, error, updates, kept):
    train(error, updates)
    assert (tmp_path / "new" / "run" / "train.log").exists() == (tmp_path / "new").exists() == kept


def test_a_refused_run_keeps_the_log_and_the_configuration_of_an_earlier_one(train, tmp_path):
    train(None, True)
    before = (tmp_path / "new" / "run" / "config.yaml").read_text()
    train(UserError("a.csv:3: bad row"), False)
    assert (tmp_path / "new" / "run" / "train.log").exists()
    assert (tmp_path / "new" / "run" / "config.yaml").read_text() == before


def test_a_run_that_fails_by_a_bug_before_its_first_update_leaves_its_configuration(train, tmp_path):
    train(RuntimeError("a bug"), False)
    assert (tmp_path / "new" / "run" / "config.yaml").exists()


@pytest.mark.parametrize("earlier", [True, False])
def test_a_run_without_an_update_writes_its_configuration_only_where_none_is(begun, tmp_path, earlier):
    console, _ = begun()
    console.trainer = trainer_of()
    path = Path(console.cfg.checkpoint.save_dir, "config.yaml")
    if earlier:
        path.write_text("lr: 1\n")
    console.finish()
    assert (path.read_text() == "lr: 1\n") is earlier


@pytest.mark.parametrize("gpu, cpu, expected", [(True, False, False), (True, True, True), (False, False, True)])
def test_the_device_is_named(begun, monkeypatch, gpu, cpu, expected):
    begin = begun
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "H100")
    console, _ = begin(common__cpu=cpu)
    assert console.display.on_cpu is expected
    console.trainer = trainer_of()
    console.header(3)
    assert console.display.calls[0][1]["device"] == ("CPU" if expected else "H100")


def test_the_next_run_of_a_process_ends_the_one_before(begun, tmp_path):
    console, _ = begun(checkpoint__save_dir=str(tmp_path / "first"))
    first, console.trainer = console.log, trainer_of()
    console.header(3)
    cfg = OmegaConf.merge(console.cfg, {"checkpoint": {"save_dir": str(tmp_path / "second")}})
    assert console.begin(cfg) and console.trainer is None and not console.has_header
    assert first not in logging.root.handlers and first.stream is None
    assert console.log in logging.root.handlers and console.cfg is cfg
    assert not console.begin(OmegaConf.merge(cfg, {"common": {"log_format": "json"}}))
    assert console.display is None and not any(isinstance(h, logging.FileHandler) for h in logging.root.handlers)


@pytest.mark.parametrize("level, expected", [(logging.WARNING, logging.INFO), (logging.DEBUG, logging.DEBUG)])
def test_the_log_has_everything_from_info(begun, monkeypatch, level, expected):
    logging.root.setLevel(level)
    begun()
    assert logging.root.level == expected


def test_the_end_shows_the_seconds_of_the_run_and_releases_it(begun, monkeypatch):
    times = iter([10.0, 11.0, 15.0])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(times))
    console, _ = begun()  # created at 10, begun at 11
    display, console.trainer = console.display, trainer_of(4)
    console.finish()
    assert display.calls[0][:2] == ("finish", 4.0) and display.done == 4
    assert console.display is console.trainer is console.log is None


def test_a_run_of_no_files_says_so(begun, tmp_path):
    console, _ = begun()
    display, console.trainer = console.display, trainer_of()
    console.finish()
    assert display.calls[0][2]["files"] == f"{tmp_path / 'run'}: no checkpoint" and display.calls[0][3] is None


def test_training_comes_first_among_the_sizes_of_the_data(begun):
    console, _ = begun(dataset__train_subset="own")
    console.trainer = trainer_of()
    console.trainer.task.datasets = {"valid": range(1), "test": range(2), "own": range(1234)}
    console.header(3)
    assert console.display.calls[0][1]["data"] == "text (own 1,234, valid 1, test 2)"
