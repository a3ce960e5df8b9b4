"""Run a Python script in a fork of tests/fork_server.py, and end as the fork does.

Called in the place of Python, with ``TOY_FORK_SERVER`` naming the server's socket and ``TOY_FORK_PYTHON`` the real
Python. The fork gets this process's environment, folder and open files; signals are passed on to it.
"""

import os
import signal
import socket
import sys

PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def run(arguments):
    """Run a script with its arguments; the process ends with the status or the signal that ended the fork."""
    server = socket.socket(socket.AF_UNIX)
    server.connect(os.environ["TOY_FORK_SERVER"])
    files = open_files(but=server.fileno())
    ignored = [int(number) for number in PASSED_ON if signal.getsignal(number) is signal.SIG_IGN]
    request = {
        "arguments": arguments, "environment": dict(os.environ), "folder": os.getcwd(), "files": files,
        "leads_session": os.getsid(0) == os.getpid(), "ignored": ignored,
    }  # fmt: skip
    content = repr(request).encode()
    socket.send_fds(server, [len(content).to_bytes(8, "big")], files)
    server.sendall(content)
    pid = receive(server)
    for number in PASSED_ON:
        if number not in ignored:
            signal.signal(number, lambda number, _: os.kill(pid, number))
    status = os.waitstatus_to_exitcode(receive(server))
    if status < 0:
        if -status not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status)


def open_files(but):
    """Return this process's file descriptors, except one."""
    listed = [int(name) for name in os.listdir("/proc/self/fd")]
    return [file for file in listed if file != but and os.path.exists(f"/proc/self/fd/{file}")]


def receive(server):
    number = server.recv(8, socket.MSG_WAITALL)
    if len(number) < 8:
        sys.exit("the fork server has ended")
    return int.from_bytes(number, "big")


if __name__ == "__main__":
    if sys.argv[1:] and not sys.argv[1].startswith("-"):
        run(sys.argv[1:])
    os.execv(os.environ["TOY_FORK_PYTHON"], [os.environ["TOY_FORK_PYTHON"], *sys.argv[1:]])
