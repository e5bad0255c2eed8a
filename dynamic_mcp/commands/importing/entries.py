"""One server of a tool as a server of ours.

The fields of all tools are told apart by their names: none means two things. Whatever is not taken over is named in a note, and so is
every value that could not be read. Values are never in a note: any may be a secret.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from dynamic_mcp.commands.importing.references import NAME, References

#: How programs of this kind are called: an entry that starts one is this proxy, or one like it.
OURSELVES = frozenset({"dynamic-mcp", "dynamic_mcp", "dynamic-mcp-reference", "dmcp"})
_STARTERS = frozenset({"uvx", "uv", "pipx", "npx", "bunx", "python", "python3", "py", "sh", "bash", "cmd"})

#: Seconds.
_MAX_TIMEOUT = 100_000

_TRANSPORTS = {
    "stdio": "stdio",
    "local": "stdio",
    "http": "http",
    "streamablehttp": "http",
    "sse": "sse",
    "remote": None,
}

#: Fields that change nothing here, and why.
_WITHOUT_EFFECT = {
    "env_vars": "the server gets the whole environment of the proxy anyway",
    "autoApprove": "what needs no approval is between the user and the agent",
    "alwaysAllow": "what needs no approval is between the user and the agent",
    "trust": "what needs no approval is between the user and the agent",
    "default_tools_approval_mode": "what needs no approval is between the user and the agent",
    "envFile": "load that file into the environment of the proxy",
    "cwd": "the server starts in the folder of the proxy; write paths in full",
    "startup_timeout_sec": "a server has 10 s to start, then it is tried again",
    "startup_timeout_ms": "a server has 10 s to start, then it is tried again",
}


@dataclass
class Imported:
    """What became of one entry."""

    name: str
    #: the entry of ours without its description; None when there is none
    entry: dict[str, Any] | None
    #: what the tool said about the server
    description: str = ""
    notes: list[str] = field(default_factory=list)

    @property
    def is_on(self) -> bool:
        """Whether the proxy would start it."""
        return self.entry is not None and self.entry.get("enabled") is not False


def convert(
    name: str,
    source: object,
    make_references: Callable[[Callable[[str], None]], References],
    unit: float | None,
) -> Imported:
    """Convert one entry; ``unit`` is the seconds of its ``timeout``, None where that is not about calls."""
    result = Imported(name, None)
    if not isinstance(source, dict):
        result.notes.append("is not an object; it was left out")
        return result
    _Conversion(source, result, make_references(result.notes.append), unit).run()
    return result


class _Conversion:
    def __init__(
        self, source: dict[str, Any], result: Imported, expand: References, unit: float | None
    ) -> None:
        self._left = dict(source)
        self._result = result
        self._expand = expand
        self._unit = unit
        self._entry: dict[str, Any] = {}

    def run(self) -> None:
        command = self._command()
        if command and _starts_us(command):
            self._note("starts this proxy itself, or one like it; it was left out")
            return
        url = self._url()
        kind = self._kind()
        if command and url:
            self._note("has a command and an address; the address was left out")
        if command:
            self._entry["command"], *args = command
            if "${" in command[0]:
                self._note(
                    "command: references are replaced in args, env, headers and url only; write it in full"
                )
            self._entry.update({"args": args} if args else {})
            self._texts("env", "env", "environment")
            self._drop("headers", "http_headers", "env_http_headers", "bearer_token_env_var", "oauth", "auth")
        elif url:
            self._entry.update({"url": url, **({"type": kind} if kind in ("http", "sse") else {})})
            self._headers()
            self._oauth()
            self._drop("args", "env", "environment")
        else:
            self._note("has neither a command nor an address; it was left out")
            return
        self._switch()
        self._timeout()
        description = self._left.pop("description", "")
        self._result.description = description if isinstance(description, str) else ""
        for field_ in sorted(self._left):
            why = _WITHOUT_EFFECT.get(field_, "there is nothing like it here")
            self._note(f"{field_} was left out: {why}")
        self._result.entry = self._entry

    def _note(self, text: str) -> None:
        self._result.notes.append(text)

    def _take(self, kind: type, *names: str) -> Any:
        """The first of these fields that is there, if it is of this type; what is of another one is named and left out."""
        for name in names:
            if name in self._left:
                value = self._left.pop(name)
                if isinstance(value, kind) and not (kind is not bool and isinstance(value, bool)):
                    return value
                if value is not None:
                    self._note(f"{name} is not written as it should be; it was left out")
        return None

    def _command(self) -> list[str]:
        given = self._left.pop("command", None)
        if given in (None, "", []):
            return []
        args = self._take(list, "args") or []
        words = [*(given if isinstance(given, list) else [given]), *args]
        if not all(isinstance(word, str) for word in words):
            self._note("command or args hold what is no text; they were left out")
            return []
        return [self._expand(word, f"args[{n - 1}]" if n else "command") for n, word in enumerate(words)]

    def _url(self) -> str | None:
        for name in ("httpUrl", "serverUrl", "url"):
            if url := self._take(str, name):
                if name == "httpUrl":
                    self._left.setdefault("type", "http")
                return self._expand(url, name)
        return None

    def _kind(self) -> str | None:
        given = self._take(str, "type", "transport", "transportType")
        if given is None:
            return None
        kind = re.sub(r"[-_ ]", "", given).lower()
        if kind not in _TRANSPORTS:
            self._note("its type is not known here; the transport is found out at the start")
        return _TRANSPORTS.get(kind)

    def _texts(self, to: str, *names: str) -> None:
        """A table of texts; numbers and truth values become the text that a shell would make of them."""
        for name in names:
            table = self._take(dict, name) or {}
            for key, value in table.items():
                if isinstance(value, bool | int | float):
                    value = str(value).lower() if isinstance(value, bool) else str(value)
                if isinstance(value, str):
                    self._entry.setdefault(to, {})[key] = self._expand(value, f"{name}.{key}")
                else:
                    self._note(f"{name}.{key} is not a text; it was left out")

    def _headers(self) -> None:
        self._texts("headers", "headers", "http_headers")
        for header, variable in (self._take(dict, "env_http_headers") or {}).items():
            self._header_from(header, variable, "env_http_headers", "")
        if variable := self._take(str, "bearer_token_env_var"):
            self._header_from("Authorization", variable, "bearer_token_env_var", "Bearer ")

    def _header_from(self, header: str, variable: object, name: str, before: str) -> None:
        """A header whose value is in an environment variable."""
        if isinstance(variable, str) and NAME.fullmatch(variable):
            headers = self._entry.setdefault("headers", {})
            if header in headers:
                self._note(f"headers.{header} is there twice; the one from the environment counts")
            headers[header] = f"{before}${{{variable}}}"
        else:
            self._note(f"{name} does not name an environment variable; it was left out")

    def _oauth(self) -> None:
        given: dict[str, Any] = {}
        for name in ("oauth", "auth"):
            if isinstance(self._left.get(name), dict):
                given.update(self._left.pop(name))
            elif self._left.get(name) is False:
                del self._left[name]
                self._note(
                    f"{name}: false was left out: a server that wants an authorization is signed in to"
                )
        for scopes in (self._take(list, "scopes"), given.pop("scopes", None), given.pop("scope", None)):
            words = scopes.split() if isinstance(scopes, str) else scopes
            if isinstance(words, list) and all(isinstance(word, str) for word in words):
                self._entry.update({"oauth_scopes": words} if words else {})
            elif words is not None:
                self._note("scopes are not written as they should be; they were left out")
        for name in ("clientId", "client_id", "CLIENT_ID"):
            if isinstance(given.get(name), str):
                self._entry["oauth_client_id"] = self._expand(given.pop(name), f"oauth.{name}")
        for name in sorted(given):
            self._note(f"oauth.{name} was left out: there is nothing like it here")

    def _drop(self, *names: str) -> None:
        for name in names:
            if self._left.pop(name, None) not in (None, "", [], {}):
                self._note(f"{name} was left out: it does not belong to a server of this kind")

    def _switch(self) -> None:
        disabled, enabled = self._take(bool, "disabled"), self._take(bool, "enabled")
        if disabled or enabled is False:
            self._entry["enabled"] = False

    def _timeout(self) -> None:
        seconds = self._take(int | float, "tool_timeout_sec")  # type: ignore[arg-type]
        if seconds is None and self._unit is not None:
            given = self._take(int | float, "timeout")  # type: ignore[arg-type]
            seconds = None if given is None else given * self._unit
        if seconds is None:
            return
        if not 0.001 <= seconds < _MAX_TIMEOUT:
            self._note("its timeout is out of bounds; it was left out")
        elif seconds % 1:
            self._entry["timeout"] = {"tools": f"{round(seconds * 1000)}ms"}
        else:
            self._entry["timeout"] = {"tools": f"{round(seconds)}s"}


def _starts_us(command: list[str]) -> bool:
    """Whether the program is a proxy like this one, called itself or through a program that starts others."""
    program = PurePath(command[0].replace("\\", "/")).name.removesuffix(".exe").removesuffix(".cmd")
    if program in OURSELVES:
        return True
    if re.sub(r"[\d.]+$", "", program) not in _STARTERS:
        return False
    words = (re.split(r"[@=<>\[]", PurePath(word).name)[0] for word in command[1:])
    return any(word in OURSELVES for word in words)
