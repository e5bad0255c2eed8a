"""Children whose command line or environment a test reads. While a child's program begins, both are empty or those of its parent.

`Popen` returns in that moment. So a program begins with `ANNOUNCE`, and the test waits for its word.
"""

from __future__ import annotations

import subprocess

#: the first line of a Python program
ANNOUNCE = "print('here', flush=True)\n"


def wait_until_here(child: subprocess.Popen[bytes]) -> None:
    """Wait for the word of a program that begins with `ANNOUNCE`; its stdout is a pipe."""
    assert child.stdout is not None
    assert child.stdout.readline() == b"here\n"
