"""The predicted time of an update on a CPU is that of fairseq's trainer: within 25 % where nothing else runs."""

import statistics
import time

import pytest
import torch
import toy
from fairseq import options, tasks
from fairseq.data.iterators import GroupedIterator
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.trainer import Trainer
from omegaconf import OmegaConf

from plugins.planning import models, timing

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
    # Beside other processes, the caches of a processor are shared, which changes the two by different factors.
    assert statistics.median(ratios) == pytest.approx(1, abs=0.5), ratios


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


def test_an_update_trains_a_new_model_and_leaves_frozen_weights(monkeypatch):
    made = []

    def build(*given, **named):
        model, cfg = models.build(*given, **named)
        next(model.parameters()).requires_grad_(False)
        made.append((model, cfg))
        return model, cfg

    monkeypatch.setattr(timing, "build", build)
    step = timing.update("char_lm_nano", 20, ["--decoder-layers", "1"], 2, 8)
    [(model, _)] = made
    before = [p.detach().clone() for p in model.parameters()]
    step()
    changed = [not torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True)]
    assert model.training and not changed[0] and any(changed[1:])
    grads = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    step()  # gradients do not add up
    again = [p.grad for p in model.parameters() if p.grad is not None]
    assert (
        max((new.abs().max() / old.abs().max().clamp(min=1e-9)).item() for old, new in zip(grads, again, strict=True))
        < 1.9
    )


def test_the_loss_of_a_masked_lm_is_that_of_a_seventh_of_the_tokens():
    asked = []

    def model(tokens, **given):
        asked.append((tokens, given))
        return None, {"loss": torch.tensor(3.0)}

    assert timing.loss_of(model, OmegaConf.create({"vocab_size": 30}), 40, 50)() == 3
    (tokens, given) = asked[0]
    assert tokens.shape == (40, 50) and 4 <= tokens.min() and tokens.max() == 28 and (given["target"] == tokens).all()
    assert given["masked_tokens"].float().mean().item() == pytest.approx(0.15, abs=0.03)
    timing.loss_of(model, OmegaConf.create({"vocab_size": 30, "decoder_layers": 1}), 2, 3)()
    assert list(asked[1][1]) == ["target"] and asked[1][0].shape == (2, 3)


def test_options_and_repeats_reach_the_measurement(monkeypatch):
    asked = []
    monkeypatch.setattr(timing, "update", lambda *given: asked.append(given))
    monkeypatch.setattr(
        timing, "medians", lambda steps, repeats: asked.append((list(steps), repeats)) or {1: 1.0, 3: 2.0}
    )
    assert timing.seconds_of_update("clap_roberta_tiny", 50, ["--encoder-layers", "1"], 2, 8, repeats=7) == 1
    assert asked == [
        ("clap_roberta_tiny", 50, ["--encoder-layers", "1", "--encoder-layers", str(n)], 2, 8) for n in (1, 3)
    ] + [([1, 3], 7)]
