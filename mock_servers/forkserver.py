"""A process that has loaded everything and forks mocks behind a URL, because to load it takes ten times as long as to fork.

Requests come over the socket that is its stdin (SOCK_SEQPACKET), one in a message: a JSON object with `argv` (what would
follow `python -m mock_servers`), `environment` and `folder`, and beside it the three descriptors that are to be the
mock's stdin, stdout and stderr. The answer is the pid. The mock leads a session of its own and has lost its parent when the
answer comes, so that it belongs to whoever adopts the orphans of this process (prctl PR_SET_CHILD_SUBREAPER).

Ends with its stdin. Limits: Linux; the command line and the first environment of each mock, as /proc shows them, are those of
this process.
"""

import json
import os
import socket
from typing import Any, NoReturn

from mock_servers.lifecycle import BROKEN

#: bytes of a request
LONGEST = 1 << 16
_STREAMS = 3


def serve() -> None:
    """Fork until the other side closes."""
    # Everything that a mock needs is loaded here, once.
    from mock_servers.remote import serve as _loaded  # noqa: F401

    with socket.socket(fileno=0) as requests:
        while True:
            message, streams, _, _ = socket.recv_fds(requests, LONGEST, _STREAMS)
            if not message:
                return
            pid = _fork_orphan(json.loads(message), streams)
            for descriptor in streams:
                os.close(descriptor)
            requests.send(str(pid).encode())


def _fork_orphan(request: dict[str, Any], streams: list[int]) -> int:
    reader, writer = os.pipe()
    middle = os.fork()
    if middle == 0:
        pid = os.fork()
        if pid == 0:
            _become(request, streams)
        os.write(writer, str(pid).encode())
        os._exit(0)
    # Once the process in the middle has gone, the mock is an orphan.
    os.waitpid(middle, 0)
    pid = int(os.read(reader, 20))
    os.close(reader)
    os.close(writer)
    return pid


def _become(request: dict[str, Any], streams: list[int]) -> NoReturn:
    from mock_servers.cli import main

    code: Any = BROKEN
    try:
        os.setsid()
        for place, descriptor in enumerate(streams):
            os.dup2(descriptor, place)
        os.closerange(_STREAMS, max(streams) + _STREAMS)
        os.chdir(request["folder"])
        os.environ.clear()
        os.environ.update(request["environment"])
        main(request["argv"])
    except SystemExit as end:
        code = end.code
    finally:
        os._exit(code if isinstance(code, int) else BROKEN)
