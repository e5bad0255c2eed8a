"""The page of a sign-in that waits for the user, and the command for a sign-in without the proxy."""

from __future__ import annotations

import asyncio
import shlex
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path


class SignInPage:
    """Where the user signs in, while a sign-in waits for it."""

    def __init__(self, address: str, open_browser: Callable[[], Awaitable[None]]) -> None:
        """``open_browser`` shows the address without the client."""
        self.address = address
        self.open_browser = open_browser
        #: set once the sign-in has succeeded or failed
        self.over = asyncio.Event()


def login_command(server: str, config: Path | None) -> str:
    """The command that signs in to a server of this configuration, quoted for the shell of the system."""
    words = ["dynamic-mcp", "login", server, *([] if config is None else [str(config.absolute())])]
    return subprocess.list2cmdline(words) if sys.platform == "win32" else shlex.join(words)
