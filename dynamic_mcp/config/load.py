"""Loads a configuration file: read, parse, validate, expand.

In a loaded configuration every field is known and has its type, each server has exactly one transport, and ``${VAR}`` references are
expanded. For any other file ``load`` raises a ``ConfigError`` with the file, the location and the fix, and without any value. It never
writes to the file.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from dynamic_mcp import files
from dynamic_mcp.config import defects, duration, size, windows_path
from dynamic_mcp.config.expand import Expander, beside
from dynamic_mcp.config.mistakes import Mistakes
from dynamic_mcp.config.model import (
    MAX_LISTING_SIZE,
    REMOTE_START,
    CallRules,
    Config,
    Features,
    RemoteTransport,
    Server,
    StdioTransport,
    Timeouts,
)
from dynamic_mcp.config.oauth import OAuthEntry, ShortForms, oauth
from dynamic_mcp.config.places import Lines, text_of
from dynamic_mcp.config.security import (
    ONLY_COMMAND,
    ONLY_URL,
    Security,
    SecurityEntry,
    SecurityForAll,
    audit,
    security,
)
from dynamic_mcp.config.shape import Unusable, read, without_nulls
from dynamic_mcp.config.tool_rules import ToolsEntry, tool_rules
from dynamic_mcp.errors import ConfigError, Mistake
from dynamic_mcp.protocol.surrogates import first_lone_surrogate
from dynamic_mcp.secret import Secret


class _File(msgspec.Struct, forbid_unknown_fields=True):
    # Servers stay raw here, so that a mistake in one does not hide those in the others.
    servers: dict[str, msgspec.Raw] = msgspec.field(name="mcpServers")
    schema: str | None = msgspec.field(name="$schema", default=None)
    max_listing_size: str | int | None = None
    max_answer_size: str | int | None = None
    security: SecurityForAll = msgspec.field(default_factory=SecurityForAll)


class _Timeouts(msgspec.Struct, forbid_unknown_fields=True):
    tools: str | int | None = None
    resources: str | int | None = None
    prompts: str | int | None = None
    start: str | int | None = None
    lists: str | int | None = None


class _Server(msgspec.Struct, forbid_unknown_fields=True):
    description: str
    type: str | None = None
    command: str | None = None
    args: list[str] = []
    env: dict[str, str] = {}
    cwd: str | None = None
    url: str | None = None
    headers: dict[str, str] = {}
    oauth_client_id: str | None = None
    oauth_client_secret: str | None = None
    oauth_scopes: list[str] = []
    oauth_private_hosts: list[str] = []
    oauth: OAuthEntry | None = None
    oauth_at_start: bool = False
    enabled: bool = True
    shared: bool = True
    features: Features = Features()
    tools: ToolsEntry = msgspec.field(default_factory=ToolsEntry)
    timeout: _Timeouts = msgspec.field(default_factory=_Timeouts)
    security: SecurityEntry = msgspec.field(default_factory=SecurityEntry)


#: One server in the file.
SERVER_ENTRY: type[msgspec.Struct] = _Server
#: The members of an entry that only a server behind a URL has.
_ONLY_URL = (
    *("headers", "oauth_client_id", "oauth_client_secret", "oauth_scopes", "oauth_private_hosts", "oauth"),
    "oauth_at_start",
)
_SHELLS = frozenset({"sh", "ash", "bash", "dash", "ksh", "zsh"})
_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}|[0-9A-Fa-f:.]{2,45}")


def load(path: Path, environment: Mapping[str, str]) -> Config:
    """Read, validate and expand the configuration at ``path``.

    Raises ConfigError: unreadable file, malformed JSON, unknown or missing fields, wrong types, contradictory transports. A file of
    another user is unreadable too, because that user could start programs as this one.
    """
    return load_with(None, path, environment)


def load_with(also: str | None, path: Path, environment: Mapping[str, str]) -> Config:
    """The same, where the server ``also`` counts as enabled."""
    try:
        data = files.read(path, files.MAX_CONFIG, follow=True)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from None
    except ValueError:
        raise ConfigError(f"{str(path)!r}: is not a path that can be opened") from None
    return parse(data, str(path), environment, also)


def schema() -> bytes:
    """The JSON Schema of a configuration, for editors. It does not relate fields to transports."""
    from importlib import resources

    return resources.files(__package__).joinpath("schema.json").read_bytes()


def parse(data: bytes, origin: str, environment: Mapping[str, str], also: str | None = None) -> Config:
    """Validate and expand the content of a configuration file, named ``origin`` in errors. The server ``also`` counts as enabled."""
    text = _as_json(data, origin)
    mistakes = Mistakes(text, origin)
    try:
        file = read(text.encode(), _File, (), mistakes)
    except Unusable:
        file = _File({})
    expand = Expander(environment)
    # The section for all servers has to be valid even without a server.
    security(file.security, SecurityEntry(), Expander({}), mistakes, ())
    log = audit(file.security.audit, expand, mistakes)
    max_listing_size = size.read("max_listing_size", file.max_listing_size, mistakes) or MAX_LISTING_SIZE
    max_answer_size = size.read("max_answer_size", file.max_answer_size, mistakes)
    servers: list[Server] = []
    switched_off: list[str] = []
    for name, raw in file.servers.items():
        path = ("mcpServers", name)
        if not name:
            mistakes(("mcpServers",), "a server has an empty name; give it one", name)
        try:
            entry = read(without_nulls(bytes(raw)), _Server, path, mistakes)
        except Unusable:
            continue
        is_enabled = entry.enabled or name == also
        own = expand if is_enabled else Expander({})
        settings = security(file.security, entry.security, own, mistakes, path)
        server = _ServerReader(name, entry, settings, own, mistakes).server()
        tools = tool_rules(entry.tools, mistakes, (*path, "tools"))
        if not is_enabled:
            switched_off.append(name)
        elif server is not None:
            servers.append(
                msgspec.structs.replace(
                    server, tools=tools, max_listing_size=max_listing_size, max_answer_size=max_answer_size
                )
            )
    mistakes.check()
    return Config(
        tuple(servers),
        switched_off=tuple(switched_off),
        warnings=(
            *expand.warnings(),
            *windows_path.warnings(servers),
            *defects.url_warnings(servers),
            *defects.warnings(servers),
        ),
        audit=log,
        token_store=file.security.token_store,
    )


def _as_json(data: bytes, origin: str) -> str:
    """The text of the file, which is valid JSON. Raises ConfigError."""
    data = data.removeprefix(codecs.BOM_UTF8)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise _at(data, error.start, origin, "is not UTF-8; save the file as UTF-8") from None
    if not data.strip():
        raise ConfigError(f'{origin}: is empty; the smallest configuration is {{"mcpServers": {{}}}}')
    try:
        msgspec.json.decode(data, type=msgspec.Raw)
    except msgspec.DecodeError as error:
        found = re.search(r"\(byte (\d+)\)", str(error))
        at = int(found.group(1)) if found else len(data)
        problem = "ends too early" if "truncated" in str(error) else re.sub(r" \(byte.*", "", str(error))
        fix = "check commas, quotes and brackets there"
        if (half := first_lone_surrogate(data)) is not None:
            at, escape = half
            problem = f"{escape.decode()} is a lone surrogate, half of a character"
            fix = "write the character itself, or two backslashes if a backslash is meant"
        elif data[at : at + 1] in (b"/", b"#"):
            problem, fix = "JSON has no comments", "remove it"
        elif "escape" in problem:
            problem, fix = "a string has a single backslash", "write two for each, as in C:\\\\Users"
        raise _at(data, at, origin, f"{problem}; {fix}") from None
    except RecursionError:
        raise ConfigError(f"{origin}: is nested too deeply to be a configuration") from None
    return text


def _at(data: bytes, offset: int, origin: str, problem: str) -> ConfigError:
    """The error about a byte of the file."""
    before = data[:offset].decode("utf-8", "replace")
    return ConfigError(origin, [Mistake(Lines(before).position(len(before)), problem)])


class _ServerReader:
    """Reads the entry of one server. Each mistake goes to ``mistakes``."""

    def __init__(
        self, name: str, entry: _Server, settings: Security, expand: Expander, mistakes: Mistakes
    ) -> None:
        self._path = ("mcpServers", name)
        self._name = name
        self._entry = entry
        self._settings = settings
        self._expand = expand
        self._mistakes = mistakes

    def server(self) -> Server | None:
        """The server; None if its transport is unclear."""
        entry, settings = self._entry, self._settings
        timeouts = _timeouts(entry.timeout, self._name, self._mistakes, is_remote=entry.url is not None)
        if entry.type not in (None, "stdio", "http", "sse"):
            self._wrong("must be 'stdio', 'http' or 'sse'; Streamable HTTP is 'http'", "type")
        transport: StdioTransport | RemoteTransport
        match entry.command, entry.url:
            case str(), str():
                self._wrong(
                    "has both 'command' and 'url'; a server is either a process or an address, remove one"
                )
                return None
            case str(command), None:
                transport = self._stdio_transport(command)
            case None, str(url):
                transport = self._remote_transport(url)
            case _:
                self._wrong("needs 'command' (a process to start) or 'url' (a remote server)")
                return None
        rules = CallRules(settings.validate_arguments, settings.rate_limit, settings.max_concurrent_calls)
        return Server(
            self._name, entry.description, transport, entry.features, timeouts, rules, shared=entry.shared
        )

    def _wrong(self, problem: str, *inner: str | int, name: str | None = None) -> None:
        self._mistakes((*self._path, *inner), problem, name)

    def _refuse_fields_of(self, other: str, fields: Sequence[str], of_security: Sequence[str]) -> None:
        """Refuse the members that only a server of the other kind has; ``other`` is its main member."""
        own = "url" if other == "command" else "command"
        problem = f"belongs to a server with {other!r}, this one has {own!r}"
        for field in fields:
            if getattr(self._entry, field):
                self._wrong(problem, field)
        for field in of_security:
            if getattr(self._entry.security, field) is not msgspec.UNSET:
                self._wrong(problem, "security", field)

    def _stdio_transport(self, command: str) -> StdioTransport:
        entry, settings, expand, location = self._entry, self._settings, self._expand, text_of(self._path)
        if entry.type in ("http", "sse"):
            self._wrong(f"{entry.type!r} needs 'url', not 'command'", "type")
        self._refuse_fields_of("url", _ONLY_URL, ONLY_URL)
        if not command:
            self._wrong("is empty; name the program to start", "command")
        if entry.cwd == "":
            self._wrong("is empty; name the folder to start in, or remove it", "cwd")
        cwd = None if entry.cwd is None else expand.path(entry.cwd, f"{location}.cwd")
        argument = expand.script if Path(command).name in _SHELLS else expand
        return StdioTransport(
            command=expand.path(command, f"{location}.command"),
            args=tuple(argument(arg, f"{location}.args[{n}]") for n, arg in enumerate(entry.args)),
            env=self._secrets("env", entry.env),
            cwd=None if cwd is None else beside(self._mistakes.origin, cwd),
            environment=settings.environment,
            limits=settings.limits,
            prefix=settings.command_prefix,
            max_message_size=settings.max_message_size,
        )

    def _remote_transport(self, url: str) -> RemoteTransport:
        entry, settings, expand, location = self._entry, self._settings, self._expand, text_of(self._path)
        if entry.type == "stdio":
            self._wrong("'stdio' needs 'command', not 'url'", "type")
        self._refuse_fields_of("command", ("args", "env", "cwd"), ONLY_COMMAND)
        for n, host in enumerate(entry.oauth_private_hosts):
            if not _HOST.fullmatch(host):
                problem = "is not a host; write its name or address without scheme and port"
                self._wrong(problem, "oauth_private_hosts", n)
        spellings: dict[str, str] = {}
        for header in entry.headers:
            if (first := spellings.setdefault(header.lower(), header)) != header:
                problem = f"{header!r} is there twice, also as {first!r}; remove one"
                self._wrong(problem, "headers", name=header)
        # A copied address, or a variable from a file, easily has a space or a line end too much.
        address = Secret(expand(url, f"{location}.url").strip())
        headers = self._secrets("headers", entry.headers)
        short = ShortForms(entry.oauth_client_id, entry.oauth_client_secret, entry.oauth_scopes)
        origin = self._mistakes.origin
        signing_in = oauth(entry.oauth or OAuthEntry(), short, self._path, expand, self._wrong, origin)
        return RemoteTransport(
            url=address,
            headers=headers,
            oauth_client_id=signing_in.client_id,
            oauth_scopes=signing_in.scopes,
            kind=entry.type,
            require_https=settings.require_https,
            max_message_size=settings.max_message_size,
            token_store=settings.token_store,
            oauth_private_hosts=tuple(entry.oauth_private_hosts),
            oauth=signing_in.oauth,
            oauth_at_start=entry.oauth_at_start,
        )

    def _secrets(self, field: str, values: dict[str, str]) -> tuple[tuple[str, Secret], ...]:
        location = f"{text_of(self._path)}.{field}"
        return tuple(
            (name, Secret(self._expand(value, f"{location}.{name}"))) for name, value in values.items()
        )


def _timeouts(entry: _Timeouts, server: str, mistakes: Mistakes, *, is_remote: bool) -> Timeouts:
    values = {"start": REMOTE_START} if is_remote else {}
    for field in ("tools", "resources", "prompts", "start", "lists"):
        value = getattr(entry, field)
        if value is None:
            continue
        try:
            values[field] = duration.seconds(value)
        except ValueError as error:
            path = ("mcpServers", server, "timeout", field)
            mistakes(path, f"{error}; write {duration.DURATION_SYNTAX}")
    return Timeouts(**values)
