"""The files of a tool that count, and the servers in them.

OpenCode and Codex CLI merge their files member by member: first those of the user, then those of the repository down to the current
folder. The import does the same, so that what a file with precedence switches off is off. A server that only the user's files have
belongs to ``--global``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dynamic_mcp.commands.importing.pitfalls import broken_paths
from dynamic_mcp.commands.importing.read import read_with_places, servers
from dynamic_mcp.commands.importing.switches import SWITCHES
from dynamic_mcp.commands.importing.tools import Locations, Tool
from dynamic_mcp.errors import ConfigError

#: The members in which one of the tools has its servers.
_SECTIONS = (("mcpServers",), ("servers",), ("mcp",), ("mcp", "servers"), ("mcp_servers",))
_STARTS = frozenset({"command", "url", "httpUrl", "serverUrl"})


@dataclass(frozen=True)
class SourceFiles:
    """Existing files of a tool."""

    #: the files with the servers to import; a later one has precedence
    files: tuple[Path, ...]
    #: the user's files, which the tool merges with ``files``; ``files`` have precedence
    below: tuple[Path, ...] = ()
    #: files that the tool may read in place of ``files``
    unread: tuple[Path, ...] = ()

    def relative_to(self, folder: Path) -> SourceFiles:
        """The same files, with the paths of those in the folder relative to it."""

        def relative(files: tuple[Path, ...]) -> tuple[Path, ...]:
            return tuple(file.relative_to(folder) if file.is_relative_to(folder) else file for file in files)

        return SourceFiles(relative(self.files), relative(self.below), relative(self.unread))


@dataclass
class SourceServer:
    """One server in the files."""

    entry: object
    #: the files that have it
    files: list[Path]
    notes: list[str] = field(default_factory=list)


@dataclass
class SourceContent:
    """The content of the files."""

    values: dict[str, Any]
    servers: dict[str, SourceServer]
    #: the path of the member with the servers
    keys: tuple[str, ...]
    #: what was left out beside the servers
    notes: list[str]


def find(tool: Tool, locations: Locations, *, is_global: bool) -> SourceFiles:
    """The tool's files, of this folder or of the user; a tool with only one kind of file has that one.

    Raises ConfigError, which names all candidates.
    """
    is_global = is_global if tool.global_files and tool.project_files else bool(tool.global_files)
    candidates = tool.files(locations, is_global=is_global)
    existing = tuple(file for file in candidates if file.exists())
    others = [file for file in tool.files(locations, is_global=not is_global) if file.exists()]
    if existing and not tool.merges:
        return SourceFiles(existing[:1], unread=existing[1:])
    if existing:
        return SourceFiles(
            existing, () if is_global else tuple(file for file in others if file not in existing)
        )
    message = f"there is no configuration of {tool.title}; looked for {', '.join(map(str, candidates))}"
    for other in others[:1]:
        message += f"; {'without' if is_global else 'with'} --global it is {other}"
    raise ConfigError(message)


def read_sources(tool: Tool, sources: SourceFiles, locations: Locations) -> SourceContent:
    """The servers of the files. Raises ConfigError."""
    folder = ("projects", str(locations.project), *tool.keys)
    sections = [tool.keys, *([folder] if tool.name == "claude" else [])]
    found = SourceContent({}, {}, tool.keys, [])
    for file in (*sources.below, *sources.files):
        values, places = read_with_places(file, sections)
        found.values = _merged(found.values, values)
        found.keys = tool.keys
        if file in sources.files:
            found.notes += _misplaced(tool, values)
        for keys, entries in _entries(tool, values, file, folder, found):
            for name, entry in entries.items():
                notes = [*broken_paths(entry, (*keys, name), places)]
                if len(sources.below + sources.files) > 1:
                    notes = [f"{file}: {note}" for note in notes]
                earlier = found.servers.get(name)
                if earlier is None:
                    found.servers[name] = SourceServer(entry, [file], notes)
                elif keys == folder:
                    notes.insert(0, "is there twice; the one of this folder counts, as for the tool")
                    found.servers[name] = SourceServer(entry, [file], notes)
                else:
                    if file in earlier.files:
                        notes.insert(
                            0, f"is in {file} twice; the one in {'.'.join(keys)} counts, as for the tool"
                        )
                    else:
                        earlier.files.append(file)
                    earlier.entry = _merged_entry(earlier.entry, entry)
                    earlier.notes += notes
    found.servers = {
        name: server
        for name, server in found.servers.items()
        if any(file in sources.files for file in server.files)
    }
    for server in found.servers.values():
        if len(server.files) > 1:
            *names, last = map(str, server.files)
            server.notes.insert(
                0, f"is in {', '.join(names)} and {last}, which are merged; the last one has precedence"
            )
    return found


def _entries(
    tool: Tool, values: dict[str, Any], file: Path, folder: tuple[str, ...], found: SourceContent
) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """The members of one file with servers, the one with precedence last, and their paths."""
    entries = servers(values, tool.keys, file)
    if (
        tool.name == "opencode"
        and isinstance(nested := entries.get("servers"), dict)
        and not _is_server(nested)
    ):
        # The layout of OpenCode 2. A server beside ``servers`` is from the old layout.
        found.keys = (*tool.keys, "servers")
        yield found.keys, nested
        if "timeout" in entries and not _is_server(entries["timeout"]):
            found.notes.append("mcp.timeout was left out: the proxy has a timeout for each server")
            entries = {name: entry for name, entry in entries.items() if name != "timeout"}
        entries = {name: entry for name, entry in entries.items() if name != "servers"}
    yield tool.keys, entries
    if tool.name == "claude":
        # The user's file contains servers for single folders, too.
        local = values.get("projects", {})
        own = local.get(folder[1], {}) if isinstance(local, dict) else {}
        if isinstance(own, dict):
            yield folder, servers(own, tool.keys, file)


def _is_server(value: object) -> bool:
    """Whether a member of OpenCode's ``mcp`` is a server: another object in it could be a server with such a name."""
    names = ("type", "enabled", "disabled", "command", "url")
    return isinstance(value, dict) and any(
        name in value and not isinstance(value[name], dict) for name in names
    )


