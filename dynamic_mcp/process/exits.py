"""Notices the exit of a child process, and leaves the process unreaped."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable


def watch_exit(process: subprocess.Popen[bytes], on_exit: Callable[[], None]) -> None:
    """Call ``on_exit`` in the running loop once the process has exited: by pidfd where the system has it, else by a thread."""
    loop = asyncio.get_running_loop()
    if hasattr(os, "pidfd_open"):
        try:
            descriptor = os.pidfd_open(process.pid)
        except OSError:
            pass
        else:

            def exited() -> None:
                loop.remove_reader(descriptor)
                os.close(descriptor)
                on_exit()

            loop.add_reader(descriptor, exited)
            return

    def wait() -> None:
        if sys.platform == "win32":
            process.wait()
        else:
            with contextlib.suppress(ChildProcessError):
                os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        # The loop may be closed.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(on_exit)

    threading.Thread(target=wait, name=f"wait-{process.pid}", daemon=True).start()
