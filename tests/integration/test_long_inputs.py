"""Peak memory of a process that encodes one input of 16,384 tokens."""

import pytest
import toy

pytestmark = pytest.mark.slow
LENGTH, LIMIT = 16_384, 2_000  # tokens, MB
# Layers follow one another and return their memory, so one of them has the peak of all; ALiBi needs more than rotary.
SCRIPT = """
import sys
import torch
from pathlib import Path
import plugins
from plugins.planning.models import build
torch.set_num_threads(1)
arch, words, length, *options = sys.argv[1:]
model, _ = build(arch, int(words), options, int(length), fake=False)
with torch.inference_mode():
    model.eval()(torch.randint(4, int(words) - 1, (1, int(length))), features_only=True)
status = Path("/proc/self/status").read_text().splitlines()
print(next(line for line in status if line.startswith("VmHWM")).split()[1])
"""


@pytest.mark.parametrize(
    ("arch", "words", "layers"),
    [("clap_roberta_tiny", 32_000, "--encoder-layers"), ("char_lm_small", 65, "--decoder-layers")],
)
def test_a_long_input_takes_less_than_2_gb(tmp_path, arch, words, layers):
    script = tmp_path / "peak.py"
    script.write_text(SCRIPT)
    outcome = toy.run_cli([script, arch, words, LENGTH, layers, 1, "--positions", "alibi"])
    assert outcome.status == 0, outcome.text
    assert int(outcome.out.split()[-1]) / 1000 < LIMIT
