"""A server whose forks are toy command lines: torch and fairseq are imported once, not once for each command.

``python fork_server.py FOLDER`` listens on ``FOLDER/socket`` until its standard input ends, and writes
``FOLDER/python``, a program that runs a script like Python does, in a fork of the server (tests/fork_client.py). The
fork imports ``plugins`` itself, as a new process does. It differs from a new process in what Python reads before it
starts: the hash seed, warning filters, and settings of OpenMP other than the number of threads.
"""

import ast
import atexit
import codecs
import contextlib
import fcntl
import gc
import importlib
import logging
import os
import selectors
import shutil
import signal
import socket
import sys
import threading
from pathlib import Path

import numpy as np
import torch

MODULES = (
    "fairseq", "fairseq.models.roberta", "fairseq.trainer", "fairseq.model_parallel.megatron_trainer", "hydra",
    "hydra._internal.hydra", "matplotlib.pyplot", "rouge_score.rouge_scorer", "scipy.stats", "sentencepiece",
    "sklearn.metrics", "sklearn.svm", "torch._dynamo", "torch.utils.tensorboard", "tqdm", "yaml",
)  # fmt: skip
ABOVE = 1000  # no process here has a file descriptor as high as this


def prepare(folder):
    """Import what the forks need, and write the program that takes Python's place."""
    level, handlers = logging.root.level, logging.root.handlers[:]
    for name in MODULES:
        with contextlib.suppress(ImportError):  # an extra that is not installed
            importlib.import_module(name)
    logging.root.setLevel(level)
    logging.root.handlers[:] = handlers  # fairseq's speech tasks add one, unless the program has
    program = folder / "python"
    (folder / "interpreter").symlink_to(sys.executable)  # a path without blanks, which #! cannot have
    client = Path(__file__).with_name("fork_client.py").read_text()
    program.write_text(f"#!{folder}/interpreter -IS\n{client}")
    program.chmod(0o755)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal reaches the clients
    gc.freeze()  # so that garbage collection in the forks does not copy these pages


def serve(folder):
    """Fork for each client; return in the forks alone, with the path of the script."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(folder / "socket"))
    listener.listen(64)
    selector = selectors.PollSelector()  # which has no file descriptor of its own
    for source in (sys.stdin, listener):
        selector.register(source, selectors.EVENT_READ, source)
    while True:
        for key, _ in selector.select():
            if key.fileobj is sys.stdin:
                shutil.rmtree(folder)
                sys.exit()
            if key.fileobj is listener:
                client, _ = listener.accept()
                request, files = receive(client)
                pid = os.fork()
                if pid == 0:
                    for key in selector.get_map().values():
                        if isinstance(key.fileobj, socket.socket):
                            key.fileobj.detach()
                    client.detach()
                    become(request, files, folder)
                    return sys.argv[0]
                watch(selector, client, files, pid)
            elif selector.get_map().get(key.fileobj) is key:
                end(selector, *key.data)


def receive(client):
    """Return the request of a client and the files that come with it."""
    size, files, _, _ = socket.recv_fds(client, 8, 250)
    content = client.recv(int.from_bytes(size, "big"), socket.MSG_WAITALL)
    return ast.literal_eval(content.decode()), files


def watch(selector, client, files, pid):
    """Wait for the end of a fork, and for that of its client."""
    for file in files:
        os.close(file)
    with contextlib.suppress(OSError):  # the client was killed meanwhile, which the selector reports
        client.sendall(pid.to_bytes(8, "big"))
    ended = os.pidfd_open(pid)
    for source in (ended, client):
        selector.register(source, selectors.EVENT_READ, (client, ended, pid, source is client))


def end(selector, client, ended, pid, killed):
    """Report the end of a fork to its client; end the fork of a client that was killed."""
    for source in (ended, client):
        selector.unregister(source)
    if killed:
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    with contextlib.suppress(OSError):
        client.sendall(status.to_bytes(8, "big"))
    client.close()
    os.close(ended)


def become(request, files, folder):
    """Take over a client's folder, files, environment and signals."""
    (os.setsid if request["leads_session"] else os.setpgrp)()
    lent = [fcntl.fcntl(file, fcntl.F_DUPFD, ABOVE) for file in files]
    os.closerange(0, ABOVE)
    for file, number in zip(lent, request["files"], strict=True):
        os.dup2(file, number)
        os.close(file)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in request["ignored"]:
        signal.signal(number, signal.SIG_IGN)
    before, threads = python_path(), os.environ.get("OMP_NUM_THREADS")
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    script = request["arguments"][0]
    sys.path[: 1 + len(before)] = [os.path.dirname(os.path.realpath(script)), *python_path()]
    sys.argv[:] = request["arguments"]
    sys.executable = str(folder / "python")
    importlib.invalidate_caches()
    open_streams()
    np.random.seed()
    if os.environ.get("OMP_NUM_THREADS", threads) != threads:
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))


def python_path():
    return [os.path.abspath(path) for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]


def open_streams():
    """Open standard input, output and errors as Python does when it starts."""
    encoding, _, errors = os.environ.get("PYTHONIOENCODING", "").partition(":")
    encoding = codecs.lookup(encoding or "utf-8").name
    unbuffered = bool(os.environ.get("PYTHONUNBUFFERED"))
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        how = {"encoding": encoding, "errors": "backslashreplace" if number == 2 else errors or "strict"}
        stream = open(number, "w" if number else "r", newline="\n" if number else None, closefd=False, **how)
        if number:
            by_line = not unbuffered and (number == 2 or stream.isatty())
            stream.reconfigure(line_buffering=by_line, write_through=unbuffered)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def run(script):
    """Run a script and end as Python does, without clearing modules and libraries: that takes as long as a toy run."""
    main = sys.modules["__main__"] = type(sys)("__main__")
    main.__file__, status = script, 0
    try:
        exec(compile(Path(script).read_bytes(), script, "exec"), main.__dict__)
    except SystemExit as end:
        status = end.code or 0
        if not isinstance(status, int):
            print(status, file=sys.stderr)
            status = 1
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__.tb_next)
        status = -signal.SIGINT if isinstance(error, KeyboardInterrupt) else 1
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    if status < 0:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    os._exit(status & 0xFF)


if __name__ == "__main__":
    prepare(Path(sys.argv[1]))
    run(serve(Path(sys.argv[1])))
