"""A scripted stdio upstream served over HTTP, for a program that takes servers behind a URL only.

The check does not know: it has described a server by a script. What is about a process, such as its start, its pid, its arguments or
the bytes that it writes, is `NotApplicable`. The server starts with the first start of the program that has it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Self

from conformance.errors import NotApplicable
from conformance.workbench.remotes import RemoteMockUpstream
from mock_servers.script import Script

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: the actions that mean the same over HTTP
_SAME = frozenset(
    {
        *("reply", "error", "sleep", "silence", "send", "hold", "release", "notify", "request", "progress"),
        *("set_tools", "set_prompts", "set_resources", "list_changed", "compute"),
    }
)
#: the fields of a script that are about its process
_PROCESS = (
    "startup",
    "ignore_eof",
    "linger",
    "ignore_sigterm",
    "sigterm_delay",
    "grandchildren",
)
#: the members of an entry that only a process has
_ENTRY = frozenset({"command", "args", "env", "cwd"})


@dataclass(frozen=True)
class ServedUpstream(RemoteMockUpstream):
    """Made by `Workbench.stdio` for such a program."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise _about_a_process(name)

    def variant(self, *without: str, **changes: Any) -> Self:
        must_be_no_process(changes)
        return super().variant(*without, **changes)

    @property
    def entry(self) -> dict[str, Any]:
        return _Entry(super().entry)

    @property
    def pids(self) -> list[int]:
        raise _about_a_process("pids")

    @property
    def alive(self) -> list[int]:
        raise _about_a_process("alive")


class _Entry(dict[str, Any]):
    """An entry in which a check looks for the members of a process in vain."""

    def __missing__(self, name: str) -> Any:
        if name in _ENTRY:
            raise _about_a_process(name)
        raise KeyError(name)


def must_be_no_process(members: Iterable[str]) -> None:
    """Raise `NotApplicable` if an entry has one of the members that only a process has."""
    if found := sorted(set(members) & _ENTRY):
        raise _about_a_process(found[0])


def must_mean_the_same(script: Script) -> None:
    """Raise `NotApplicable` for a script that is about a process, or about the bytes on its pipes."""
    defaults = Script()
    for one in fields(script):
        if one.name in _PROCESS and getattr(script, one.name) != getattr(defaults, one.name):
            raise _about_a_process(one.name)
    for rule in script.on:
        for action in rule.actions:
            if action["do"] not in _SAME and not _is_a_message(action):
                raise _about_a_process(action["do"])


def _is_a_message(action: Mapping[str, Any]) -> bool:
    """Whether an action writes exactly one JSON object in a line of its own."""
    text = action.get("text")
    if action["do"] != "raw" or not isinstance(text, str) or not text.endswith("\n"):
        return False
    try:
        return isinstance(json.loads(text.replace("$arguments", "{}")), dict)
    except (ValueError, RecursionError):
        return False


def _about_a_process(what: str) -> NotApplicable:
    return NotApplicable(
        f"the check is about the process of a stdio server ({what}), and the program takes servers behind a URL only"
    )
