"""Run ``fairseq-train`` in this process, measure its updates, and write measurements and predictions as JSON.

    python -m plugins.planning.worker OUTPUT.json ARGUMENTS OF fairseq-train

The second update is traced (see :mod:`.tracing`); the following ones are timed. :mod:`.measuring` starts it twice.
"""

import importlib.util
import statistics
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

import plugins  # noqa: F401 (registers everything)
from plugins.compat.observing import observe_updates
from plugins.files import write_json

from .memory import STATES, Run, predict
from .models import shape_of
from .timing import update as toy_update
from .tracing import Trace, bytes_of

TRACED = 2  # the first update creates the optimizer state
LIBRARIES = (("--peft", "lora", "peft"), ("--optimizer", "adamw_8bit", "bitsandbytes"))  # imported by options
LANGUAGE_MODELS = ("clap_masked_lm", "causal_lm", "style_lm")  # criterions whose memory is predicted


def process_bytes(field: str) -> int:
    """Return a field of ``/proc/self/status`` in bytes, VmRSS (current) or VmHWM (peak).

    ``getrusage`` is not used because a process inherits its maximum from the parent.
    """
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    line = next((line for line in lines if line.startswith(field + ":")), f"{field}: 0 kB")
    return int(line.split()[1]) * 1024


class Observer:
    """Measures the updates of a run."""

    def __init__(self, output: Path) -> None:
        self.output, self.count, self.rates, self.found = output, 0, list[float](), dict[str, Any]()
        self.runtime = process_bytes("VmRSS")  # before the model is built

    def __call__(self, run: Callable[[], Any], trainer: Any, samples: list) -> Any:
        """Run an update; see :func:`plugins.compat.observing.observe_updates`."""
        self.count += 1
        tokens = sum(inputs_of(sample).numel() for sample in samples if sample)
        if self.count == TRACED:
            trainer.zero_grad()
            with Trace(trainer.optimizer, trainer.cuda) as trace:
                result = run()
            self.found = parts(trainer) | trace.found() | self.predicted(trainer, samples)
        else:
            start = time.perf_counter()
            result = run()
            if trainer.cuda:
                torch.cuda.synchronize()
            if self.count > TRACED:
                self.rates.append(tokens / (time.perf_counter() - start))
        if self.found:
            self.write(result)
        return result

    def predicted(self, trainer: Any, samples: list) -> dict[str, Any]:
        """Return the predicted bytes, if the task is a language model and the optimizer is known."""
        cfg, batches = trainer.cfg, [inputs_of(sample) for sample in samples if sample]
        name = getattr(cfg.optimizer, "_name", "")
        if getattr(cfg.criterion, "_name", "") not in LANGUAGE_MODELS or name not in STATES:
            return {}
        tokens, length = max(batch.numel() for batch in batches), max(batch.size(1) for batch in batches)
        recompute = bool(cfg.model.get("checkpoint_activations"))
        run = Run(tokens, length, name, precision_of(cfg), trainer.cuda, recompute, len(samples) > 1)
        memory = predict(shape_of(trainer.get_model(), cfg.model), run)
        return {f"predicted_{part}": value for part, value in vars(memory).items()}

    def write(self, result: Any) -> None:
        """Write the measurements so far."""
        process = process_bytes("VmHWM")
        loss = (result or {}).get("loss")
        more = {"updates": self.count, "runtime": self.runtime, "process": process, "loss": loss}
        if self.rates:
            more["tokens_per_second"] = statistics.median(self.rates)
        if torch.cuda.is_available():
            free, total = torch.cuda.mem_get_info()
            more |= {"reserved": torch.cuda.max_memory_reserved(), "driver": total - free}
        elif "predicted_peak" in self.found:  # on a GPU the process does not contain the tensors
            more["predicted_process"] = self.runtime + self.found["predicted_peak"]
        write_json(self.output, self.found | more, indent=1)


def inputs_of(sample: Any) -> torch.Tensor:
    """Return the tokens (B, T) of a batch."""
    return sample["net_input"]["src_tokens"]


def parts(trainer: Any) -> dict[str, Any]:
    """Return the bytes of weights, gradients and optimizer state; the latter includes float32 copies of the weights."""
    weights = list(trainer.get_model().parameters())
    optimizer = trainer.optimizer.optimizer
    masters = [p for group in optimizer.param_groups for p in group["params"]]
    own = {id(p) for p in weights}
    copies = [t for p in masters if id(p) not in own for t in (p, p.grad)]
    states = [value for state in optimizer.state.values() for value in state.values()]
    return {
        "weights": bytes_of(weights),
        "gradients": bytes_of(p.grad for p in weights),
        "optimizer": bytes_of([*states, *copies]),
        "parameters": sum(p.numel() for p in weights),
    }


def precision_of(cfg: Any) -> str:
    """Return the number format of a run, see :class:`.memory.Run`."""
    if cfg.common.memory_efficient_fp16 or cfg.common.memory_efficient_bf16:
        return "memory_efficient"
    if cfg.common.fp16 or cfg.common.bf16:
        return "half"
    return "fp32" if str(cfg.task.get("mixed_precision") or "none") == "none" else "mixed"


def warm_up(arguments: list[str]) -> None:
    """Load the kernels and libraries of an update, so that they count as runtime and not as part of the model."""
    values = dict(pairwise(arguments))
    mixed = values.get("--mixed-precision") == "bf16"
    with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
        toy_update("char_lm_nano", None, [], 1, 16)()
    for option, value, library in LIBRARIES:
        if values.get(option) == value and importlib.util.find_spec(library):
            importlib.import_module(library)
    if "--checkpoint-activations" in arguments:  # torch's function reads options of the compiler
        importlib.import_module("torch._dynamo")


def main(output: str, arguments: list[str]) -> None:
    """Train; write the JSON after each update."""
    from fairseq_cli import train

    warm_up(arguments)
    observe_updates(Observer(Path(output)))
    sys.argv = ["fairseq-train", *arguments]
    train.cli_main()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
