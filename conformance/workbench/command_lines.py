"""The command that starts the program: with a configuration file, or with its one upstream on the command line."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from conformance.errors import NotApplicable
from conformance.model.profile_tables import COMMAND, OPTIONS, SHELL
from conformance.workbench.configurations import HARMLESS, needs_variables
from conformance.workbench.protected import ProtectedMockUpstream

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from conformance.model.profile_tables import ConfigTable, SingleTable
    from conformance.model.sut import Sut
    from conformance.workbench.mocks import MockUpstream
    from conformance.workbench.terminal import Terminal

#: the members of an entry that `words_for` can turn into words; "type" is in the choice of the line
KNOWN = HARMLESS | {"command", "args", "env", "url", "headers", "oauth_client_id", "type"}


def command_for(sut: Sut, config: Path | None, given: MockUpstream | None) -> tuple[str, ...]:
    """The command that starts the program with a configuration file, or with the one upstream of `[single]`."""
    profile = sut.profile
    if profile.single is None or given is None:
        return sut.command_for(config)
    signs_in = isinstance(given, ProtectedMockUpstream)
    return sut.command_for(None, words_for(profile.single, profile.config, given.entry, signs_in=signs_in))


def wrapped(
    command: list[str], terminal: Terminal | None, open_files: int | None, *, has_stderr: bool
) -> list[str]:
    """The command with a terminal of its own, a soft limit of open files, or without a stderr."""
    if terminal is not None:
        command = terminal.controlling(command)
    if open_files is not None:
        command = ["/bin/sh", "-c", f'ulimit -S -n {open_files} && exec "$@"', "sh", *command]
    if not has_stderr:
        command = ["/bin/sh", "-c", 'exec "$@" 2>&-', "sh", *command]
    return command


def words_for(
    single: SingleTable, config: ConfigTable, entry: Mapping[str, Any], *, signs_in: bool = False
) -> list[str]:
    """The words for the upstream of this server entry, which can require a sign-in.

    Raises `NotApplicable` for what the command line has no place for.
    """
    if other := sorted(entry.keys() - KNOWN):
        raise NotApplicable(
            f"the check sets {other[0]!r} of a server, which the command line has no place for"
        )
    options = [*_options(single, entry), *(single.oauth if signs_in else ()), *_client(single, entry)]
    words = [word for part in _line(single, entry) for word in _replaced(part, entry)]
    if OPTIONS in words:
        place = words.index(OPTIONS)
        words[place : place + 1] = options
    else:
        words = [*options, *words]
    for word in words:
        needs_variables(config, word)
    return words


def _line(single: SingleTable, entry: Mapping[str, Any]) -> Sequence[str]:
    kind = "command" if "command" in entry else "sse" if entry.get("type") == "sse" else "http"
    line: tuple[str, ...] = getattr(single, kind)
    if not line:
        raise NotApplicable(f"the check needs a server of the kind {kind}, and [single] has no line for it")
    return line


def _replaced(part: str, entry: Mapping[str, Any]) -> list[str]:
    if "command" not in entry:
        return [part.replace("{url}", str(entry.get("url", "")))]
    words = [str(entry["command"]), *map(str, entry.get("args", ()))]
    return words if part == COMMAND else [part.replace(SHELL, shlex.join(words))]


def _options(single: SingleTable, entry: Mapping[str, Any]) -> Iterator[str]:
    for member, line in (("headers", single.header), ("env", single.env)):
        for name, value in (entry.get(member) or {}).items():
            if not line:
                raise NotApplicable(f"the check sets {member!r}, and [single] has no line for them")
            yield from (part.replace("{name}", name).replace("{value}", str(value)) for part in line)


def _client(single: SingleTable, entry: Mapping[str, Any]) -> Iterator[str]:
    client = entry.get("oauth_client_id")
    if client is not None:
        if not single.client:
            raise NotApplicable("the check names an OAuth client, and [single] has no line `client`")
        yield from (part.replace("{client_id}", str(client)) for part in single.client)