def _misplaced(tool: Tool, values: dict[str, Any]) -> Iterator[str]:
    """A note about each member that seems to have servers where the tool does not read them."""
    reads = f"{tool.title} reads them in {'.'.join(tool.keys)}"
    for keys in _SECTIONS:
        inner: Any = values
        for key in keys:
            inner = inner.get(key) if isinstance(inner, dict) else None
        is_read = keys[: len(tool.keys)] == tool.keys
        if not is_read and isinstance(inner, dict) and any(map(_starts_something, inner.values())):
            yield f"{'.'.join(keys)} was left out: it seems to have servers, but {reads}"
    if values and all(map(_starts_something, values.values())):
        yield f"the members of the file were left out: they seem to be servers, but {reads}"


def _starts_something(value: object) -> bool:
    return isinstance(value, dict) and bool(_STARTS & value.keys())


def _merged(lower: Any, upper: Any) -> Any:
    """Both values; ``upper`` has precedence. A list replaces the lower one, except for the ordered rules of OpenCode 2."""
    if not (isinstance(lower, dict) and isinstance(upper, dict)):
        return upper
    result = dict(lower)
    for name, value in upper.items():
        if name == "permissions" and isinstance(lower.get(name), list) and isinstance(value, list):
            result[name] = [*lower[name], *value]
        else:
            result[name] = _merged(lower[name], value) if name in lower else value
    return result


def _merged_entry(lower: Any, upper: Any) -> Any:
    """The same for a server, which has one switch of several names."""
    if isinstance(lower, dict) and isinstance(upper, dict) and SWITCHES & upper.keys():
        lower = {name: value for name, value in lower.items() if name not in SWITCHES}
    return _merged(lower, upper)
