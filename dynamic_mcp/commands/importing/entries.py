"""Converts one server of a tool into a server of the proxy.

No field name has different meanings in different tools. Everything that the conversion drops or cannot read has a note. Notes contain
no values, because any value may be a secret.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from dynamic_mcp.commands.importing.client_settings import client_settings
from dynamic_mcp.commands.importing.references import VARIABLE_NAME, References
from dynamic_mcp.commands.importing.stateful import keeps_state
from dynamic_mcp.commands.importing.switches import take_switch
from dynamic_mcp.commands.importing.tool_lists import ToolLists

#: The names of this proxy and of similar ones.
PROXY_NAMES = frozenset({"dynamic-mcp", "dynamic_mcp", "dynamic-mcp-reference", "dmcp"})
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

#: Fields without an effect in the proxy, and the reason or the remedy.
_WITHOUT_EFFECT = {
    "env_vars": "the server gets the whole environment of the proxy anyway",
    "autoApprove": "the agent handles approvals, not the proxy",
    "alwaysAllow": "the agent handles approvals, not the proxy",
    "trust": "the agent handles approvals, not the proxy",
    "default_tools_approval_mode": "the agent handles approvals, not the proxy",
    "envFile": "load that file into the environment of the proxy",
    "startup_timeout_sec": "a start may take 5 min; timeout.start changes that",
    "startup_timeout_ms": "a start may take 5 min; timeout.start changes that",
}
_NO_SUCH_SETTING = "the proxy has no such setting"

_TYPE_NAMES: dict[type, str] = {str: "a string", list: "a list", dict: "an object", bool: "true or false"}


@dataclass
class Imported:
    """The result of one conversion."""

    name: str
    #: the entry of the proxy without its description, or None
    entry: dict[str, Any] | None
    #: the description in the tool's entry
    description: str = ""
    notes: list[str] = field(default_factory=list)

    @property
    def is_on(self) -> bool:
        """Whether the server is enabled."""
        return self.entry is not None and self.entry.get("enabled") is not False


def convert(
    name: str,
    source: object,
    make_references: Callable[[Callable[[str], None]], References],
    unit: float | None,
) -> Imported:
    """Convert one entry. ``unit`` is the unit of its ``timeout`` in seconds; None if that does not apply to calls."""
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
        self._rest = dict(source)
        self._result = result
        self._expand = expand
        self._unit = unit
        self._entry: dict[str, Any] = {}

    def run(self) -> None:
        command = self._command()
        if command and _starts_proxy(command):
            self._note("starts this proxy itself, or one like it; it was left out")
            return
        url = self._url()
        kind = self._kind()
        if command and url:
            self._note("has a command and an address; the address was left out")
        if command:
            self._entry["command"], *args = command
            self._entry.update({"args": args} if args else {})
            if keeps_state(command):
                self._entry["shared"] = False
            self._folder()
            self._texts("env", "env", "environment")
            self._drop("headers", "http_headers", "env_http_headers", "bearer_token_env_var", "oauth", "auth")
        elif url:
            self._entry.update({"url": url, **({"type": kind} if kind in ("http", "sse") else {})})
            self._headers()
            self._oauth()
            self._drop("args", "env", "environment", "cwd")
        else:
            self._note("has neither a command nor an address; it was left out")
            return
        self._switch()
        if tools := ToolLists(self._result.name, self._note).take(self._rest):
            self._entry["tools"] = tools
        self._timeout()
        description = self._rest.pop("description", "")
        self._result.description = description if isinstance(description, str) else ""
        for field_ in sorted(self._rest):
            why = _WITHOUT_EFFECT.get(field_, _NO_SUCH_SETTING)
            self._note(f"{field_} was left out: {why}")
        self._result.entry = self._entry

    def _note(self, text: str) -> None:
        self._result.notes.append(text)

    def _take(self, kind: type, *names: str) -> Any:
        """The first of these fields that has this type. Fields of another type get a note."""
        for name in names:
            if name in self._rest:
                value = self._rest.pop(name)
                if isinstance(value, kind) and not (kind is not bool and isinstance(value, bool)):
                    return value
                if value is not None:
                    self._note(f"{name} must be {_TYPE_NAMES.get(kind, 'a number')}; it was left out")
        return None

    def _command(self) -> list[str]:
        value = self._rest.pop("command", None)
        if value in (None, "", []):
            return []
        args = self._take(list, "args") or []
        words = [*(value if isinstance(value, list) else [value]), *args]
        if not all(isinstance(word, str) for word in words):
            self._note("command and args must be strings; they were left out")
            return []
        return [self._expand(word, f"args[{n - 1}]" if n else "command") for n, word in enumerate(words)]

    def _url(self) -> str | None:
        for name in ("httpUrl", "serverUrl", "url"):
            if url := self._take(str, name):
                if name == "httpUrl":
                    self._rest.setdefault("type", "http")
                return self._expand(url, name)
        return None

    def _folder(self) -> None:
        cwd = self._expand(self._take(str, "cwd") or "", "cwd")
        if os.path.isabs(cwd) or cwd.startswith(("~", "${")):
            self._entry["cwd"] = cwd
        elif cwd:
            self._note("cwd was left out: it is relative to a folder of the tool; write it in full")

    def _kind(self) -> str | None:
        value = self._take(str, "type", "transport", "transportType")
        if value is None:
            return None
        kind = re.sub(r"[-_ ]", "", value).lower()
        if kind not in _TRANSPORTS:
            self._note("its type is unknown; the proxy detects the transport")
        return _TRANSPORTS.get(kind)

    def _texts(self, to: str, *names: str) -> None:
        """Take an object of strings. Numbers and booleans become strings."""
        for name in names:
            table = self._take(dict, name) or {}
            for key, value in table.items():
                if isinstance(value, bool | int | float):
                    value = str(value).lower() if isinstance(value, bool) else str(value)
                if isinstance(value, str):
                    if key in self._entry.get(to, {}):
                        self._note(
                            f"{name}.{key} is there twice, as {' and '.join(names)}; the last one counts"
                        )
                    self._entry.setdefault(to, {})[key] = self._expand(value, f"{name}.{key}")
                else:
                    self._note(f"{name}.{key} must be a string; it was left out")

    def _headers(self) -> None:
        self._texts("headers", "headers", "http_headers")
        for header, variable in (self._take(dict, "env_http_headers") or {}).items():
            self._header_from(header, variable, "env_http_headers", "")
        if variable := self._take(str, "bearer_token_env_var"):
            self._header_from("Authorization", variable, "bearer_token_env_var", "Bearer ")

    def _header_from(self, header: str, variable: object, name: str, before: str) -> None:
        """Add a header with the value of an environment variable."""
        if isinstance(variable, str) and VARIABLE_NAME.fullmatch(variable):
            headers = self._entry.setdefault("headers", {})
            if header in headers:
                self._note(f"headers.{header} occurs twice; the one from the environment counts")
            headers[header] = f"{before}${{{variable}}}"
        else:
            self._note(f"{name} does not name an environment variable; it was left out")

    def _oauth(self) -> None:
        value: dict[str, Any] = {}
        for name in ("oauth", "auth"):
            if isinstance(self._rest.get(name), dict):
                value.update(self._rest.pop(name))
            elif self._rest.get(name) is False:
                del self._rest[name]
                self._note(f"{name}: false was left out: the proxy signs in to a server that requires it")
        for scopes in (self._take(list, "scopes"), value.pop("scopes", None), value.pop("scope", None)):
            words = scopes.split() if isinstance(scopes, str) else scopes
            if isinstance(words, list) and all(isinstance(word, str) for word in words):
                self._entry.update({"oauth_scopes": words} if words else {})
            elif words is not None:
                self._note("scopes must be a string or a list of strings; they were left out")
        for name in ("clientId", "client_id", "CLIENT_ID"):
            if isinstance(value.get(name), str):
                self._entry["oauth_client_id"] = self._expand(value.pop(name), f"oauth.{name}")
        table = client_settings(value, self._expand, self._note)
        if table.get("client_secret") is not None and "oauth_client_id" not in self._entry:
            del table["client_secret"]
            self._note("oauth: a client secret was left out, because there is no client id for it")
        self._entry.update({"oauth": table} if table else {})
        for name in sorted(value):
            self._note(f"oauth.{name} was left out: {_NO_SUCH_SETTING}")

    def _drop(self, *names: str) -> None:
        for name in names:
            if self._rest.pop(name, None) not in (None, "", [], {}):
                self._note(f"{name} was left out: it does not belong to a server of this kind")

    def _switch(self) -> None:
        if not take_switch(self._rest, self._note):
            self._entry["enabled"] = False

    def _timeout(self) -> None:
        seconds = self._take(int | float, "tool_timeout_sec")  # type: ignore[arg-type]
        if seconds is None and self._unit is not None:
            value = self._take(int | float, "timeout")  # type: ignore[arg-type]
            seconds = None if value is None else value * self._unit
        if seconds is None:
            return
        if not 0.001 <= seconds < _MAX_TIMEOUT:
            self._note("its timeout is out of bounds; it was left out")
        elif seconds % 1:
            self._entry["timeout"] = {"tools": f"{round(seconds * 1000)}ms"}
        else:
            self._entry["timeout"] = {"tools": f"{round(seconds)}s"}


def _starts_proxy(command: list[str]) -> bool:
    """Whether the command starts this proxy or a similar one, directly or through a launcher such as npx."""
    program = PurePath(command[0].replace("\\", "/")).name.removesuffix(".exe").removesuffix(".cmd")
    if program in PROXY_NAMES:
        return True
    if re.sub(r"[\d.]+$", "", program) not in _STARTERS:
        return False
    words = (re.split(r"[@=<>\[]", PurePath(word).name)[0] for word in command[1:])
    return any(word in PROXY_NAMES for word in words)
