"""The interface that users and checkpoints rely on: names, flags, state-dict keys, imports.

To accept a change: ``python tests/contracts/test_registry.py`` rewrites the JSON files next to this one.
"""

import argparse
import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
for folder in (ROOT, ROOT / "tests"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

HEAVY = ["matplotlib", "plotly", "pandas", "transformers", "peft", "tokenizers", "safetensors", "rouge_score",
         "submitit"]  # fmt: skip
ALLOWED = {  # importer: the parts of ours that it may import
    "modules": {"modules"},
    "errors": set(),
    "plain_data": {"errors"},
    "atomic": {"errors", "locks"},
    "files": {"errors", "plain_data", "atomic"},
    "numpy_files": {"errors", "files"},
    "options": {"errors"},
    "locks": {"errors"},
    "user_dir": {"errors"},
    "tables": {"errors"},
    "jobs": {"checkpoints", "jobs", "analysis", "tables", "errors", "files", "atomic", "locks"},
    "compat": {"compat", "checkpoints", "errors", "files", "atomic", "locks"},
    "checkpoints": {"checkpoints", "models", "data", "errors", "files", "options"},  # models: the configs
    "data": {"data", "errors", "files", "numpy_files", "plain_data", "atomic", "locks", "compat"},
    "peft": {"peft", "modules", "errors", "options"},
    "models": {"checkpoints", "models", "modules", "peft", "data", "errors", "options", "compat"},
    "tasks": {"checkpoints", "tasks", "data", "errors", "files", "options", "compat"},
    "criterions": {"criterions", "modules", "data", "analysis", "errors", "options", "plain_data", "compat"},
    "optim": {"optim", "errors"},
    "planning": {"planning", "models", "modules", "data", "options", "compat", "tables", "errors", "files"},
    "diagnostics": {"diagnostics", "tables", "analysis", "data", "errors", "files", "numpy_files"},
    "analysis": {
        "checkpoints",
        "analysis",
        "tables",
        "modules",
        "models",
        "data",
        "errors",
        "files",
        "plain_data",
        "compat",
    },  # fmt: skip
}


def registered():
    """Return {kind: {name: class}} of what this package registers."""
    from fairseq.criterions import CRITERION_REGISTRY
    from fairseq.models import ARCH_MODEL_REGISTRY, MODEL_REGISTRY
    from fairseq.optim import OPTIMIZER_REGISTRY
    from fairseq.tasks import TASK_REGISTRY

    import plugins  # noqa: F401

    registries = {"models": MODEL_REGISTRY, "architectures": ARCH_MODEL_REGISTRY, "tasks": TASK_REGISTRY,
                  "criterions": CRITERION_REGISTRY, "optimizers": OPTIMIZER_REGISTRY}  # fmt: skip
    return {
        kind: {name: cls for name, cls in registry.items() if cls.__module__.startswith("plugins.")}
        for kind, registry in registries.items()
    }


def flags_of(cls):
    """Return the flags that a registered class adds to a command line of its own."""
    parser = argparse.ArgumentParser(add_help=False)
    cls.add_args(parser)
    return sorted(option for action in parser._actions for option in action.option_strings)


STACKS = {  # what shares a command line: model, task, criterion, optimizer
    "masked LM": ("clap_roberta", "clap_masked_lm", "clap_masked_lm", "fused_adamw"),
    "GLUE": ("clap_roberta", "glue", "glue", "fused_adamw"),
    "character LM": ("char_lm", "char_lm", "style_lm", "fused_adamw"),
    "causal LM": ("causal_lm", "causal_lm", "causal_lm", "fused_adamw"),
    "summarization": ("causal_lm", "summarization", "summarization", "fused_adamw"),
    "embedding": ("clap_roberta", "embedding", "metric_learning", "fused_adamw"),
    "preference": ("clap_roberta", "preference", "preference", "fused_adamw"),
    "preference by a causal LM": ("causal_lm", "preference", "preference", "fused_adamw"),
    "embedding by a causal LM": ("causal_lm", "embedding", "metric_learning", "fused_adamw"),
    "embedding by a character LM": ("char_lm", "embedding", "metric_learning", "fused_adamw"),
}
KINDS = ("models", "tasks", "criterions", "optimizers")


def flags():
    """Return {"models clap_roberta": flags, ...} of all that is registered."""
    classes = registered()
    return {f"{kind} {name}": flags_of(cls) for kind in KINDS for name, cls in sorted(classes[kind].items())}


CHAR_LMS = {
    "char_lm": {"bias": True},
    "char_lm with styles": {"style_layers": "every"},
    "char_lm as published": {"style_layers": "every_other", "style_inference": "published"},
}


def char_lm_keys(options):
    from types import SimpleNamespace

    from omegaconf import OmegaConf

    from plugins.models.char_lm import CharLanguageModel
    from plugins.models.char_lm_config import CharLMConfig
    from plugins.options import NO_START

    sizes = {"decoder_layers": 4, "decoder_attention_heads": 2, "decoder_embed_dim": 32, "block_size": 48}
    config = OmegaConf.structured(CharLMConfig(**NO_START, **sizes, **options))
    task = SimpleNamespace(source_dictionary=range(65), style_names=[])
    return {k: list(v.shape) for k, v in CharLanguageModel.build_model(config, task).state_dict().items()}


def causal_lm_keys():
    from plugins.checkpoints import new_model
    from plugins.data.text.causal_tokenizers import Characters
    from plugins.data.text.token_dictionary import TokenDictionary
    from plugins.models.causal_lm import CausalLanguageModel

    sizes = {"decoder_layers": 2, "decoder_attention_heads": 2, "decoder_embed_dim": 32, "block_size": 48}
    model = new_model(CausalLanguageModel, sizes, TokenDictionary(Characters(map(chr, range(65)))))
    return {k: list(v.shape) for k, v in model.state_dict().items()}


def state_dict_keys(data):
    import toy

    shapes = {name: char_lm_keys(options) for name, options in CHAR_LMS.items()} | {"causal_lm": causal_lm_keys()}
    for variant, options in toy.VARIANTS.items():
        task = toy.make_task(data, omit_mask="mask_embedding" in options)
        words = len(task.dictionary)
        state = toy.make_model(task, **options).state_dict()
        shapes[variant] = {k: ["V" if n == words else n for n in v.shape] for k, v in state.items()}
    return shapes


def check(name, actual):
    expected = json.loads((HERE / f"{name}.json").read_text(encoding="utf-8"))
    assert json.loads(json.dumps(actual)) == expected


def test_registered_names():
    check("names", {kind: sorted(classes) for kind, classes in registered().items()})


def test_every_name_we_mean_to_register_is_ours():
    """A clash would silently keep fairseq's own class."""
    classes = registered()
    sizes = {f"clap_roberta_{size}" for size in ("tiny", "small", "base", "large")}
    sizes |= {f"{twin}char_lm_{size}" for twin in ("", "style_") for size in ("nano", "small", "deep")}
    sizes |= {f"causal_lm_{size}" for size in ("tiny", "small", "medium", "large", "xl")}
    assert sizes <= set(classes["architectures"])
    for stack in STACKS.values():
        for kind, name in zip(KINDS, stack, strict=True):
            assert classes[kind][name].__module__.startswith("plugins.")


def test_flags():
    check("flags", flags())


def test_defaults():
    """A changed default changes the results of a command that does not name the option."""
    check("defaults", every_default())


def every_default():
    import defaults

    classes = registered()
    return {"flags": defaults.of_flags(classes), "architectures": defaults.of_architectures(classes),
            "python": defaults.of_python()}  # fmt: skip


@pytest.mark.parametrize("stack", STACKS)
def test_no_flag_is_shared_by_model_task_and_criterion(stack):
    """One slot of the command line would serve both. (Links to fairseq's own options are meant.)"""
    from fairseq.dataclass.configs import FairseqConfig

    given = flags()
    common = set()
    for section in FairseqConfig.__dataclass_fields__.values():
        if hasattr(section.type, "__dataclass_fields__"):
            common |= {"--" + name.replace("_", "-") for name in section.type.__dataclass_fields__}
    seen = {}
    owners = [f"{kind} {name}" for kind, name in zip(KINDS, STACKS[stack], strict=True)]
    for owner in owners:
        for flag in given[owner]:
            if flag in common:
                continue
            assert flag not in seen, f"{flag} of {owner} is a flag of {seen.get(flag)} too"
            seen[flag] = owner
    links = {flag for owner in owners for flag in given[owner] if flag in common}
    assert links <= {"--save-dir", "--restore-file", "--finetune-from-model", "--seed", "--lr"}


def test_every_flag_has_a_help():
    classes = registered()
    for cls in (cls for kind in KINDS for cls in classes[kind].values()):
        for field in cls.__dataclass.__dataclass_fields__.values():
            linked = isinstance(field.default, str) and field.default.startswith("${")
            assert linked or field.name == "_name" or field.metadata.get("help"), field.name


def test_state_dict_keys(toy_data):
    check("state_dict_keys", state_dict_keys(toy_data))


def modules_after(code):
    result = subprocess.run(
        [sys.executable, "-c", code + "\nimport sys; print('MODULES', *sorted(sys.modules))"],
        capture_output=True, text=True, timeout=180, cwd=ROOT,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("MODULES")]
    return set(line.split()[1:])


def test_importing_the_package_leaves_logging_as_it_was():
    code = "import logging, plugins; assert (logging.root.level, logging.root.handlers) == (logging.WARNING, [])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=180, cwd=ROOT)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


@pytest.mark.slow
def test_importing_the_package_pulls_in_nothing_heavy():
    ours = {name.split(".")[0] for name in modules_after("import plugins")}
    fairseqs = {name.split(".")[0] for name in modules_after(
        "import fairseq, fairseq.tasks, fairseq.models, fairseq.criterions, fairseq.optim, fairseq.models.roberta"
    )}  # fmt: skip
    assert not ours & set(HEAVY) - fairseqs
    assert ours - fairseqs - {"plugins"} <= {"sentencepiece", "_sentencepiece", "google", "pydoc_data", "regex"} | set(
        sys.stdlib_module_names
    )


def our_imports(path):
    """Return the top-level parts of the package that a file imports."""
    parts = set()
    package = path.relative_to(ROOT).parts[:-1]  # ("plugins", "models")
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            base = list(package[: len(package) - node.level + 1]) if node.level else []
            base += node.module.split(".") if node.module else []
            targets = [".".join([*base, alias.name]) for alias in node.names]
        elif isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        else:
            continue
        parts |= {target.split(".")[1] for target in targets if target.startswith("plugins.")}
    return parts


FILES = sorted(
    path for path in (ROOT / "plugins").rglob("*.py") if path.name != "__init__.py" or path.parent.name != "plugins"
)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_import_arrows(path):
    part = path.relative_to(ROOT / "plugins").parts[0].removesuffix(".py")
    if part in ("hub", "glue", "embeddings", "mlm"):
        return  # the top layer may import any part
    assert our_imports(path) <= ALLOWED[part]


@pytest.mark.parametrize(
    "path", [p for p in FILES if p.relative_to(ROOT / "plugins").parts[0] == "modules"], ids=lambda p: p.name
)
def test_modules_are_plain_torch(path):
    names = {
        (node.module if isinstance(node, ast.ImportFrom) else node.names[0].name) or ""
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import | ast.ImportFrom) and not getattr(node, "level", 0)
    }
    assert not [name for name in names if name.split(".")[0] in ("fairseq", "omegaconf", "hydra", "plugins")]


@pytest.mark.parametrize("folder", ["examples", "scripts", "tests"])
def test_folders_that_fairseq_could_import_are_not_packages(folder):
    own = ROOT / "examples" / "own_plugin" / "own_plugin"  # a plugin, which --user-dir imports by its own name
    assert [path for path in (ROOT / folder).rglob("__init__.py") if path.parent != own] == []


if __name__ == "__main__":
    import tempfile

    import toy

    contents = {
        "names": {kind: sorted(classes) for kind, classes in registered().items()},
        "flags": flags(),
        "defaults": every_default(),
        "state_dict_keys": state_dict_keys(toy.make_data(tempfile.mkdtemp())),
    }
    for name, value in contents.items():
        text = json.dumps(value, indent=1, ensure_ascii=False)
        (HERE / f"{name}.json").write_text(text + "\n", encoding="utf-8")
