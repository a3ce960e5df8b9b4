"""``README.md`` of an exported folder: a model card with the run's own results."""

import contextlib
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from plugins.analysis.report.card import model_card
from plugins.checkpoints.options import as_dict
from plugins.data.glue import reader, specs
from plugins.data.mlm.folder import MANIFEST
from plugins.data.text import columnar
from plugins.errors import UserError
from plugins.files import read_json, split_paths
from plugins.tables import markdown

from .command_line import command_of

LICENSE_HINT = "license: # state one before you publish the model; the code in this folder has the MIT license\n"


def model_card_text(
    lm: Any, state: Mapping[str, Any], path: str | Path | None, name: str, pipeline: str, own: bool
) -> str:
    """Return the text of a model card.

    Args:
        lm: returned by ``plugins.hub.load``.
        state: the content of its checkpoint; {} for a model without a file.
        path: path of the checkpoint, or None.
        name: name of the model.
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
        text.append(markdown(["", ""], group["facts"]) + "\n")
    command = command_of(state, path)
    if command is not None:
        text.append(f"## Command\n\n```bash\n{command}\n```\n")
    hashes = hashes_of(state, path)
    if hashes:
        text.append("## Provenance\n")
        text.append(markdown(["", "SHA-256"], [(key, f"`{value}`") for key, value in hashes.items()]) + "\n")
    if facts["options"]:
        rows = [(f"`{key}`", value) for key, value in facts["options"]]
        text.append("<details><summary>All training options</summary>\n")
        text.append(markdown(["option", "value"], rows) + "\n\n</details>\n")
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
    data = dataset_of(state)
    found = result(
        task_type=pipeline,
        **data,
        dataset_split="validation",
        metric_type=metric,
        metric_name=f"{metric}, bits" if metric == "loss" else metric,
        metric_value=round(float(value), 4),
    )
    return {"model_name": name, "eval_results": [found]}


def dataset_of(state: Mapping[str, Any]) -> dict[str, str]:
    """Return the arguments of ``EvalResult`` that name the data: a task of GLUE, or the name of the data folder."""
    saved = (state.get("task_state") or {}).get("spec")
    if saved:
        task = specs.from_plain(saved).name
        return {"dataset_type": "glue", "dataset_name": f"GLUE {task}", "dataset_config": task.lower().replace("-", "")}
    data = (as_dict(state.get("cfg") or {}).get("task") or {}).get("data")
    name = os.path.basename(str(data or "").rstrip("/")) or "unknown"
    return {"dataset_type": name, "dataset_name": name}


def hashes_of(state: Mapping[str, Any], path: str | Path | None) -> dict[str, str]:
    """Return {what: SHA-256} of the checkpoint, of its dictionary, and of the training data that is still there."""
    hashes = {}
    if path is not None:
        hashes["checkpoint"] = sha256(path)
    dictionary = (state.get("task_state") or {}).get("dictionary_sha256")
    return hashes | ({"dictionary": dictionary} if dictionary else {}) | data_hashes(state)


def data_hashes(state: Mapping[str, Any]) -> dict[str, str]:
    """Return {file: SHA-256} of the files that a checkpoint was trained on; {} if they have been moved.

    A folder of ``scripts/prepare_mlm.py`` states the sums of its files in its manifest.
    """
    task = as_dict(as_dict(state.get("cfg") or {}).get("task") or {})
    found: dict[str, str] = {}
    for place in map(Path, split_paths(str(task.get("data") or ""))):
        if place.is_file():
            found[place.name] = sha256(place)
            continue
        manifest = read_json(place / MANIFEST, dict) if (place / MANIFEST).is_file() else {}
        stated = {name: entry["sha256"] for name, entry in (manifest.get("files") or {}).items()
                  if name.startswith("train") and isinstance(entry, dict) and "sha256" in entry}  # fmt: skip
        saved = (state.get("task_state") or {}).get("spec")
        files = [place / f"train{suffix}" for suffix in (".bin", ".jsonl", ".csv", ".tsv", ".parquet")]
        if saved:
            with contextlib.suppress(UserError):
                files = columnar.parts(reader.locate(place, specs.from_plain(saved), "train"))
        found |= stated or {file.name: sha256(file) for file in files if file.is_file()}
    return found


def sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
