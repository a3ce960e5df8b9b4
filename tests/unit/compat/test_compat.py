"""The list of repairs."""

from fairseq import checkpoint_utils

from plugins import compat


def test_what_was_repaired_is_listed():
    assert len(compat.REPAIRS) >= 6
    assert all(name and what for name, what in compat.REPAIRS)
    assert len({name for name, _ in compat.REPAIRS}) == len(compat.REPAIRS)


def test_installing_twice_changes_nothing():
    before = list(compat.REPAIRS), checkpoint_utils.load_checkpoint_to_cpu
    compat.install(None, None)
    assert (compat.REPAIRS, checkpoint_utils.load_checkpoint_to_cpu) == before
