"""References to the environment, as each tool writes them, in the one form that this proxy has: ``${NAME}``."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
#: The name of an environment variable, as a reference of ours can have it.
NAME = re.compile(_NAME)
_OURS = re.compile(rf"\$\{{({_NAME})\}}")

#: What each kind of reference looks like.
_LOOKS = {
    "dollar-env": rf"\$\{{env:(?P<dollar_env>{_NAME})\}}",
    "braces-env": rf"(?<!\$)\{{env:(?P<braces_env>{_NAME})\}}",
    "shell": rf"\$\{{(?P<shell>{_NAME})(?P<default>:-[^}}]*)?\}}",
    "plain": rf"\$\{{(?P<plain>{_NAME})\}}",
    "dollar": rf"\$(?P<dollar>{_NAME})",
    "percent": rf"%(?P<percent>{_NAME})%",
    "workspace": r"\$\{(?P<workspace>workspaceFolder|workspaceFolderBasename|userHome|pathSeparator|/)\}",
    "input": r"\$\{input:(?P<input>[^}]*)\}",
    "file": r"\{file:(?P<file>[^}]*)\}",
}


class References:
    """Rewrites the texts of one tool. ``note`` hears of what changes its meaning, with its place and without its value."""

    def __init__(self, kinds: frozenset[str], project: Path, home: Path, note: Callable[[str], None]) -> None:
        # The order of _LOOKS decides where two would match.
        self._looks = re.compile("|".join(look for kind, look in _LOOKS.items() if kind in kinds) or r"(?!)")
        self._says_ours = bool(kinds & {"plain", "shell"})
        self._workspace = {
            "workspaceFolder": str(project),
            "workspaceFolderBasename": project.name,
            "userHome": str(home),
            "pathSeparator": os.sep,
            "/": os.sep,
        }
        self._note = note

    def __call__(self, text: str, place: str) -> str:
        """The text as this proxy wants it; ``place`` names it for the user."""
        if not self._says_ours and (meant := _OURS.search(text)) and not self._looks.fullmatch(meant[0]):
            self._note(
                f"{place}: {meant[0]} was plain text there; here the environment variable takes its place"
            )

        def ours(found: re.Match[str]) -> str:
            (kind, value) = next(
                (k, v) for k, v in found.groupdict().items() if v is not None and k != "default"
            )
            match kind:
                case "workspace":
                    written = self._workspace[value]
                    self._note(f"{place}: {found[0]} is now {written!r}, as it is in this folder")
                    return written
                case "input":
                    self._note(
                        f"{place}: {found[0]} asks the user, which cannot be converted; "
                        "put ${NAME} in its place and set that variable"
                    )
                    return found[0]
                case "file":
                    self._note(
                        f"{place}: {found[0]} reads a file, which cannot be converted; "
                        "put ${NAME} in its place and set that variable"
                    )
                    return found[0]
            if found.groupdict().get("default") is not None:
                self._note(
                    f"{place}: the default of ${{{value}}} is left out; without the variable the reference stays"
                )
            return f"${{{value}}}"

        return self._looks.sub(ours, text)
