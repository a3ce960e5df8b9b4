"""Every YAML under examples/clap_roberta/config as ``fairseq-hydra-train`` reads it, at toy size."""

import math
import shutil

import pytest
import torch
import toy
from fairseq import tasks
from fairseq.data.iterators import GroupedIterator
from fairseq.trainer import Trainer
from hydra_configs import composed, resolved
from omegaconf import OmegaConf

from plugins.checkpoints import roberta
from plugins.models import clap_roberta_config

CLAP_ROBERTA = toy.ROOT / "examples" / "clap_roberta" / "config"
RECIPES = ("tiny", "small", "wikitext103", "base_pile", "large_pile")
VARIANTS = sorted(path.stem for path in (CLAP_ROBERTA / "variant").glob("*.yaml"))
NAMED = sorted(path.stem for path in CLAP_ROBERTA.glob("*.yaml") if path.stem not in RECIPES)
RUNS = {f"{variant}_{recipe}": (recipe, f"variant={variant}") for recipe in RECIPES for variant in VARIANTS}
RUNS |= {name: (name,) for name in NAMED}


def config_of(name):
    """Return the config of a run, from a file of that name or from a recipe and a variant."""
    file, *overrides = RUNS[name]
    return composed(CLAP_ROBERTA / f"{file}.yaml", *overrides)


SMALL = [
    "common.cpu=true",
    "common.fp16=false",
    "task.tokens_per_sample=32",
    "dataset.batch_size=8",
    "dataset.num_workers=0",
    *(f"model.{name}={value}" for name, value in toy.SIZE.items()),
]


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)  # a second thread slows toy models down


def test_the_published_runs_have_files():
    variants = ("baseline", "learned_clap", "alibi", "zero_clap")
    assert {f"{variant}_{size}_pile" for variant in variants for size in ("base", "large")} <= set(NAMED)


@pytest.mark.parametrize("name", RUNS)
def test_one_update(name, toy_data, tmp_path):
    own = OmegaConf.from_dotlist([*SMALL, f"task.data={toy_data}", f"checkpoint.save_dir={tmp_path}"])
    cfg = resolved(OmegaConf.merge(config_of(name), own))
    task = tasks.setup_task(cfg.task)
    trainer = Trainer(cfg, task, task.build_model(cfg.model), task.build_criterion(cfg.criterion))
    batches = trainer.get_train_iterator(epoch=1).next_epoch_itr(shuffle=False)
    trainer.begin_epoch(1)
    log = trainer.train_step(next(GroupedIterator(batches, cfg.optimization.update_freq[0])))
    assert trainer.get_num_updates() == 1
    assert math.isfinite(log["loss"])


@pytest.mark.parametrize("name", RUNS)
def test_checkpoints_go_to_a_folder_of_that_name(name):
    scaled = name.startswith("zero_clap_") and name in NAMED and name.endswith("_pile")  # as published on the Pile
    folder = name.replace("zero_clap_", "zero_clap_scaled_") if scaled else name
    assert config_of(name).checkpoint.save_dir == f"checkpoints/{folder}"


# What was published: EIFY/fairseq, examples/roberta/config/pretraining, in that fork's own words

CLAP = {"dropout": 0.0, "layernorm_embedding": False, "contrastive_pretraining": True, "initial_beta": 1.0}
ALIBI = {"encoder_alibi": True, "encoder_alibi_asymmetrical": True}
ZERO_CLAP = CLAP | ALIBI | {"zero_masking": True, "attention_dropout": 0.0}
PILE_ZERO_CLAP = ZERO_CLAP | {"attention_dropout": 0.1, "no_scale_embedding": False}
PUBLISHED_MODELS = {
    "baseline_wikitext103": {},
    "sinusoidal_wikitext103": {"encoder_learned_pos": False},
    "alibi_wikitext103": ALIBI,
    "alibi_symmetric_wikitext103": {"encoder_alibi": True},
    "learned_clap_wikitext103": CLAP,
    "learned_clap_unnormalized_wikitext103": CLAP | {"l2norm_embedding": False},
    "zero_clap_wikitext103": ZERO_CLAP,
    "zero_clap_learned_mask_wikitext103": ZERO_CLAP | {"zero_masking": False},
    "zero_clap_attention_dropout_wikitext103": ZERO_CLAP | {"attention_dropout": 0.1},
    "zero_clap_scaled_wikitext103": PILE_ZERO_CLAP,
    "zero_clap_unnormalized_wikitext103": ZERO_CLAP | {"attention_dropout": 0.1, "l2norm_embedding": False},
    "zero_clap_self_masking_wikitext103": ZERO_CLAP,
    "baseline_base_pile": {},
    "alibi_base_pile": ALIBI,
    "learned_clap_base_pile": CLAP,
    "zero_clap_base_pile": PILE_ZERO_CLAP,
    "baseline_large_pile": {},
    "alibi_large_pile": ALIBI,
    "learned_clap_large_pile": CLAP,
    "zero_clap_large_pile": PILE_ZERO_CLAP,
}
PUBLISHED_RUNS = {
    "wikitext103": {
        "tokens": 512, "batch": 16, "update_freq": 16, "lr": 5e-4, "updates": 125_000,
        "schedule": "polynomial_decay", "min_lr": None, "period": None,
    },
    "base_pile": {
        "tokens": 2048, "batch": 4, "update_freq": 16, "lr": 6e-4, "updates": 133_082,
        "schedule": "cosine", "min_lr": 6e-5, "period": 146_390,
    },
    "large_pile": {
        "tokens": 2048, "batch": 2, "update_freq": 32, "lr": 4e-4, "updates": 133_082,
        "schedule": "cosine", "min_lr": 4e-5, "period": 146_390,
    },
}  # fmt: skip


