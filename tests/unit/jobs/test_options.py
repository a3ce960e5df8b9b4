"""Options of runs are parsed before the first run starts."""

import pytest
import toy

from plugins.jobs import Job, Resources, Runner

WRONG = {
    "unknown": (["--bogus", "1"], "--bogus"),
    "a value": (["--max-update", "many"], "--max-update"),
    "a learning rate": (["--lr", "1e-3x"], "--lr"),
    "an architecture": (["--arch", "char_lm_huge"], "char_lm_huge"),
    "help": (["--help"], "fairseq-train"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_option_of_one_run_is_found_before_any_starts(tmp_path, case):
    words, named = WRONG[case]
    common = ("fairseq-train", "text.txt", "--user-dir", str(toy.ROOT / "plugins"), "--task", "char_lm", "--arch",
              "char_lm_nano")  # fmt: skip
    with toy.refused("second", named), Runner(tmp_path / "out", Resources(cpu=True)) as runner:
        runner.run([Job("first", common), Job("second", (*common, *words))])
    assert not (tmp_path / "out").exists()
