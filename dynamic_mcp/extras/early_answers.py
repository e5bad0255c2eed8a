"""The first answers, while the rest of the proxy is still being loaded.

An agent starts its servers with every session and waits for their first answers. ``initialize`` and ``tools/list`` need nothing but the
configuration, so they are answered before what is heavy is imported, with a little of the standard library.

Guarantee: what is answered here is what the face would answer, byte for byte, and nothing is answered for a configuration that cannot be
used. Only what is plain beyond doubt is taken, a configuration without rare settings and requests without rare members. For
anything else, and from the first such request on, the client waits for the face. That is then told what was answered here, and
does not answer it again.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import select
import signal
import stat
import sys
from collections.abc import Callable, Mapping, Sequence

from dynamic_mcp.frontend import tool_surface
from dynamic_mcp.protocol import versions

# Not that of `typing`, which is a tenth of the time to the first answer.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: Milliseconds that a client gets to follow its ``initialize`` up, before the loading goes on.
FOLLOW_UP = 5

_HEAVY = ("msgspec", "asyncio", "anyio", "dynamic_mcp.config.load", "dynamic_mcp.server")
_MAX_SIZE = 1 << 20
_CHUNK = 1 << 16


class EarlyAnswers:
    """Answers on the standard streams, as long as it knows the answers."""

    def __init__(self, content: bytes, answer: Callable[[bytes], bytes | None]) -> None:
        #: the configuration as it was read, so that what is loaded later is the same
        self.content = content
        #: the lines that need no answer any more, and what the client said after them
        self.answered: list[bytes] = []
        self.rest = b""
        self._answer = answer
        self._over = False

    @staticmethod
    def of(words: Sequence[str], environment: Mapping[str, str]) -> EarlyAnswers | None:
        """The doorstep of a command line that serves a plain configuration to a client on pipes; None for any other."""
        named = words[0] if words else environment.get("DYNAMIC_MCP_CONFIG", "")
        # A bare word may be a command, and whatever begins with a dash is an option.
        if len(words) > 1 or named.isalpha() or named.startswith("-") or not _is_pipe(0):
            return None
        try:
            status = os.stat(named)
            if not stat.S_ISREG(status.st_mode) or status.st_size > _MAX_SIZE:
                # A pipe can be read only once, and that is for the loader.
                return None
            with open(named, "rb") as file:
                content = file.read()
        except (OSError, ValueError):
            return None
        servers = plain_servers(content)
        return None if servers is None else EarlyAnswers(content, answers(servers))

    def load(self) -> None:
        """Import what the proxy needs, and answer meanwhile."""
        # A client that has an answer may end us. There is nothing to clean up yet, and serving has handlers of its own.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, frame: os._exit(128 + number))
        signal.signal(signal.SIGHUP, lambda number, frame: None)
        self.look()
        for name in _HEAVY:
            importlib.import_module(name)
            self.look()

    def look(self) -> None:
        """Answer what the client has asked by now."""
        patience = 0
        while not self._over and select.select([0], [], [], patience / 1000)[0]:
            data = os.read(0, _CHUNK)
            before = len(self.answered)
            self._take(data)
            self._over |= not data
            patience = FOLLOW_UP if len(self.answered) > before else 0

    def _take(self, data: bytes) -> None:
        *lines, self.rest = (self.rest + data).split(b"\n")
        for number, line in enumerate(lines):
            found = self._answer(line)
            if found is None:
                self.rest = b"\n".join([*lines[number:], self.rest])
                self._over = True
                break
            self.answered.append(line)
            _write(found)
        self._over |= len(self.rest) > _CHUNK


def answers(servers: Mapping[str, Mapping[str, Any]]) -> Callable[[bytes], bytes | None]:
    """A function that gives the line of the answer to one line of the client.

    It is empty for what is not answered, and None for what has to wait for the face.
    """
    enabled = {name: entry for name, entry in servers.items() if entry.get("enabled", True)}
    shown = tool_surface.tool_list(
        tool_surface.tools({name: str(one["description"]) for name, one in enabled.items()})
    )
    features = [entry.get("features", {}) for entry in enabled.values()]
    offered = tool_surface.capabilities(
        resources=any(one.get("resources", True) for one in features),
        prompts=any(one.get("prompts", True) for one in features),
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
                result = tool_surface.introduction(versions.negotiate(version), offered)
            case {"method": "tools/list", "id": id, **others} if others.get("params", {}) == {}:
                result = shown
            case _:
                return None
        return b'{"jsonrpc":"2.0","id":%b,"result":%b}\n' % (
            json.dumps(id, ensure_ascii=False).encode(),
            result,
        )

    return answer


def plain_servers(content: bytes) -> dict[str, dict[str, Any]] | None:
    """The servers of a configuration that can be used beyond doubt; None where there is a doubt."""
    try:
        whole = _parsed(content)
    except ValueError:
        return None
    match whole:
        case {"mcpServers": dict(servers), **others} if not others.keys() - {"$schema"}:
            schema = others.get("$schema", "")
            plain = isinstance(schema, str) and all(map(_is_plain, servers.values()))
            return servers if plain else None
        case _:
            return None


def _is_plain(entry: object) -> bool:
    """Whether a server's entry has only members that are known here, each with a value that is right beyond doubt."""
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


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


