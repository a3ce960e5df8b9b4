"""The process that measures updates: what it writes after each of them, and the parts of the memory."""

import json
from types import SimpleNamespace

import pytest
import torch
from omegaconf import OmegaConf

from plugins.planning import worker


class Optimizer:
    """What the observer uses of fairseq's optimizer."""

    def __init__(self, parameters):
        self.optimizer = torch.optim.AdamW(parameters)

    def backward(self, loss):
        loss.backward()


class Toy:
    """What the observer uses of fairseq's trainer: a model of 10 x 10 weights with AdamW."""

    cuda = False

    def __init__(self, criterion="glue", optimizer="fused_adamw"):
        self.model = torch.nn.Linear(10, 10, bias=False)
        self.optimizer = Optimizer(self.model.parameters())
        self.cfg = SimpleNamespace(
            criterion=SimpleNamespace(_name=criterion), optimizer=SimpleNamespace(_name=optimizer), model={}
        )

    def get_model(self):
        return self.model

    def zero_grad(self):
        self.optimizer.optimizer.zero_grad()

    def update(self):
        kept = torch.ones(1000)  # 4,000 bytes that exist at the start of the backward pass
        loss = self.model(torch.ones(1, 10)).sum()
        self.optimizer.backward(loss)
        self.optimizer.optimizer.step()
        return {"loss": float(kept.mean())}


def test_the_second_update_is_traced_and_the_following_ones_are_timed(tmp_path):
    trainer, samples = Toy(), [{"net_input": {"src_tokens": torch.ones(2, 5)}}, {}]
    observer, results = worker.Observer(tmp_path / "out.json"), []
    for _ in range(3):
        assert observer(trainer.update, trainer, samples) == {"loss": 1.0}
        path = tmp_path / "out.json"
        results.append(json.loads(path.read_text()) if path.exists() else None)
    assert results[0] is None
    assert results[1]["updates"] == 2 and "tokens_per_second" not in results[1]
    found = results[2]
    assert (found["updates"], found["loss"], found["parameters"]) == (3, 1.0, 100)
    assert (found["weights"], found["gradients"], found["optimizer"]) == (400, 400, 804)  # 4: Adam's count of updates
    assert 4000 <= found["activations"] < 4200 and found["beyond_state"] >= found["activations"] + 400
    assert 0 < found["tokens_per_second"] < 1e7
    assert 1e7 < found["runtime"] <= found["process"]
    assert not any(name.startswith("predicted") for name in found)


@pytest.mark.parametrize(("criterion", "optimizer"), [("glue", "adam"), ("causal_lm", "lamb")])
def test_only_language_models_with_known_optimizers_are_predicted(tmp_path, criterion, optimizer):
    assert worker.Observer(tmp_path / "x").predicted(Toy(criterion, optimizer), []) == {}


def test_float32_copies_belong_to_the_state_of_the_optimizer():
    trainer = Toy()
    copy = torch.nn.Parameter(torch.zeros(100))
    copy.grad = torch.zeros(100)
    trainer.model.half()
    trainer.optimizer.optimizer = torch.optim.AdamW([copy])
    assert worker.parts(trainer) == {"weights": 200, "gradients": 0, "optimizer": 800, "parameters": 100}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "fp32"),
        ({"task": {"mixed_precision": "bf16"}}, "mixed"),
        ({"task": {"mixed_precision": "none"}}, "fp32"),
        ({"common": {"fp16": True}}, "half"),
        ({"common": {"bf16": True}}, "half"),
        ({"common": {"fp16": True, "memory_efficient_fp16": True}}, "memory_efficient"),
        ({"common": {"bf16": True, "memory_efficient_bf16": True}}, "memory_efficient"),
    ],
)
def test_the_number_format_of_a_run(options, expected):
    common = dict.fromkeys(("fp16", "bf16", "memory_efficient_fp16", "memory_efficient_bf16"), False)
    cfg = OmegaConf.create({"common": common | options.get("common", {}), "task": options.get("task", {})})
    assert worker.precision_of(cfg) == expected


def test_memory_of_this_process_in_bytes():
    now, peak = worker.process_bytes("VmRSS"), worker.process_bytes("VmHWM")
    assert 50e6 < now <= peak < 1e11
    assert worker.process_bytes("VmNothing") == 0


@pytest.mark.parametrize(("batches", "accumulated"), [([(2, 5)], False), ([(2, 5), None, (1, 7)], True)])
def test_the_memory_of_a_language_model_is_predicted_from_its_largest_batch(
    tmp_path, monkeypatch, batches, accumulated
):
    asked = []
    monkeypatch.setattr(worker, "shape_of", lambda model, cfg: "shape")
    monkeypatch.setattr(worker, "precision_of", lambda cfg: "mixed")
    monkeypatch.setattr(
        worker, "predict", lambda shape, run: asked.append((shape, run)) or SimpleNamespace(peak=7, weights=4)
    )
    trainer = Toy("causal_lm", "adam")
    trainer.cfg.model = {"checkpoint_activations": accumulated}
    samples = [{} if size is None else {"net_input": {"src_tokens": torch.ones(size)}} for size in batches]
    observer = worker.Observer(tmp_path / "out.json")
    assert observer.predicted(trainer, samples) == {"predicted_peak": 7, "predicted_weights": 4}
    length = max(size[1] for size in batches if size)
    assert asked == [("shape", worker.Run(10, length, "adam", "mixed", False, accumulated, accumulated))]
    observer.found, observer.rates, observer.count = {"predicted_peak": 7}, [3.0, 9.0, 4.0], 5
    observer.write(None)
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["predicted_process"] == observer.runtime + 7 and found["tokens_per_second"] == 4.0
    assert (found["updates"], found["loss"]) == (5, None)


def test_libraries_of_the_options_are_loaded_before_the_model(monkeypatch):
    steps, loaded = [], []
    monkeypatch.setattr(worker, "toy_update", lambda *given: lambda: steps.append(torch.is_autocast_enabled("cpu")))
    monkeypatch.setattr(worker.importlib.util, "find_spec", lambda name: name != "bitsandbytes")
    monkeypatch.setattr(worker.importlib, "import_module", loaded.append)
    worker.warm_up(["d", "--peft", "lora", "--optimizer", "adamw_8bit", "--mixed-precision", "bf16"])
    worker.warm_up(["d", "--peft", "prompt"])
    assert steps == [True, False] and loaded == ["peft"]


def test_the_command_is_run_under_an_observer(tmp_path, monkeypatch):
    from fairseq_cli import train

    asked = []
    monkeypatch.setattr(worker, "warm_up", asked.append)
    monkeypatch.setattr(worker, "observe_updates", lambda observer: asked.append(observer.output))
    monkeypatch.setattr(train, "cli_main", lambda: asked.append(list(worker.sys.argv)))
    monkeypatch.setattr(worker.sys, "argv", ["x"])
    worker.main(str(tmp_path / "o.json"), ["d", "--cpu"])
    assert asked == [["d", "--cpu"], tmp_path / "o.json", ["fairseq-train", "d", "--cpu"]]
