"""Train a sentencepiece model in a separate process, so that its memory (20 bytes per character) is freed afterwards.

Run as a script, which imports nothing of this package: lines in UTF-8 on stdin, the model on stdout.
"""

import io
import json
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import Any


def train(lines: Iterable[str], options: dict[str, Any]) -> bytes:
    """Return the model of some lines.

    Args:
        options: options of ``SentencePieceTrainer.train``.

    Raises:
        RuntimeError: of sentencepiece.
    """
    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(lines), model_writer=model, **options)
    return model.getvalue()


def train_apart(lines: Iterable[str], options: dict[str, Any]) -> bytes:
    """Return the same model as :func:`train`, from another process, which ends if this one is interrupted.

    Args:
        lines: without line breaks.

    Raises:
        RuntimeError: of sentencepiece, or the process was killed.
    """
    command = [sys.executable, __file__, json.dumps(options)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdin and process.stdout and process.stderr
    try:
        with suppress(BrokenPipeError):  # it failed; its error follows
            for line in lines:
                process.stdin.write(line.encode() + b"\n")
            process.stdin.close()
        model, errors = process.stdout.read(), process.stderr.read()
        process.wait()
    except BaseException:
        process.kill()
        raise
    if process.returncode:
        killed = f"the process was killed (signal {-process.returncode})"
        raise RuntimeError(errors.decode(errors="replace").strip() or killed)
    return model


def main() -> None:
    """Train on the lines of stdin."""
    lines = (line.decode().removesuffix("\n") for line in sys.stdin.buffer)
    try:
        model = train(lines, json.loads(sys.argv[1]))
    except RuntimeError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("interrupted")
    sys.stdout.buffer.write(model)


if __name__ == "__main__":
    main()
