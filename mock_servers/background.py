"""A server behind a URL in the background, for a shell: the command returns when the server listens.

    url=$(python -m mock_servers http --background)

The server outlives the command, as `ssh -f` does, and ends itself after its `--max-life`. Limits: POSIX.
"""

import json
import os
import sys


def leave() -> None:
    """Return in a new process, whose first line on stdout is to have a `url`. The one that called prints that and
    ends, with the status of the new one if that one ends first.
    """
    sys.stdout.flush()
    heard, said = os.pipe()
    server = os.fork()
    if server == 0:
        # The end of its stdin would end the server, so it holds the other end of that itself.
        stdin, _ = os.pipe()
        os.dup2(stdin, 0)
        os.dup2(said, 1)
        os.close(heard)
        return
    os.close(said)
    with os.fdopen(heard) as lines:
        line = lines.readline()
    if not line:
        _, status = os.waitpid(server, 0)
        sys.exit(os.waitstatus_to_exitcode(status))
    print(json.loads(line)["url"])
    sys.exit()