def _are_features(value: object) -> bool:
    return isinstance(value, dict) and value.keys() <= _FEATURES and all(map(_is_flag, value.values()))


def _are_timeouts(value: object) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() <= _FEATURES
        and all(_is_text(one) and _DURATION.fullmatch(one) for one in value.values())
    )


_FEATURES = {"tools", "resources", "prompts"}
_DURATION = re.compile(r"[1-9][0-9]{0,3}(ms|s|m|min)")
_SHARED: dict[str, Callable[[object], bool]] = {
    "description": _is_text,
    "enabled": _is_flag,
    "features": _are_features,
    "timeout": _are_timeouts,
}
#: The plain members of an entry, by the member that says what kind of server it is.
_MEMBERS: dict[str, dict[str, Callable[[object], bool]]] = {
    "command": {
        **_SHARED,
        "command": _is_text,
        "args": _are_texts,
        "env": _are_named_texts,
        "type": lambda value: value == "stdio",
    },
    "url": {
        **_SHARED,
        "url": _is_text,
        "headers": _are_named_texts,
        "oauth_client_id": _is_text,
        "oauth_scopes": _are_texts,
        "type": lambda value: value in ("http", "sse"),
    },
}


def _plain_message(line: bytes) -> object:
    """A message that can be spelt in one way only; None for any other."""
    if b"\\" in line:
        return None
    try:
        message = _parsed(line)
    except ValueError:
        return None
    match message:
        case {"jsonrpc": "2.0", **others} if others.keys() <= {"id", "method", "params"}:
            id = others.get("id", 0)
            return message if isinstance(id, str | int) and not isinstance(id, bool) else None
        case _:
            return None


def _parsed(text: bytes) -> object:
    """JSON, without anything that two parsers could take differently. Raises ValueError."""
    if b"\\u" in text:
        raise ValueError("an escape that may be half a character")
    try:
        return _decode(text.decode())
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a member twice")
    return found


def _integer(text: str) -> int:
    if text == "-0":
        raise ValueError("a second way to write zero")
    return int(text)


def _constant(text: str) -> object:
    raise ValueError("not JSON")


_decode = json.JSONDecoder(object_pairs_hook=_unique, parse_int=_integer, parse_constant=_constant).decode


def _is_pipe(descriptor: int) -> bool:
    try:
        mode = os.fstat(descriptor).st_mode
    except OSError:
        return False
    return sys.platform != "win32" and (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode))


def _write(line: bytes) -> None:
    """Write to the client. One that is gone is noticed later, where it can be told."""
    view = memoryview(line)
    try:
        while view:
            view = view[os.write(1, view) :]
    except OSError:
        return
