"""``README.md`` of an exported folder: a model card with the run's own results."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from plugins.analysis.report.card import model_card

LICENSE_HINT = "license: # state one before you publish the model; the code in this folder has the MIT license\n"


def model_card_text(
    lm: Any, state: Mapping[str, Any], path: str | Path | None, name: str, pipeline: str, own: bool
) -> str:
    """Return the text of a model card.

    Args:
        lm: returned by ``plugins.hub.load``.
        state: the content of its checkpoint; {} for a model without a file.
        path: of the checkpoint, or None.
        name: of the model.
        pipeline: the Hub's name of the task.
        own: the folder contains code, which ``trust_remote_code=True`` runs.
    """
    facts = model_card(lm, state)
    front = front_matter(state, name, pipeline)
    call = f'pipeline("{pipeline}", model="{name}"' + (", trust_remote_code=True)" if own else ")")
    text = [front, f"# {name}\n", "```python\nfrom transformers import pipeline\n", f"model = {call}\n```\n"]
    if own:
        text.append("The Python files in this folder are the layers that the model was trained with.\n")
    for group in facts["card"]:
        text.append(f"## {group['name']}\n")
        text.append("| | |\n|---|---|\n" + "".join(f"| {key} | {cell(value)} |\n" for key, value in group["facts"]))
    hashes = hashes_of(state, path)
    if hashes:
        text.append("## Provenance\n")
        text.append("| | SHA-256 |\n|---|---|\n" + "".join(f"| {key} | `{value}` |\n" for key, value in hashes.items()))
    if facts["options"]:
        rows = "".join(f"| `{key}` | {cell(value)} |\n" for key, value in facts["options"])
        text.append("<details><summary>All training options</summary>\n\n| option | value |\n|---|---|")
        text.append(f"{rows}\n</details>\n")
    return "\n".join(part for part in text if part)


def front_matter(state: Mapping[str, Any], name: str, pipeline: str) -> str:
    """Return the YAML at the beginning of a card, with a ``model-index`` where the checkpoint states a result."""
    from huggingface_hub import EvalResult, ModelCardData

    data = ModelCardData(
        library_name="transformers",
        pipeline_tag=pipeline,
        tags=["fairseq"],
        **result_of(state, name, pipeline, EvalResult),
    )
    return f"---\n{LICENSE_HINT}{data.to_yaml()}\n---\n"


def result_of(state: Mapping[str, Any], name: str, pipeline: str, result: Any) -> dict[str, Any]:
    """Return the arguments of ``ModelCardData`` that make a ``model-index``; {} without a result."""
    value = (state.get("extra_state") or {}).get("best")
    value = (state.get("extra_state") or {}).get("val_loss") if value is None else value
    if not isinstance(value, int | float):
        return {}
    sections = state.get("cfg") or {}
    metric = (sections.get("checkpoint") or {}).get("best_checkpoint_metric") or "loss"
    data = os.path.basename(str((sections.get("task") or {}).get("data") or "").rstrip("/")) or "unknown"
    found = result(
        task_type=pipeline,
        dataset_type=data,
        dataset_name=data,
        dataset_split="validation",
        metric_type=metric,
        metric_name=f"{metric}, bits" if metric == "loss" else metric,
        metric_value=round(float(value), 4),
    )
    return {"model_name": name, "eval_results": [found]}


def hashes_of(state: Mapping[str, Any], path: str | Path | None) -> dict[str, str]:
    """Return {what: SHA-256} of the checkpoint and of the dictionary that it was trained with."""
    hashes = {}
    if path is not None:
        with open(path, "rb") as file:
            hashes["checkpoint"] = hashlib.file_digest(file, "sha256").hexdigest()
    dictionary = (state.get("task_state") or {}).get("dictionary_sha256")
    return hashes | ({"dictionary": dictionary} if dictionary else {})


def cell(value: Any) -> str:
    """Return a value as the cell of a Markdown table."""
    return str(value).replace("|", "\\|").replace("\n", " ")
