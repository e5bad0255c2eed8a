"""Loads a configuration file: read, parse, validate, expand.

In a loaded configuration every field is known and has its type, each server has exactly one transport, and ``${VAR}`` references are
expanded. For any other file ``load`` raises a ``ConfigError`` with the file, the location and the fix, and without any value. It never
writes to the file.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Mapping
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
    HttpTransport,
    Server,
    SseTransport,
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
from dynamic_mcp.config.shape import Unusable, read
from dynamic_mcp.config.tool_rules import ToolsEntry, tool_rules
from dynamic_mcp.errors import ConfigError, Mistake
from dynamic_mcp.origin import NO_WEB_ADDRESS, is_plain, is_web_address
from dynamic_mcp.protocol.surrogates import first_lone_surrogate
from dynamic_mcp.secret import Secret


class _File(msgspec.Struct, forbid_unknown_fields=True):
    # Servers stay raw here, so that a mistake in one does not hide those in the others.
    servers: dict[str, msgspec.Raw] = msgspec.field(name="mcpServers")
    schema: str | None = msgspec.field(name="$schema", default=None)
    max_listing_size: str | int | None = None
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
    max_listing_size = _max_listing_size(file, mistakes)
    servers: list[Server] = []
    switched_off: list[str] = []
    for name, raw in file.servers.items():
        path = ("mcpServers", name)
        if not name:
            mistakes(("mcpServers",), "a server has an empty name; give it one", name)
        try:
            entry = read(bytes(raw), _Server, path, mistakes)
        except Unusable:
            continue
        is_enabled = entry.enabled or name == also
        own = expand if is_enabled else Expander({})
        settings = security(file.security, entry.security, own, mistakes, path)
        server = _server(name, entry, settings, own, mistakes)
        tools = tool_rules(entry.tools, mistakes, (*path, "tools"))
        if not is_enabled:
            switched_off.append(name)
        elif server is not None:
            servers.append(msgspec.structs.replace(server, tools=tools, max_listing_size=max_listing_size))
    mistakes.check()
    return Config(
        tuple(servers),
        switched_off=tuple(switched_off),
        warnings=(
            *expand.warnings(),
            *_path_warnings(servers),
            *_url_warnings(servers),
            *defects.warnings(servers),
        ),
        audit=log,
        token_store=file.security.token_store,
    )


def _path_warnings(servers: list[Server]) -> Iterator[str]:
    for server in servers:
        transport = server.transport
        if isinstance(transport, StdioTransport):
            texts = [
                ("command", transport.command),
                *((f"args[{n}]", arg) for n, arg in enumerate(transport.args)),
                *((f"env.{name}", value.reveal()) for name, value in transport.env),
            ]
            for field, text in texts:
                if (escape := windows_path.broken_escape(text, is_program=field == "command")) is not None:
                    yield windows_path.warning(f"mcpServers.{server.name}.{field}", escape)


def _max_listing_size(file: _File, mistakes: Mistakes) -> int:
    if file.max_listing_size is None:
        return MAX_LISTING_SIZE
    try:
        return size.size(file.max_listing_size)
    except ValueError as error:
        mistakes(("max_listing_size",), f"{error}; write {size.SIZE_SYNTAX}")
        return MAX_LISTING_SIZE


def _url_warnings(servers: list[Server]) -> Iterator[str]:
    for server in servers:
        transport = server.transport
        if isinstance(transport, StdioTransport):
            continue
        if not is_web_address(transport.url.reveal()):
            yield f"mcpServers.{server.name}.url {NO_WEB_ADDRESS}"
        elif is_plain(transport.url.reveal()) and not transport.require_https:
            yield (
                f"mcpServers.{server.name}.url begins with http://: others can read credentials and everything else on the way; "
                "use https://, or refuse such URLs with security.require_https"
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


def _server(
    name: str, entry: _Server, settings: Security, expand: Expander, mistakes: Mistakes
) -> Server | None:
    """The server; None if its transport is unclear. Each mistake goes to ``mistakes``."""
    path = ("mcpServers", name)
    location = text_of(path)

    def wrong(problem: str, *inner: str | int, name: str | None = None) -> None:
        mistakes((*path, *inner), problem, name)

    transport: StdioTransport | HttpTransport | SseTransport
    timeouts = _timeouts(entry.timeout, name, mistakes, is_remote=entry.url is not None)
    if entry.type not in (None, "stdio", "http", "sse"):
        wrong("must be 'stdio', 'http' or 'sse'; Streamable HTTP is 'http'", "type")
    if entry.command is not None and entry.url is not None:
        wrong("has both 'command' and 'url'; a server is either a process or an address, remove one")
        return None
    if entry.command is not None:
        if entry.type in ("http", "sse"):
            wrong(f"{entry.type!r} needs 'url', not 'command'", "type")
        for field in _ONLY_URL:
            if getattr(entry, field):
                wrong("belongs to a server with 'url', this one has 'command'", field)
        for field in ONLY_URL:
            if getattr(entry.security, field) is not msgspec.UNSET:
                wrong("belongs to a server with 'url', this one has 'command'", "security", field)
        if not entry.command:
            wrong("is empty; name the program to start", "command")
        if entry.cwd == "":
            wrong("is empty; name the folder to start in, or remove it", "cwd")
        cwd = (
            None if entry.cwd is None else beside(mistakes.origin, expand.path(entry.cwd, f"{location}.cwd"))
        )
        argument = expand.script if Path(entry.command).name in _SHELLS else expand
        transport = StdioTransport(
            command=expand.path(entry.command, f"{location}.command"),
            args=tuple(argument(arg, f"{location}.args[{n}]") for n, arg in enumerate(entry.args)),
            env=_secrets(entry.env, f"{location}.env", expand),
            cwd=cwd,
            environment=settings.environment,
            limits=settings.limits,
            prefix=settings.command_prefix,
            max_message_size=settings.max_message_size,
        )
    elif entry.url is not None:
        if entry.type == "stdio":
            wrong("'stdio' needs 'command', not 'url'", "type")
        for field in ("args", "env", "cwd"):
            if getattr(entry, field):
                wrong("belongs to a server with 'command', this one has 'url'", field)
        for field in ONLY_COMMAND:
            if getattr(entry.security, field) is not msgspec.UNSET:
                wrong("belongs to a server with 'command', this one has 'url'", "security", field)
        for n, host in enumerate(entry.oauth_private_hosts):
            if not _HOST.fullmatch(host):
                wrong(
                    "is not a host; write its name or address without scheme and port",
                    "oauth_private_hosts",
                    n,
                )
        spellings: dict[str, str] = {}
        for header in entry.headers:
            if (first := spellings.setdefault(header.lower(), header)) != header:
                wrong(f"{header!r} is there twice, also as {first!r}; remove one", "headers", name=header)
        # A copied address, or a variable from a file, easily has a space or a line end too much.
        url = Secret(expand(entry.url, f"{location}.url").strip())
        headers = _secrets(entry.headers, f"{location}.headers", expand)
        short = ShortForms(entry.oauth_client_id, entry.oauth_client_secret, entry.oauth_scopes)
        signing_in = oauth(entry.oauth or OAuthEntry(), short, path, expand, wrong, mistakes.origin)
        hosts = tuple(entry.oauth_private_hosts)
        shared = settings.require_https, settings.max_message_size, settings.token_store, hosts
        own = signing_in.client_id, signing_in.scopes, *shared, signing_in.oauth, entry.oauth_at_start
        is_sse = entry.type == "sse"
        transport = (
            SseTransport(url, headers, *own)
            if is_sse
            else HttpTransport(url, headers, entry.type is None, *own)
        )
    else:
        wrong("needs 'command' (a process to start) or 'url' (a remote server)")
        return None
    policy = CallRules(settings.validate_arguments, settings.rate_limit, settings.max_concurrent_calls)
    return Server(name, entry.description, transport, entry.features, timeouts, policy, shared=entry.shared)


def _secrets(values: dict[str, str], location: str, expand: Expander) -> tuple[tuple[str, Secret], ...]:
    return tuple((name, Secret(expand(value, f"{location}.{name}"))) for name, value in values.items())


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
