"""Converts the references of each tool into those of the proxy: ``${NAME}``."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
#: A name of an environment variable that a reference of the proxy can contain.
VARIABLE_NAME = re.compile(_NAME)
_REFERENCE = re.compile(rf"\$\{{({_NAME})\}}")

#: What the tools with references of a kind could replace: not only what they document.
_DOLLAR = re.compile(r"\$\{[^{}]*\}")
_BRACES = re.compile(r"(?<!\$)\{(?:env|file):[^{}]*\}")
#: The part of such a text without a default, which can be a secret.
_SHOWN = re.compile(r"\$?\{(?:\w+:(?!-)[\w.-]+\}|\w*)")

#: The syntax of each kind of reference.
_PATTERNS = {
    "dollar-env": rf"\$\{{env:(?P<dollar_env>{_NAME})\}}",
    "braces-env": rf"(?<!\$)\{{env:(?P<braces_env>{_NAME})\}}",
    "shell": rf"\$\{{(?P<shell>{_NAME})(?P<default>:-[^}}]*)?\}}",
    "dollar": rf"\$(?P<dollar>{_NAME})",
    "percent": rf"%(?P<percent>{_NAME})%",
    "workspace": r"\$\{(?P<workspace>workspaceFolder|workspaceFolderBasename|userHome|pathSeparator|/)\}",
    "input": r"\$\{input:(?P<input>[^}]*)\}",
    "file": r"\{file:(?P<file>[^}]*)\}",
}


class References:
    """Converts the texts of one tool. ``note`` gets a note with the location, but no value, about each change of meaning."""

    def __init__(self, kinds: frozenset[str], project: Path, home: Path, note: Callable[[str], None]) -> None:
        # If two kinds match, the order of _PATTERNS decides.
        self._pattern = re.compile(
            "|".join(pattern for kind, pattern in _PATTERNS.items() if kind in kinds) or r"(?!)"
        )
        self._has_same_syntax = "shell" in kinds
        self._possible = [
            *([_DOLLAR] if kinds & {"dollar-env", "shell"} else []),
            *([_BRACES] if "braces-env" in kinds else []),
        ]
        self._workspace = {
            "workspaceFolder": str(project),
            "workspaceFolderBasename": project.name,
            "userHome": str(home),
            "pathSeparator": os.sep,
            "/": os.sep,
        }
        self._note = note

    def __call__(self, text: str, location: str) -> str:
        """The converted text; ``location`` is for the notes."""
        if (
            not self._has_same_syntax
            and (reference := _REFERENCE.search(text))
            and not self._pattern.fullmatch(reference[0])
        ):
            self._note(
                f"{location}: {reference[0]} was plain text for the tool; the proxy replaces it with the environment variable"
            )

        for possible in self._possible:
            for found in possible.finditer(text):
                if not (self._pattern.fullmatch(found[0]) or _REFERENCE.fullmatch(found[0])):
                    shown = _SHOWN.match(found[0])
                    name = "" if shown is None else shown[0]
                    self._note(
                        f"{location}: {name if name.endswith('}') else name + '...}'} is unknown, and stays as it is; "
                        "write ${NAME} instead and set that variable"
                    )

        def convert(found: re.Match[str]) -> str:
            (kind, value) = next(
                (k, v) for k, v in found.groupdict().items() if v is not None and k != "default"
            )
            match kind:
                case "workspace":
                    replacement = self._workspace[value]
                    self._note(f"{location}: {found[0]} is now {replacement!r}, the value in this folder")
                    return replacement
                case "input":
                    self._note(
                        f"{location}: {found[0]} asks the user, which cannot be converted; "
                        "write ${NAME} instead and set that variable"
                    )
                    return found[0]
                case "file":
                    self._note(
                        f"{location}: {found[0]} reads a file, which cannot be converted; "
                        "write ${NAME} instead and set that variable"
                    )
                    return found[0]
            if found.groupdict().get("default") is not None:
                self._note(
                    f"{location}: the default of ${{{value}}} is left out; without the variable the reference stays"
                )
            return f"${{{value}}}"

        return self._pattern.sub(convert, text)
