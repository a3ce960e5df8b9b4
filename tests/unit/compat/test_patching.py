"""Replaced functions."""

from types import SimpleNamespace

from plugins.compat import observing, patching


def test_a_wrapper_gets_the_original_and_the_arguments():
    def double(x, plus=0):
        """Return twice x."""
        return 2 * x + plus

    owner = SimpleNamespace(double=double)
    patching.wrap(owner, "double", lambda original, *args, **options: [original(*args, **options), args, options])
    assert owner.double(3, plus=1) == [7, (3,), {"plus": 1}]
    assert owner.double.__name__ == "double" and owner.double.__wrapped__ is double


def test_updates_are_observed_with_the_trainer_and_their_batches(monkeypatch):
    from fairseq.trainer import Trainer

    monkeypatch.setattr(Trainer, "train_step", lambda self, samples, raise_oom=False: (samples, raise_oom))
    seen = []
    observing.observe_updates(lambda update, trainer, samples: seen.append((trainer, samples)) or update())
    trainer = object.__new__(Trainer)
    assert Trainer.train_step(trainer, ["batch"], raise_oom=True) == (["batch"], True)
    assert seen == [(trainer, ["batch"])]
