"""How fairseq copies checkpoints."""

from pathlib import Path

import pytest
from fairseq.file_io import PathManager

from plugins.compat import checkpoint_files


def test_a_checkpoint_is_replaced_as_a_whole(tmp_path, monkeypatch):
    source, target = tmp_path / "new.pt", tmp_path / "checkpoint_last.pt"
    source.write_text("new")
    target.write_text("old")

    def killed(src_path, dst_path, overwrite=False):
        Path(dst_path).write_text("ne")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        checkpoint_files.copy_atomically(killed)(source, target)
    assert target.read_text() == "old"
    assert PathManager.copy(str(source), str(target), overwrite=True)
    assert target.read_text() == "new"
