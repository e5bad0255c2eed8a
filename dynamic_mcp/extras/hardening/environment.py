"""Which variables of this process's environment a child gets.

With a list, a child gets the variables that are named in it and those that programs need on this platform, and no other: a token that the
proxy was started with, for itself or for another server, is none of its business.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

#: What a child gets in any case: where programs are and may write, whose they are, and how to speak to people. The first list is what
#: the official SDKs pass on, the locale, the time zone and the folder for temporary files added; the second is theirs.
NEEDED = (
    ("HOME", "LANG", "LC_*", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "TZ", "USER")
    if sys.platform != "win32"
    else (
        *("APPDATA", "COMSPEC", "HOMEDRIVE", "HOMEPATH", "LOCALAPPDATA", "PATH", "PATHEXT"),
        *("PROCESSOR_ARCHITECTURE", "SYSTEMDRIVE", "SYSTEMROOT", "TEMP", "TMP", "USERNAME", "USERPROFILE"),
        "WINDIR",
    )
)


def inherited(allowed: Sequence[str] | None, environment: Mapping[str, str]) -> dict[str, str]:
    """What of ``environment`` goes on to a child: everything without a list (None), else what ``allowed`` and ``NEEDED`` name.

    A name in a list that ends with ``*`` stands for all that begin like it.
    """
    if allowed is None:
        return dict(environment)
    names, beginnings = set(), []
    for name in map(_folded, (*allowed, *NEEDED)):
        if name.endswith("*"):
            beginnings.append(name[:-1])
        else:
            names.add(name)
    return {
        name: value
        for name, value in environment.items()
        if _folded(name) in names or _folded(name).startswith(tuple(beginnings))
    }


def _folded(name: str) -> str:
    """Windows does not tell capital letters in names from small ones."""
    return name.upper() if sys.platform == "win32" else name
