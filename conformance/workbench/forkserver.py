"""Mocks behind a URL, forked from one process of the whole run (`mock_servers.forkserver`) in place of being started one by one.

Each mock is a process of its own all the same, with its own pipes, environment and folder, and a child of the runner, which
adopts the orphans of its descendants. What /proc shows of it has not the token of its check: the census must be told its pid.

Limits: Linux. One mock is forked at a time.
"""

from __future__ import annotations

import atexit
import json
import os
import socket
import subprocess
import threading
from functools import cache
from typing import TYPE_CHECKING

from conformance.errors import HarnessError
from conformance.workbench.census import adopt_orphans
from mock_servers import commands

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


class Born:
    """One forked mock."""

    def __init__(self, pid: int, streams: tuple[int, int, int]) -> None:
        self.pid = pid
        #: our ends of its stdin, stdout and stderr
        self.streams = streams
        self._code: int | None = None

    def poll(self) -> int | None:
        """The exit status as `Popen` has it, None while it runs."""
        if self._code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._code = os.waitstatus_to_exitcode(status)
        return self._code


class Nursery:
    """The process that forks; ends with this one."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                commands.nursery(),
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                env={"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"},
                start_new_session=True,
            )
        self._requests = ours
        self._turn = threading.Lock()
        atexit.register(self.close)

    def bear(self, command: Sequence[str], env: Mapping[str, str], folder: Path) -> Born:
        """Fork the mock that this command line of `mock_servers.commands` would start; returns when it runs. Raises `HarnessError`
        when the process that forks has gone.
        """
        argv = command[command.index(str(commands.MAIN)) + 1 :]
        request = {"argv": argv, "environment": dict(env), "folder": str(folder)}
        pipes = [os.pipe(), os.pipe(), os.pipe()]
        (stdin, our_stdin), (our_stdout, stdout), (our_stderr, stderr) = pipes
        try:
            with self._turn:
                socket.send_fds(self._requests, [json.dumps(request).encode()], [stdin, stdout, stderr])
                answer = self._requests.recv(20)
        except OSError as problem:
            raise HarnessError(f"no mock can be forked: {problem}") from problem
        finally:
            for descriptor in (stdin, stdout, stderr):
                os.close(descriptor)
        if not answer:
            raise HarnessError("no mock can be forked: the process that does it has gone")
        return Born(int(answer), (our_stdin, our_stdout, our_stderr))

    def close(self) -> None:
        """End the process that forks; mocks live on."""
        self._requests.close()
        self._process.wait(5)


@cache
def nursery() -> Nursery | None:
    """The one of this process, started at the first need; None where orphans cannot be adopted."""
    return Nursery() if adopt_orphans() else None
