"""The commands of examples/diagnostics/README.md are taken by the scripts' own parsers."""

import re
import shlex
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "examples" / "diagnostics" / "README.md").read_text(encoding="utf-8")
BLOCKS = "".join(re.findall(r"^```bash\n(.*?)^```", PAGE, flags=re.M | re.S)).replace("\\\n", " ")
COMMANDS = [shlex.split(line, comments=True) for line in BLOCKS.splitlines() if line.startswith("python scripts/")]


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: " ".join(words)[15:60])
def test_a_command_of_the_page_is_understood(words, load_script, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    script = load_script(Path(words[1]).stem)
    monkeypatch.setattr(sys, "argv", words[1:])
    assert script.parse_args(words[2:])


def test_every_script_of_the_package_is_on_the_page():
    names = {Path(words[1]).stem for words in COMMANDS}
    assert names >= {"inspect_data", "diagnose", "find_label_errors", "apply_labels", "benchmark_label_errors",
                     "select_data", "compare_data", "benchmark_selection", "lexical_bias"}  # fmt: skip
