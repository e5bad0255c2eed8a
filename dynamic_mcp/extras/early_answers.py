"""The early answers: replies to ``initialize`` and ``tools/list`` before the rest of the proxy is imported.

An agent starts its servers with every session, and waits for their first answers. These two need only the configuration and a little of
the standard library.

The early answers are byte for byte those of the frontend, and an invalid configuration gets none. This module only handles simple cases:
configurations without rare settings, and requests without rare members. Any other request, and every later one, waits for the frontend.
The frontend gets the lines with early answers too, but does not answer them again.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import select
import signal
from collections.abc import Callable, Mapping, Sequence

from dynamic_mcp import files
from dynamic_mcp.frontend import tool_surface
from dynamic_mcp.protocol import versions

# The import of ``typing`` would take a tenth of the time to the first answer.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: Milliseconds to wait for the next request after an answer, before the imports go on.
FOLLOW_UP = 5

_HEAVY = ("msgspec", "asyncio", "anyio", "dynamic_mcp.config.load", "dynamic_mcp.server")
_MAX_SIZE = 1 << 20
_CHUNK = 1 << 16


class EarlyAnswers:
    """Answers the first requests on the standard streams."""

    def __init__(self, content: bytes, answer: Callable[[bytes], bytes | None]) -> None:
        #: the content of the configuration, so that the proxy later loads the same
        self.content = content
        #: the lines that have their answers, and the bytes after them
        self.answered: list[bytes] = []
        self.rest = b""
        self._answer = answer
        self._is_done = False

    @staticmethod
    def for_command_line(words: Sequence[str], environment: Mapping[str, str]) -> EarlyAnswers | None:
        """The early answers for a command line that serves a simple configuration on pipes; None for any other."""
        path = os.path.expanduser(words[0] if words else environment.get("DYNAMIC_MCP_CONFIG", ""))
        # A single word may be a command, and a word with a dash is an option.
        if len(words) > 1 or path.isalpha() or path.startswith("-") or not files.is_pipe(0):
            return None
        try:
            content = files.read(path, _MAX_SIZE, follow=True)
        except (OSError, ValueError):
            # ``config.load`` reports it.
            return None
        servers = simple_servers(content)
        return None if servers is None else EarlyAnswers(content, answerer_for(servers))

    def import_proxy(self) -> None:
        """Import the rest of the proxy, and answer requests in between."""
        # After an answer the client may send a signal. There is nothing to clean up yet, and ``server`` has its own handlers.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, frame: os._exit(128 + number))
        signal.signal(signal.SIGHUP, lambda number, frame: None)
        self.answer_pending()
        for name in _HEAVY:
            importlib.import_module(name)
            self.answer_pending()

    def answer_pending(self) -> None:
        """Answer the requests that are here."""
        wait = 0
        while not self._is_done and select.select([0], [], [], wait / 1000)[0]:
            data = os.read(0, _CHUNK)
            before = len(self.answered)
            self._take(data)
            self._is_done |= not data
            wait = FOLLOW_UP if len(self.answered) > before else 0

    def _take(self, data: bytes) -> None:
        *lines, self.rest = (self.rest + data).split(b"\n")
        for number, line in enumerate(lines):
            answer = self._answer(line)
            if answer is None:
                self.rest = b"\n".join([*lines[number:], self.rest])
                self._is_done = True
                break
            self.answered.append(line)
            _write(answer)
        self._is_done |= len(self.rest) > _CHUNK


def answerer_for(servers: Mapping[str, Mapping[str, Any]]) -> Callable[[bytes], bytes | None]:
    """A function that returns the answer to one line of the client.

    It returns b"" for a line without an answer, and None for a line that has to wait for the frontend.
    """
    enabled = {name: entry for name, entry in servers.items() if entry.get("enabled", True)}
    tool_list = tool_surface.tool_list(
        tool_surface.tools({name: str(entry["description"]) for name, entry in enabled.items()})
    )
    features = [entry.get("features", {}) for entry in enabled.values()]
    capabilities = tool_surface.capabilities(
        resources=any(entry.get("resources", True) for entry in features),
        prompts=any(entry.get("prompts", True) for entry in features),
        legacy=True,
    )

    def answer(line: bytes) -> bytes | None:
        match _plain_message(line):
            case {"method": "notifications/initialized", **others} if "id" not in others:
                return b""
            case {
                "method": "initialize",
                "id": id,
                "params": {"protocolVersion": str(version), "capabilities": dict(), **others},
            } if "_meta" not in others:
                result = tool_surface.introduction(versions.negotiate(version), capabilities, enabled)
            case {"method": "tools/list", "id": id, **others} if others.get("params", {}) == {}:
                result = tool_list
            case _:
                return None
        return b'{"jsonrpc":"2.0","id":%b,"result":%b}\n' % (
            json.dumps(id, ensure_ascii=False).encode(),
            result,
        )

    return answer


def simple_servers(content: bytes) -> dict[str, dict[str, Any]] | None:
    """The servers of a configuration that is certainly valid, or None."""
    try:
        config = _parse(content)
    except ValueError:
        return None
    match config:
        case {"mcpServers": dict(servers), **others} if not others.keys() - {"$schema"}:
            schema = others.get("$schema", "")
            plain = isinstance(schema, str) and "" not in servers and all(map(_is_plain, servers.values()))
            return servers if plain else None
        case _:
            return None


def _is_plain(entry: object) -> bool:
    """Whether the entry of a server has only known members, each with a value that is certainly valid."""
    if not isinstance(entry, dict):
        return False
    kind = "command" if "command" in entry else "url"
    known = _MEMBERS[kind]
    return (
        "description" in entry
        and bool(entry.get(kind))
        and all(name in known and known[name](value) for name, value in entry.items())
    )


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _are_named_texts(value: object) -> bool:
    return isinstance(value, dict) and _are_texts([*value.values()])


def _are_headers(value: object) -> bool:
    # Two spellings of one header are a mistake.
    return _are_named_texts(value) and isinstance(value, dict) and len({*map(str.lower, value)}) == len(value)


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


def _are_features(value: object) -> bool:
    return isinstance(value, dict) and value.keys() <= _FEATURES and all(map(_is_flag, value.values()))


def _are_tools(value: object) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() <= {"allow", "deny"}
        and all(_are_texts(patterns) and all(map(str.strip, patterns)) for patterns in value.values())
    )


def _are_timeouts(value: object) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() <= _FEATURES
        and all(_is_text(entry) and _DURATION.fullmatch(entry) for entry in value.values())
    )


_FEATURES = {"tools", "resources", "prompts"}
_DURATION = re.compile(r"[1-9][0-9]{0,3}(ms|s|m|min)")
_SHARED: dict[str, Callable[[object], bool]] = {
    "description": _is_text,
    "enabled": _is_flag,
    "shared": _is_flag,
    "features": _are_features,
    "tools": _are_tools,
    "timeout": _are_timeouts,
}
#: The known members of an entry, for servers with a command and for servers with a url.
_MEMBERS: dict[str, dict[str, Callable[[object], bool]]] = {
    "command": {
        **_SHARED,
        "command": _is_text,
        "args": _are_texts,
        "cwd": lambda value: _is_text(value) and value != "",
        "env": _are_named_texts,
        "type": lambda value: value == "stdio",
    },
    "url": {
        **_SHARED,
        "url": _is_text,
        "headers": _are_headers,
        "oauth_client_id": _is_text,
        "oauth_scopes": _are_texts,
        "oauth_at_start": _is_flag,
        "type": lambda value: value in ("http", "sse"),
    },
}


def _plain_message(line: bytes) -> object:
    """A message with only one possible spelling; None for any other."""
    if b"\\" in line:
        return None
    try:
        message = _parse(line)
    except ValueError:
        return None
    match message:
        case {"jsonrpc": "2.0", **others} if others.keys() <= {"id", "method", "params"}:
            id = others.get("id", 0)
            return message if isinstance(id, str | int) and not isinstance(id, bool) else None
        case _:
            return None


def _parse(text: bytes) -> object:
    """Decode JSON that no other parser could read differently. Raises ValueError."""
    if b"\\u" in text:
        raise ValueError("an escape that may be a lone surrogate")
    try:
        return _decode(text.decode())
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    answer = dict(pairs)
    if len(answer) != len(pairs):
        raise ValueError("a duplicate member")
    return answer


def _integer(text: str) -> int:
    if text == "-0":
        raise ValueError("a second spelling of zero")
    return int(text)


def _constant(text: str) -> object:
    raise ValueError("not JSON")


_decode = json.JSONDecoder(object_pairs_hook=_unique, parse_int=_integer, parse_constant=_constant).decode


def _write(line: bytes) -> None:
    """Write to the client. ``frontend.client`` notices later if the client is gone."""
    view = memoryview(line)
    try:
        while view:
            view = view[os.write(1, view) :]
    except OSError:
        return
