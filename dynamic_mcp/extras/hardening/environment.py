"""The variables of the proxy's environment that a child inherits.

With a list, a child gets only the listed variables and those that programs need on this platform. So it does not see tokens in the
proxy's environment that are for the proxy or for another server.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

#: Variables that every child gets. The lists come from the official SDKs; that for POSIX adds the locale, the time zone and the folder
#: for temporary files.
NEEDED = (
    ("HOME", "LANG", "LC_*", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "TZ", "USER")
    if sys.platform != "win32"
    else (
        "APPDATA",
        "COMSPEC",
        "HOMEDRIVE",
        "HOMEPATH",
        "LOCALAPPDATA",
        "PATH",
        "PATHEXT",
        "PROCESSOR_ARCHITECTURE",
        "SYSTEMDRIVE",
        "SYSTEMROOT",
        "TEMP",
        "TMP",
        "USERNAME",
        "USERPROFILE",
        "WINDIR",
    )
)


def inherited(allowed: Sequence[str] | None, environment: Mapping[str, str]) -> dict[str, str]:
    """The variables for a child: all if ``allowed`` is None, else those that ``allowed`` and ``NEEDED`` name.

    A name with ``*`` at its end matches all names with that beginning.
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
    """The name for comparisons; Windows ignores the case of names."""
    return name.upper() if sys.platform == "win32" else name