@pytest.mark.parametrize(("name", "options"), PUBLISHED_MODELS.items(), ids=PUBLISHED_MODELS)
def test_the_model_is_the_published_one(name, options):
    cfg = resolved(config_of(name))
    size = "roberta_large" if "large" in name else "roberta_base"
    expected = roberta.of_roberta(size, options, {})
    model = {key: value for key, value in cfg.model.items() if value is not None}
    mask = "zero" if cfg.task.omit_mask else "learned"
    sizes = clap_roberta_config.SIZES[model["_name"].split("_")[-1]]
    model = clap_roberta_config.DEFAULTS | sizes | {"mask_embedding": mask} | model
    model.setdefault("normalize_embeddings", model["head"] == "clap")
    assert {key: model[key] for key in expected} == expected
    noise = {"dropout": 0.1, "attention_dropout": 0.1, "initial_beta": 1.0}
    assert {key: model[key] for key in noise} == {key: options.get(key, value) for key, value in noise.items()}
    masking = (0.0, 0.15) if "self_masking" in name else (0.15, 0.0)
    assert (cfg.task.mask_prob, model["self_mask_prob"]) == masking


@pytest.mark.parametrize("name", PUBLISHED_MODELS)
def test_the_hyper_parameters_are_the_published_ones(name):
    cfg = resolved(config_of(name))
    schedule, adam = cfg.lr_scheduler, cfg.optimizer
    pile = name.endswith("_pile")
    recipe = next(recipe for recipe in PUBLISHED_RUNS if name.endswith(recipe))
    assert PUBLISHED_RUNS[recipe] == {
        "tokens": cfg.task.tokens_per_sample,
        "batch": cfg.dataset.batch_size,
        "update_freq": cfg.optimization.update_freq[0],
        "lr": cfg.optimization.lr[0],
        "updates": cfg.optimization.max_update,
        "schedule": schedule._name,
        "min_lr": schedule.min_lr if pile else None,
        "period": schedule.lr_period_updates if pile else None,
    }
    assert (adam._name, adam.adam_betas, adam.adam_eps, adam.weight_decay) == ("adam", "(0.9,0.98)", 1e-6, 0.01)
    assert (schedule.warmup_updates, cfg.optimization.clip_norm, cfg.common.fp16) == (10_000, 0.0, True)
    if pile:
        assert (schedule.lr_shrink, cfg.optimization.max_epoch, cfg.checkpoint.save_interval_updates) == (1.0, 1, 5000)


# Command lines, from a folder that looks like the root of the repository


@pytest.fixture
def elsewhere(toy_data, tmp_path):
    for name in ("plugins", "examples"):
        (tmp_path / name).symlink_to(toy.ROOT / name)
    for name in ("embedded", "pile"):
        shutil.copytree(toy_data, tmp_path / "data-bin" / name)
    return tmp_path


def train(folder, name, *overrides):
    """Run a config as written except for its size, with relative paths only."""
    sizes = [part.replace("model.", "++model.") for part in SMALL]
    command = ["fairseq-hydra-train", "--config-dir", "examples/clap_roberta/config", "--config-name", name]
    done = toy.run_cli([*command, *sizes, *overrides], cwd=folder)
    assert done.status == 0, done.text
    return done


def test_paths_are_relative_to_the_start_directory(elsewhere):
    train(elsewhere, "zero_clap_tiny", "optimization.max_update=2")
    assert {path.name for path in elsewhere.iterdir()} == {"plugins", "examples", "data-bin", "checkpoints"}
    made = {path.name for path in (elsewhere / "checkpoints" / "zero_clap_tiny").iterdir()}
    usable = {"checkpoint_last.pt", "checkpoint_best.pt", "dict.txt", "sentencepiece.bpe.model"}
    assert made == usable | {".hydra", "hydra_train.log"}


def test_restart_from_an_earlier_checkpoint_with_another_seed(elsewhere):
    few = ("optimization.update_freq=[1]", "checkpoint.save_interval_updates=2", "optimization.max_update=4")
    train(elsewhere, "baseline_large_pile", *few)
    spike_cure = (
        "common.seed=2",
        "checkpoint.restore_file=checkpoints/baseline_large_pile/checkpoint_1_2.pt",
        "checkpoint.save_dir=checkpoints/baseline_large_pile_seed2",
    )
    done = train(elsewhere, "baseline_large_pile", *few, *spike_cure)
    assert "Loaded checkpoint checkpoints/baseline_large_pile/checkpoint_1_2.pt (epoch 1 @ 2 updates)" in done.text
    assert (elsewhere / "checkpoints" / "baseline_large_pile_seed2" / "checkpoint_1_4.pt").exists()
