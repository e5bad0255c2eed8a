"""Puts a server behind a URL into the background of a shell: the command returns when the server listens.

    url=$(python -m mock_servers http --background)

The server outlives the command, as with `ssh -f`, and ends itself after its `--max-life`. Limits: POSIX.
"""

import json
import os
import sys


def detach() -> None:
    """Fork, and return in the child only. The child then writes one JSON line with a `url` to stdout.

    The parent prints that URL and exits. If the child ends first, the parent exits with the child's status.
    """
    sys.stdout.flush()
    reader, writer = os.pipe()
    server = os.fork()
    if server == 0:
        # The server ends with its stdin, so its stdin becomes a pipe whose other end the server holds open itself.
        stdin, _ = os.pipe()
        os.dup2(stdin, 0)
        os.dup2(writer, 1)
        os.close(reader)
        return
    os.close(writer)
    with os.fdopen(reader) as lines:
        line = lines.readline()
    if not line:
        _, status = os.waitpid(server, 0)
        sys.exit(os.waitstatus_to_exitcode(status))
    print(json.loads(line)["url"])
    sys.exit()
