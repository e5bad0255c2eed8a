"""The least that a proxy must do: a process between client and upstream that only relays bytes.

`python -I -S relay.py COMMAND ARG ...` starts the upstream, and ends when the client or the upstream ends its output. Its pipes hold a
megabyte, if the system allows that.
"""

import contextlib
import os
import select
import subprocess
import sys

_PIPE_SIZE = 1 << 20
_F_SETPIPE_SZ = 1031


def main(command: list[str]) -> None:
    """Relay until one side ends."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as upstream:
        assert upstream.stdin is not None and upstream.stdout is not None
        there, back = upstream.stdin.fileno(), upstream.stdout.fileno()
        for pipe in (1, there, back):
            _enlarge(pipe)
        poll = select.poll()
        for source in (0, back):
            poll.register(source, select.POLLIN)
        while True:
            for source, _ in poll.poll():
                data = os.read(source, _PIPE_SIZE)
                if not data:
                    upstream.stdin.close()
                    return
                # A blocking pipe takes all of the data.
                os.write(there if source == 0 else 1, data)


def _enlarge(pipe: int) -> None:
    with contextlib.suppress(ImportError, OSError):
        import fcntl

        fcntl.fcntl(pipe, _F_SETPIPE_SZ, _PIPE_SIZE)


if __name__ == "__main__":
    main(sys.argv[1:])
