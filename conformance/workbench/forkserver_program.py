"""The program of the fork server: it loads the mocks once and forks one for each request, ten times as fast as a start.

    python -I forkserver_program.py

Requests arrive on the socket that is its stdin (SOCK_SEQPACKET), one in each message. A request is a JSON object with `argv` (what would
follow `python -m mock_servers`), `environment` and `folder`. Three descriptors come with it, for the stdin, stdout and stderr of the mock.
The answer is the pid. The mock leads a session of its own, and by the time of the answer it is an orphan. So it belongs to the process that
adopts the orphans of this one (prctl PR_SET_CHILD_SUBREAPER).

The program ends when its stdin ends. Limits: Linux only; /proc shows the command line and the first environment of this program for
every mock.
"""

import json
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

#: runs a mock with these command-line arguments
Run = Callable[[list[str]], None]

#: bytes of a request
MAX_REQUEST = 1 << 16
#: exit status of a mock that ends with an exception (EX_SOFTWARE)
_BROKEN = 70
_STREAMS = 3


def serve(run: Run) -> None:
    """Fork and run a mock for each request, until the other side closes the socket."""
    with socket.socket(fileno=0) as requests:
        while True:
            message, streams, _, _ = socket.recv_fds(requests, MAX_REQUEST, _STREAMS)
            if not message:
                return
            pid = _fork_orphan(run, json.loads(message), streams)
            for descriptor in streams:
                os.close(descriptor)
            requests.send(str(pid).encode())


def _fork_orphan(run: Run, request: dict[str, Any], streams: list[int]) -> int:
    reader, writer = os.pipe()
    middle = os.fork()
    if middle == 0:
        pid = os.fork()
        if pid == 0:
            _become_mock(run, request, streams)
        os.write(writer, str(pid).encode())
        os._exit(0)
    # Once the process in the middle has gone, the mock is an orphan.
    os.waitpid(middle, 0)
    pid = int(os.read(reader, 20))
    os.close(reader)
    os.close(writer)
    return pid


def _become_mock(run: Run, request: dict[str, Any], streams: list[int]) -> NoReturn:
    code: Any = _BROKEN
    try:
        os.setsid()
        for place, descriptor in enumerate(streams):
            os.dup2(descriptor, place)
        os.closerange(_STREAMS, max(streams) + _STREAMS)
        os.chdir(request["folder"])
        os.environ.clear()
        os.environ.update(request["environment"])
        run(request["argv"])
    except SystemExit as end:
        code = end.code
    finally:
        os._exit(code if isinstance(code, int) else _BROKEN)


def main() -> None:
    """Serve the mocks' command line."""
    # An isolated interpreter finds no package of a source tree.
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    from mock_servers.cli import main as run_mock
    from mock_servers.remote import serve as _loaded_before_the_first_fork  # noqa: F401

    serve(run_mock)


if __name__ == "__main__":
    main()
