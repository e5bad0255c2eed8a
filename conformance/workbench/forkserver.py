"""Forks mocks behind a URL from one process of the whole run (`forkserver_program`), which is faster than to start each of them.

Each mock is a process of its own with its own pipes, environment and folder. It is a child of the runner, which adopts the orphans of
its descendants. /proc does not show the token of its check, so the caller includes its pid in the census.

Limits: Linux only; one fork at a time.
"""

from __future__ import annotations

import atexit
import json
import os
import socket
import subprocess
import sys
import threading
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from conformance.errors import HarnessError
from conformance.workbench.census import adopt_orphans
from mock_servers import commands

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_PROGRAM = str(Path(__file__).with_name("forkserver_program.py"))


class ForkedMock:
    """One forked mock."""

    def __init__(self, pid: int, streams: tuple[int, int, int]) -> None:
        self.pid = pid
        #: our ends of its stdin, stdout and stderr
        self.streams = streams
        self._code: int | None = None

    def poll(self) -> int | None:
        """The exit status as `subprocess.Popen.poll` returns it; None while the mock runs."""
        if self._code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._code = os.waitstatus_to_exitcode(status)
        return self._code


class ForkServer:
    """The process that forks. It ends with the runner."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-I", _PROGRAM],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                env={"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"},
                start_new_session=True,
            )
        self._requests = ours
        self._turn = threading.Lock()
        atexit.register(self.close)

    def fork(self, command: Sequence[str], env: Mapping[str, str], folder: Path) -> ForkedMock:
        """Fork the mock that this command line of `mock_servers.commands` would start. Raises `HarnessError` when the fork server
        has gone.
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
            raise HarnessError(f"cannot fork a mock: {problem}") from problem
        finally:
            for descriptor in (stdin, stdout, stderr):
                os.close(descriptor)
        if not answer:
            raise HarnessError("cannot fork a mock: the fork server has gone")
        return ForkedMock(int(answer), (our_stdin, our_stdout, our_stderr))

    def close(self) -> None:
        """End the fork server; its mocks live on."""
        self._requests.close()
        self._process.wait(5)


@cache
def fork_server() -> ForkServer | None:
    """The fork server of this run, started at the first call; None on systems where the runner cannot adopt orphans."""
    return ForkServer() if adopt_orphans() else None
