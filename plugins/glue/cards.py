"""Files that Hugging Face users expect with a fine-tuned model: JSON results and a model card."""

import os
import statistics
from pathlib import Path
from typing import Any

from plugins import tables
from plugins.data.glue.specs import MISMATCHED, SPECS, VALID, GlueSpec

from .predict import BATCH
from .report import SeedGroup, number, value_range

FOUR = (4, 1)  # decimals, factor


def hugging_face_name(spec: GlueSpec, split: str = VALID) -> str:
    """Return Hugging Face's name of a task, for example ``sst2`` or ``mnli-mm``."""
    return spec.name.lower().replace("-", "") + ("-mm" if split.endswith(MISMATCHED) else "")


def hugging_face_results(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the contents of ``{train,eval,all}_results.json``, with the keys of ``transformers.Trainer``."""
    epoch = float(result["epochs"])
    train = {
        "epoch": epoch,
        "train_loss": result["train_loss"],
        "train_runtime": result["train_seconds"],
        "train_samples": result["train_samples"],
        "train_samples_per_second": result["train_samples"] * epoch / result["train_seconds"],
        "train_steps_per_second": result["updates"] / result["train_seconds"],
    }
    found: dict[str, Any] = {"epoch": epoch}
    for split, values in result["valid"].items():
        mm = "_mm" if split.endswith(MISMATCHED) else ""
        found |= {f"eval_{name}{mm}": value for name, value in values.items()}
        seconds = max(values["runtime"], 1e-9)
        found[f"eval_samples_per_second{mm}"] = values["samples"] / seconds
        found[f"eval_steps_per_second{mm}"] = -(-values["samples"] // BATCH) / seconds
    return {"train": train, "eval": found, "all": train | found}


def data_set(spec: GlueSpec) -> tuple[str, str, str]:
    """Return name, type and configuration of a task's data as a card states them: GLUE's, or the user's own."""
    if SPECS.get(spec.name) == spec:
        return f"GLUE {spec.name}", "glue", hugging_face_name(spec)
    own = hugging_face_name(spec)
    return spec.name, own, own


def model_index(spec: GlueSpec, result: dict[str, Any]) -> str:
    """Return the YAML front matter of a model card, with the validation scores of a run."""
    name, kind, configuration = data_set(spec)
    values = result["valid"][VALID]
    metrics = "\n".join(
        f"    - name: {name}\n      type: {name}\n      value: {values[name]:.6f}" for name in spec.metrics
    )
    return f"""---
language: en
library_name: fairseq
pipeline_tag: text-classification
tags: [fairseq, {kind}]
datasets: [{kind}]
metrics: [{", ".join(spec.metrics)}]
model-index:
- name: {os.path.basename(os.path.dirname(result["checkpoint"]))}
  results:
  - task:
      name: Text Classification
      type: text-classification
    dataset:
      name: {name}
      type: {kind}
      args: {configuration}
    metrics:
{metrics}
---"""


def model_card(cell: SeedGroup, base_model: str | Path) -> str:
    """Return a model card of a cell's best run, with the ``model-index`` that the Hugging Face Hub reads.

    Args:
        cell: runs of one task.
        base_model: path of the pretrained checkpoint.
    """
    spec = cell.spec
    run, result = cell.best
    values = result["valid"][VALID]
    rows = [
        [name, number(values[name], 4), number(statistics.median(cell.values(name)), 4),
         value_range(cell.values(name), FOUR), number(cell.baseline(name), 4)]
        for name in spec.metrics
    ]  # fmt: skip
    head = ["metric", "this run", "median of the seeds", "range", "majority class"]
    labels = ", ".join(f"{i}: {name}" for i, name in enumerate(spec.id2label)) or f"scores, {spec.scale}"
    text = f"""{model_index(spec, result)}

# {spec.name}

Fine-tuned from `{base_model}` by `scripts/run_glue.py`: learning rate {run.lr:g}, batches of {run.batch_size} texts,
{result["epochs"]} epochs, seed {run.seed}{f", after {run.intermediate}" if run.intermediate else ""}.
Checkpoint: `{result["checkpoint"]}`. Labels: {labels}.

The epoch, the learning rate and this run among its {len(cell.runs)} seeds were chosen on the validation set that the
scores are from, so the scores are slightly optimistic.

{tables.markdown(head, rows)}

{cell.failed} of {len(cell.runs)} runs with these settings collapsed to a single class.
"""
    return "\n".join(text.splitlines()) + "\n"
