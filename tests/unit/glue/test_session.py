"""A session of fine-tuning runs: the request is checked before training."""

import pytest
import toy

from plugins.glue import session
from plugins.jobs import Resources


@pytest.fixture
def request_of(tmp_path):
    """A request for RTE, with the checkpoint given."""
    for split in ("train", "dev"):
        path = tmp_path / "glue" / "RTE" / f"{split}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("index\tsentence1\tsentence2\tlabel\n0\ta\tb\tentailment\n")
    options = {"seeds": [1], "cache_dir": "none", "hyperparameters": {}}
    return lambda checkpoint: session.Request(
        glue_dir=str(tmp_path / "glue"), checkpoint=str(checkpoint), output=str(tmp_path / "out"), tasks=["RTE"],
        intermediate=None, intermediate_for=None, config=None, skip_bad_rows=False, jobs=1, command="", **options,
    )  # fmt: skip


def test_the_folder_of_a_checkpoint_means_its_best(tmp_path, request_of):
    (tmp_path / "model").mkdir()
    with toy.refused(str(tmp_path / "model"), "checkpoint_best.pt"):
        session.prepare(request_of(tmp_path / "model"), Resources(cpu=True))
    (tmp_path / "model" / "checkpoint_best.pt").touch()
    (run,), setting = session.prepare(request_of(tmp_path / "model"), Resources(cpu=True))
    assert run.task == "RTE" and setting.checkpoint == tmp_path / "model" / "checkpoint_best.pt"
