"""The predicted time of an update on a CPU is that of fairseq's trainer within 25 %."""

import statistics
import time

import pytest
import toy
from fairseq import options, tasks
from fairseq.data.iterators import GroupedIterator
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.trainer import Trainer

from plugins.planning import timing

BATCH, LENGTH, UPDATES = 16, 64, 6
SIZE = ["--decoder-layers", "5", "--decoder-embed-dim", "128", "--decoder-attention-heads", "4"]
GIVEN = [*SIZE, "--block-size", str(LENGTH), "--dropout", "0"]


def trainer_of(folder):
    """Return a trainer of a character model, and its batches."""
    (folder / "text.txt").write_text("\n".join(toy.sentences(600)) + "\n")
    task = ["--task", "char_lm", "--arch", "char_lm_nano", "--criterion", "style_lm", *GIVEN]
    run = ["--batch-size", BATCH, "--num-workers", 0, "--cpu", "--save-dir", folder / "run"]
    words = [folder / "text.txt", "--user-dir", toy.ROOT / "plugins", *task, *run]
    args = options.parse_args_and_arch(options.get_training_parser(), list(map(str, words)))
    cfg = convert_namespace_to_omegaconf(args)
    task = tasks.setup_task(cfg.task)
    trainer = Trainer(cfg, task, task.build_model(cfg.model), task.build_criterion(cfg.criterion))
    batches = trainer.get_train_iterator(epoch=1).next_epoch_itr(shuffle=False)
    trainer.begin_epoch(1)
    return trainer, GroupedIterator(batches, 1)


def seconds(trainer, batches):
    """Return the median processor time of an update."""
    found = []
    for _ in range(UPDATES):
        samples = next(batches)
        start = time.process_time()
        trainer.train_step(samples)
        found.append(time.process_time() - start)
    return statistics.median(found)


@pytest.mark.slow
def test_the_time_of_an_update_is_predicted(tmp_path, monkeypatch):
    monkeypatch.setattr(timing.time, "perf_counter", time.process_time)  # other processes do not count
    trainer, batches = trainer_of(tmp_path)
    seconds(trainer, batches)  # warm up
    words = len(set((tmp_path / "text.txt").read_text()))
    ratios = []
    for _ in range(3):  # alternately, as the speed of a machine drifts
        measured = seconds(trainer, batches)
        ratios.append(timing.seconds_of_update("char_lm_nano", words, GIVEN, BATCH, LENGTH, repeats=5) / measured)
    assert statistics.median(ratios) == pytest.approx(1, abs=0.25), ratios


def test_the_time_is_extrapolated_to_the_layers_of_the_model(monkeypatch):
    given = []
    monkeypatch.setattr(timing, "update", lambda arch, words, options, batch, length: given.append(options))
    monkeypatch.setattr(timing, "medians", lambda steps, repeats: {1: 3.0, 3: 4.0})
    options = ["--decoder-layers", "7"]
    assert timing.seconds_of_update("char_lm_nano", None, options, 2, 8) == 6.0  # 3 and 6 layers of half a second
    assert given == [[*options, "--decoder-layers", str(n)] for n in (1, 3)]


def test_medians_alternate_after_a_warm_up(monkeypatch):
    calls, now = [], 0.0
    durations = {"a": iter([99.0, 1.0, 5.0, 2.0]), "b": iter([99.0, 4.0, 4.0, 9.0])}

    def step(name):
        nonlocal now
        calls.append(name)
        now += next(durations[name])

    monkeypatch.setattr(timing.time, "perf_counter", lambda: now)
    assert timing.medians({"a": lambda: step("a"), "b": lambda: step("b")}, 3) == {"a": 2.0, "b": 4.0}
    assert calls == ["a", "b"] * 4
