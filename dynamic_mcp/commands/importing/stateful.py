"""Servers that are known to keep state for one client, so that sessions must not share them (``"shared": false``).

A browser has one page that every call continues, a terminal its sessions, and the filesystem server the roots of its client.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

#: Parts of the names of packages, images and programs.
_KNOWN = (
    "playwright",
    "puppeteer",
    "chrome-devtools",
    "browser-use",
    "browsermcp",
    "browserbase",
    "selenium",
    "sequential-thinking",
    "server-filesystem",
    "desktop-commander",
    "serena",
)
#: The beginning of an option or of a path, which is no name of a package.
_NO_NAME = re.compile(r"[-/~.$\\]|[A-Za-z]:")


def keeps_state(command: Sequence[str]) -> bool:
    """Whether this command starts such a server. The first word is the program, by name or path."""
    program, *words = (word.lower() for word in command)
    names = [re.split(r"[/\\]", program)[-1], *(word for word in words if not _NO_NAME.match(word))]
    return any(known in name for name in names for known in _KNOWN)
