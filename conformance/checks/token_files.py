"""Where an implementation keeps the tokens of a server: the documented place, or the one that its profile names."""

from __future__ import annotations

import json
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conformance.errors import NotApplicable, Violation
from conformance.model.profile_tables import DEFAULT_TOKEN_FILE
from conformance.workbench.regular_files import text_of

if TYPE_CHECKING:
    from conformance.workbench.workbench import Workbench

#: folders below HOME that many programs use (XDG Base Directory Specification)
_SHARED = (".cache", ".config", ".local", "share", "state")


def token_file(workbench: Workbench, name: str, home: Path | None = None) -> Path:
    """Where the tokens of a server belong: the documented place, or that of the profile.

    For a place with `*`, the newest file that matches; without one, the place itself, which is no file.
    """
    pattern = workbench.sut.profile.token_file.replace("{server}", name)
    root = home or workbench.sandbox.home
    found = [path for path in root.glob(pattern) if path.is_file()] if "*" in pattern else []
    return max(found, key=lambda path: path.stat().st_mtime, default=root / pattern)


def token_folder(workbench: Workbench) -> Path:
    """The folder of the token files of all servers."""
    parts = Path(workbench.sut.profile.token_file).parent.parts
    return workbench.sandbox.home.joinpath(
        *takewhile(lambda part: "{server}" not in part and "*" not in part, parts)
    )


def own_folder(workbench: Workbench, home: Path | None = None) -> Path:
    """The topmost folder, or else the token file, that the implementation shares with no other program."""
    parts = Path(workbench.sut.profile.token_file).parts
    own = next(place for place, part in enumerate(parts, 1) if part not in _SHARED)
    return (home or workbench.sandbox.home).joinpath(*parts[:own])


def needs_the_documented_place(workbench: Workbench) -> None:
    """Raise `NotApplicable` if the profile names another token file."""
    if workbench.sut.profile.token_file != DEFAULT_TOKEN_FILE:
        raise NotApplicable(f"the profile says that tokens lie in {workbench.sut.profile.token_file}")


def stored(workbench: Workbench, name: str) -> str:
    """The content of a server's token file. Raises `Violation` if there is no such file, or something else in its place."""
    file = token_file(workbench, name)
    try:
        return text_of(file)
    except FileNotFoundError:
        raise Violation(f"{file} exists", "no such file") from None


def stored_json(workbench: Workbench, name: str) -> Any:
    """The same as JSON. Raises `Violation` when the content is not JSON."""
    content = stored(workbench, name)
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        raise Violation(f"{token_file(workbench, name)} is JSON", repr(content[:200])) from None


def values_in(document: Any) -> list[Any]:
    """Every value that is neither an object nor an array, at any depth."""
    if isinstance(document, dict):
        return [value for inner in document.values() for value in values_in(inner)]
    if isinstance(document, list):
        return [value for inner in document for value in values_in(inner)]
    return [document]
