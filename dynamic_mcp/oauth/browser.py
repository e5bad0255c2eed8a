"""Opens the user's browser, or prints the address.

The commands come from ``BROWSER`` (separated by ``:``, ``%s`` stands for the address), else from the platform. A command runs without
a shell, in a new session, and without the proxy's streams. If no browser opens, the address goes to stderr, and the sign-in still
waits for the user.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import sys

from dynamic_mcp.log import log
from dynamic_mcp.oauth.address import host_of
from dynamic_mcp.unread import STDERR

#: Seconds after which a command that still runs counts as the browser itself.
_OPENER_TIME = 3.0
_LINUX = (
    "xdg-open",
    "gio open",
    "gnome-open",
    "kde-open",
    "x-www-browser",
    "www-browser",
    "sensible-browser",
    "firefox",
    "chromium",
    "google-chrome",
)
#: Programs that open the browser of another system, and so need no display: of Windows, of Android, of Chrome OS.
_NEED_NO_DISPLAY = ("wslview", "wsl-open", "termux-open-url", "garcon-url-handler")
#: The same for Windows behind a Linux without the first two. Only WSL runs it.
_WSL = ("rundll32.exe url.dll,FileProtocolHandler",)
_reaped: set[asyncio.Task[int]] = set()


async def show(url: str, server: str) -> None:
    """Open the address, or print it. ``url`` comes from ``oauth.address``, and so is harmless for a terminal and a shell."""
    host = host_of(url)
    for command in _commands(url):
        if await _opens(command):
            log.info("group %s: opened a browser window for the sign-in at %s", server, host)
            return
    STDERR.write(
        f"dynamic-mcp: sign in to {server!r} at {host} in a browser: {url}\n".encode(errors="replace")
    )


def _commands(url: str) -> list[list[str]]:
    listed = [entry for entry in os.environ.get("BROWSER", "").split(os.pathsep) if entry.strip()]
    if not listed:
        if sys.platform == "darwin":
            listed = ["open"]
        elif sys.platform == "win32":
            listed = ["rundll32 url.dll,FileProtocolHandler"]
        else:
            listed = list(_NEED_NO_DISPLAY)
            if os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
                listed += _LINUX
            if os.environ.get("WSL_DISTRO_NAME") or os.environ.get("WSL_INTEROP"):
                listed += _WSL
    commands = []
    for entry in listed:
        try:
            parts = shlex.split(entry)
        except ValueError:
            continue
        with_url = [part.replace("%s", url) for part in parts]
        commands.append(with_url if with_url != parts else [*parts, url])
    return commands


async def _opens(command: list[str]) -> bool:
    if shutil.which(command[0]) is None:
        return False
    nothing = asyncio.subprocess.DEVNULL
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=nothing, stdout=nothing, stderr=nothing, start_new_session=True
        )
    except OSError:
        return False
    waiting = asyncio.ensure_future(process.wait())
    _reaped.add(waiting)
    waiting.add_done_callback(_reaped.discard)
    done, _ = await asyncio.wait({waiting}, timeout=_OPENER_TIME)
    return not done or waiting.result() == 0
