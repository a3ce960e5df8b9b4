"""A training step makes its tensors on the device of its inputs: on the meta device, others are errors."""

import contextlib

import pytest
import torch
from task_steps import CASES

FORMS = [(case, ()) for case in CASES if not case.startswith(("embedding", "preference"))]  # they read results
FORMS += [
    ("mlm", ("--positions", "alibi", "--alibi-bos", "learned", "--vocab-multiple", "64")),
    ("mlm", ("--positions", "rotary", "--checkpoint-activations", "--dropout", "0.1")),
    ("style", ("--style-inference", "prefix", "--style-prefix", "4")),
    ("causal_lm", ("--positions", "alibi", "--dropout", "0.1")),
]


@pytest.mark.parametrize("case, more", FORMS)
def test_a_training_step_mixes_no_devices(step, monkeypatch, case, more):
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda kind: False)  # which the meta device does not have
    monkeypatch.setattr(torch, "autocast", lambda kind, enabled=False: contextlib.nullcontext())
    found = step(case, *more, device="meta")
    assert found.loss.is_meta and found.gradients
    assert all(gradient.is_meta for gradient in found.gradients.values())
