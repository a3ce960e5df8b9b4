"""Show that the memory of training a character model does not grow with the text.

Writes a text of each size, starts ``fairseq-train --task char_lm`` on it (encoding included), and prints the peak
resident memory of the process, pages of mapped files included, and the time in seconds. Linux.

    python benchmarks/char_memory.py --megabytes 10 1000
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
BLOCK = 1_000_000  # characters that are written again and again
ALPHABET = "\n" + " " * 5 + "abcdefghijklmnopqrstuvwxyzABCDEFGHIJ.,;éüאבג"


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", nargs="+", type=int, default=[10, 1000], help="sizes of the texts")
    parser.add_argument("--updates", type=int, default=200, help="of 64 windows of 64 characters")
    parser.add_argument("--folder", help="folder for the temporary texts (default: the system's)")
    return parser.parse_args()


def write_text(path, megabytes):
    block = "".join(random.Random(1).choices(ALPHABET, k=BLOCK)).encode()
    with open(path, "wb") as file:
        while file.tell() < megabytes * 10**6:
            file.write(block)


def train(text, save_dir, updates):
    """Return (peak resident memory in MB, seconds) of a run."""
    command = [
        Path(sys.executable).with_name("fairseq-train"), text, "--user-dir", ROOT / "plugins", "--task", "char_lm",
        "--arch", "char_lm_nano", "--batch-size", 64, "--max-update", updates, "--max-valid-steps", 50, "--save-dir",
        save_dir, "--cpu",
    ]  # fmt: skip
    start = time.perf_counter()
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    peak = 0
    for _ in process.stdout:  # VmHWM, because getrusage may report the peak of the parent process
        status = Path(f"/proc/{process.pid}/status")
        lines = status.read_text().splitlines() if status.exists() else []
        peak = max([peak, *(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))])
    if process.wait():
        sys.exit(f"error: fairseq-train failed: {' '.join(map(str, command))}")
    return peak / 1024, time.perf_counter() - start


def main():
    args = parse()
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        for megabytes in args.megabytes:
            text = os.path.join(folder, f"{megabytes}.txt")
            write_text(text, megabytes)
            peak, seconds = train(text, os.path.join(folder, f"run-{megabytes}"), args.updates)
            os.unlink(text)
            print(f"{megabytes:6d} MB of text: peak {peak:7.1f} MB, {seconds:6.1f} s", flush=True)


if __name__ == "__main__":
    main()
