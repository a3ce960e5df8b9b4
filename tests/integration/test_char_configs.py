"""Every YAML under examples/char_lm/config as ``fairseq-hydra-train`` reads it: an update at toy size; its numbers."""

import math

import pytest
import toy
from fairseq import tasks
from fairseq.data.iterators import GroupedIterator
from fairseq.trainer import Trainer
from hydra_configs import composed, resolved
from omegaconf import OmegaConf

FOLDER = toy.ROOT / "examples" / "char_lm" / "config"
CORPORA = sorted(path.stem for path in FOLDER.glob("*.yaml"))
SMALL = [
    "common.cpu=true", "common.seed=1", "dataset.batch_size=4", "dataset.batch_size_valid=4",
    "model.decoder_layers=3", "model.decoder_attention_heads=2", "model.decoder_embed_dim=16", "model.block_size=16",
]  # fmt: skip
FORMS = {  # by the end of a name: layers with the adapter, where the style comes from
    "baseline": ("none", None),
    "every_other": ("every_other", "running_mean"),
    "every": ("every", "running_mean"),
    "published": ("every", "published"),
}
PUBLISHED = {  # by corpus: unit, batch, updates, learning rate, its end, warm-up
    "shakespeare_char": (None, 64, 5_000, 1e-3, 1e-4, 100),
    "enwik8": ("byte", 32, 100_000, 5e-4, 5e-5, 200),
    "text8": ("char", 32, 100_000, 5e-4, 5e-5, 200),
}


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """A folder with two files, each a style, and one with a file alone."""
    folder = tmp_path_factory.mktemp("text")
    (folder / "styles").mkdir()
    lines = "\n".join(toy.sentences(60))
    (folder / "one.txt").write_text(lines)
    (folder / "styles" / "calm.txt").write_text(lines)
    (folder / "styles" / "loud.txt").write_text(lines.replace("a", "e").replace(" .", " !"))
    return folder


def config_of(corpus, form):
    return composed(FOLDER / f"{corpus}.yaml", f"variant={form}")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("corpus", CORPORA)
def test_one_update(corpus, form, text, tmp_path):
    data = text / ("styles" if corpus == "styles" else "one.txt")
    parts = [name for name in ("valid_data", "test_data") if config_of(corpus, form).task.get(name)]
    own = [*SMALL, f"task.data={data}", *(f"task.{name}={data}" for name in parts), f"checkpoint.save_dir={tmp_path}"]
    cfg = resolved(OmegaConf.merge(config_of(corpus, form), OmegaConf.from_dotlist(own)))
    task = tasks.setup_task(cfg.task)
    model = task.build_model(cfg.model)
    trainer = Trainer(cfg, task, model, task.build_criterion(cfg.criterion))
    batches = trainer.get_train_iterator(epoch=1).next_epoch_itr(shuffle=False)
    trainer.begin_epoch(1)
    log = trainer.train_step(next(GroupedIterator(batches, cfg.optimization.update_freq[0])))
    assert trainer.get_num_updates() == 1 and math.isfinite(log["loss"])
    styles = 2 if corpus == "styles" else 4
    assert model.num_styles == (styles if cfg.model.style_layers != "none" else 0)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("corpus", CORPORA)
def test_checkpoints_go_to_a_folder_of_that_name(corpus, form):
    assert config_of(corpus, form).checkpoint.save_dir == f"checkpoints/{corpus}_{form}"


@pytest.mark.parametrize("corpus", [*PUBLISHED, "styles"])
@pytest.mark.parametrize("form", FORMS)
def test_the_form_is_that_of_the_name(corpus, form):
    model = config_of(corpus, form).model
    assert (model.style_layers, model.get("style_inference")) == FORMS[form]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("corpus", PUBLISHED)
def test_size_and_schedule_are_the_published_ones(corpus, form):
    cfg = config_of(corpus, form)
    model, schedule, adam = cfg.model, cfg.lr_scheduler, cfg.optimizer
    size = (model.decoder_layers, model.decoder_attention_heads, model.decoder_embed_dim, model.block_size)
    assert (*size, model.dropout) == (6, 6, 384, 256, 0.2)
    assert PUBLISHED[corpus] == (
        cfg.task.get("unit"), cfg.dataset.batch_size, cfg.optimization.max_update, cfg.optimization.lr[0],
        schedule.min_lr, schedule.warmup_updates,
    )  # fmt: skip
    assert (schedule._name, cfg.optimization.clip_norm) == ("cosine", 1.0)
    assert (adam._name, adam.adam_betas, adam.weight_decay) == ("fused_adamw", "(0.9,0.99)", 0.1)


def test_the_nano_recipe_is_that_of_nano_gpt():
    cfg = config_of("nano", "baseline")
    model = cfg.model
    assert (model.decoder_layers, model.decoder_attention_heads, model.decoder_embed_dim) == (4, 4, 128)
    assert (model.block_size, cfg.dataset.batch_size, cfg.optimization.max_update, model.dropout) == (64, 12, 2000, 0)


@pytest.mark.slow
def test_the_command_line_runs_a_config_as_written(text, tmp_path):
    (tmp_path / "plugins").symlink_to(toy.ROOT / "plugins")
    (tmp_path / "examples").symlink_to(toy.ROOT / "examples")
    command = ["fairseq-hydra-train", "--config-dir", "examples/char_lm/config", "--config-name", "styles"]
    more = [part.replace("model.", "++model.") for part in SMALL]
    more += [f"task.data={text / 'styles'}", "variant=every", "optimization.max_update=2"]
    done = toy.run_cli([*command, *more], cwd=tmp_path)
    assert done.status == 0, done.text
    assert (tmp_path / "checkpoints" / "styles_every" / "checkpoint_last.pt").exists()
