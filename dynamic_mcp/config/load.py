"""Loads a configuration file: read, parse, validate, expand.

In a loaded configuration every field is known and has its type, each server has exactly one transport, and ``${VAR}`` references are
expanded. For any other file ``load`` raises a ``ConfigError`` with the file, the location and the fix, and without any value. It never
writes to the file.
"""

from __future__ import annotations

import codecs
import difflib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeVar, get_args, get_type_hints

import msgspec

from dynamic_mcp import files
from dynamic_mcp.config import duration
from dynamic_mcp.config.expand import Expander, beside
from dynamic_mcp.config.model import (
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
from dynamic_mcp.config.security import (
    NESTED,
    ONLY_COMMAND,
    ONLY_URL,
    Security,
    SecurityEntry,
    SecurityForAll,
    audit,
    security,
)
from dynamic_mcp.errors import ConfigError
from dynamic_mcp.origin import is_plain
from dynamic_mcp.secret import Secret
from dynamic_mcp.wording import missing_member, wrong_type


class _File(msgspec.Struct, forbid_unknown_fields=True):
    # Servers stay raw here, because the error paths of msgspec lack the keys of maps, and so the name of the server.
    servers: dict[str, msgspec.Raw] = msgspec.field(name="mcpServers")
    schema: str | None = msgspec.field(name="$schema", default=None)
    security: SecurityForAll = msgspec.field(default_factory=SecurityForAll)


class _Timeouts(msgspec.Struct, forbid_unknown_fields=True):
    tools: str | int | None = None
    resources: str | int | None = None
    prompts: str | int | None = None
    start: str | int | None = None


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
    oauth_scopes: list[str] = []
    oauth_private_hosts: list[str] = []
    enabled: bool = True
    features: Features = Features()
    timeout: _Timeouts = msgspec.field(default_factory=_Timeouts)
    security: SecurityEntry = msgspec.field(default_factory=SecurityEntry)


_NESTED: dict[str, type[msgspec.Struct]] = {"features": Features, "timeout": _Timeouts, **NESTED}
#: One server in the file.
SERVER_ENTRY: type[msgspec.Struct] = _Server
_T = TypeVar("_T", bound=msgspec.Struct)
_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}|[0-9A-Fa-f:.]{2,45}")


def load(path: Path, environment: Mapping[str, str]) -> Config:
    """Read, validate and expand the configuration at ``path``.

    Raises ConfigError: unreadable file, malformed JSON, unknown or missing fields, wrong types, contradictory transports. A file of
    another user is unreadable too, because that user could start programs as this one.
    """
    try:
        data = files.read(path, files.MAX_CONFIG, follow=True)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from None
    except ValueError:
        raise ConfigError(f"{str(path)!r}: is not a path that can be opened") from None
    return parse(data, str(path), environment)


def schema() -> bytes:
    """The JSON Schema of a configuration, for editors. It does not relate fields to transports."""
    from importlib import resources

    return resources.files(__package__).joinpath("schema.json").read_bytes()


def parse(data: bytes, origin: str, environment: Mapping[str, str]) -> Config:
    """Validate and expand the content of a configuration file. ``origin`` names the file in errors."""
    file = _decode(_as_json(data, origin), _File, origin, "")
    expand = Expander(environment)
    try:
        # The section for all servers has to be valid even without a server.
        security(file.security, SecurityEntry(), Expander({}), "")
        log = audit(file.security.audit, expand)
    except ValueError as error:
        raise ConfigError(f"{origin}: {error}") from None
    servers: list[Server] = []
    switched_off: list[str] = []
    for name, raw in file.servers.items():
        location = f"mcpServers.{name}"
        entry = _decode(bytes(raw), _Server, origin, location)
        own = expand if entry.enabled else Expander({})
        try:
            settings = security(file.security, entry.security, own, location)
        except ValueError as error:
            raise ConfigError(f"{origin}: {error}") from None
        server = _server(name, entry, settings, origin, location, own)
        if entry.enabled:
            servers.append(server)
        else:
            switched_off.append(name)
    return Config(
        tuple(servers),
        switched_off=tuple(switched_off),
        warnings=(*expand.warnings(), *_plain_url_warnings(servers)),
        audit=log,
        token_store=file.security.token_store,
    )


def _plain_url_warnings(servers: list[Server]) -> Iterator[str]:
    for server in servers:
        transport = server.transport
        if isinstance(transport, StdioTransport) or transport.require_https:
            continue
        if is_plain(transport.url.reveal()):
            yield (
                f"mcpServers.{server.name}.url begins with http://: others can read credentials and everything else on the way; "
                "use https://, or refuse such URLs with security.require_https"
            )


def _as_json(data: bytes, origin: str) -> bytes:
    data = data.removeprefix(codecs.BOM_UTF8)
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{origin}: {_position(data, error.start)}: is not UTF-8; save the file as UTF-8"
        ) from None
    if not data.strip():
        raise ConfigError(f'{origin}: is empty; the smallest configuration is {{"mcpServers": {{}}}}')
    return data


def _position(data: bytes, offset: int) -> str:
    before = data[:offset]
    line_start = before.rfind(b"\n") + 1
    column = len(before[line_start:].decode("utf-8", "replace")) + 1
    return f"line {before.count(10) + 1}, column {column}"


def _decode(data: bytes, kind: type[_T], origin: str, location: str) -> _T:
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{origin}: {_explain(str(error), kind, location)}") from None
    except msgspec.DecodeError as error:
        found = re.search(r"\(byte (\d+)\)", str(error))
        at = int(found.group(1)) if found else len(data)
        problem = "ends too early" if "truncated" in str(error) else re.sub(r" \(byte.*", "", str(error))
        fix = "check commas, quotes and brackets there"
        if data[at : at + 1] in (b"/", b"#"):
            problem, fix = "JSON has no comments", "remove it"
        raise ConfigError(f"{origin}: {_position(data, at)}: {problem}; {fix}") from None
    except RecursionError:
        raise ConfigError(f"{origin}: is nested too deeply to be a configuration") from None


def _explain(message: str, kind: type[msgspec.Struct], location: str) -> str:
    """Translate a message of msgspec: the location, the problem, and the fix."""
    text, _, path = message.partition(" - at `")
    inner = path.rstrip("`").removeprefix("$").removeprefix(".")
    where = ".".join(part for part in (location, inner) if part) or "the top level"
    if unknown := re.fullmatch(r"Object contains unknown field `(.*)`", text, re.DOTALL):
        fields = _fields_at(kind, inner)
        near = difflib.get_close_matches(unknown.group(1), fields, n=1)
        fix = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(fields)}"
        return f"{where}: unknown field {unknown.group(1)!r}; {fix}"
    if (missing := missing_member(text)) is not None:
        return f"{where}: required field {missing!r} is missing; add it"
    if (problem := wrong_type(text)) is not None:
        return f"{where}: {problem}"
    if outside := re.fullmatch(r"Expected `int` ([<>]=) (\d+)", text):
        return f"{where}: must be {outside.group(1)} {outside.group(2)}"
    if text.startswith("Invalid enum value"):
        holder, _, field = inner.rpartition(".")
        known = get_args(get_type_hints(_kind_at(kind, holder))[field])
        return f"{where}: must be {' or '.join(map(repr, known))}"
    return f"{where}: is not valid"


def _fields_at(kind: type[msgspec.Struct], inner: str) -> list[str]:
    return [field.encode_name for field in msgspec.structs.fields(_kind_at(kind, inner))]


def _kind_at(kind: type[msgspec.Struct], inner: str) -> type[msgspec.Struct]:
    for part in filter(None, inner.split(".")):
        section = SecurityForAll if kind is _File else SecurityEntry
        kind = section if part == "security" else _NESTED.get(part, kind)
    return kind


def _server(
    name: str, entry: _Server, settings: Security, origin: str, location: str, expand: Expander
) -> Server:
    def error(problem: str) -> ConfigError:
        return ConfigError(f"{origin}: {location}: {problem}")

    transport: StdioTransport | HttpTransport | SseTransport
    if entry.command is not None and entry.url is not None:
        raise error("has both 'command' and 'url'; a server is either a process or an address, remove one")
    if entry.type not in (None, "stdio", "http", "sse"):
        raise error("'type' must be 'stdio', 'http' or 'sse'")
    if entry.command is not None:
        if entry.type not in (None, "stdio"):
            raise error(f"type {entry.type!r} needs 'url', not 'command'")
        for field in ("headers", "oauth_client_id", "oauth_scopes", "oauth_private_hosts"):
            if getattr(entry, field):
                raise error(f"'{field}' belongs to a server with 'url', this one has 'command'")
        for field in ONLY_URL:
            if getattr(entry.security, field) is not msgspec.UNSET:
                raise error(f"'security.{field}' belongs to a server with 'url', this one has 'command'")
        if not entry.command:
            raise error("'command' is empty; name the program to start")
        if entry.cwd == "":
            raise error("'cwd' is empty; name the folder to start in, or remove it")
        cwd = None if entry.cwd is None else beside(origin, expand.path(entry.cwd, f"{location}.cwd"))
        transport = StdioTransport(
            command=expand.path(entry.command, f"{location}.command"),
            args=tuple(expand(arg, f"{location}.args[{n}]") for n, arg in enumerate(entry.args)),
            env=_secrets(entry.env, f"{location}.env", expand),
            cwd=cwd,
            environment=settings.environment,
            limits=settings.limits,
            prefix=settings.command_prefix,
            max_message_size=settings.max_message_size,
        )
    elif entry.url is not None:
        if entry.type == "stdio":
            raise error("type 'stdio' needs 'command', not 'url'")
        for field in ("args", "env", "cwd"):
            if getattr(entry, field):
                raise error(f"'{field}' belongs to a server with 'command', this one has 'url'")
        for field in ONLY_COMMAND:
            if getattr(entry.security, field) is not msgspec.UNSET:
                raise error(f"'security.{field}' belongs to a server with 'command', this one has 'url'")
        url = Secret(expand(entry.url, f"{location}.url"))
        headers = _secrets(entry.headers, f"{location}.headers", expand)
        client_id = entry.oauth_client_id
        if client_id is not None:
            client_id = expand(client_id, f"{location}.oauth_client_id")
        # One variable may hold several scopes, or none.
        scopes = tuple(
            scope
            for n, text in enumerate(entry.oauth_scopes)
            for scope in expand(text, f"{location}.oauth_scopes[{n}]").split()
        )
        for n, host in enumerate(entry.oauth_private_hosts):
            if not _HOST.fullmatch(host):
                raise error(
                    f"'oauth_private_hosts[{n}]' is not a host; write its name or address without scheme and port"
                )
        hosts = tuple(entry.oauth_private_hosts)
        shared = settings.require_https, settings.max_message_size, settings.token_store, hosts
        if entry.type == "sse":
            transport = SseTransport(url, headers, client_id, scopes, *shared)
        else:
            transport = HttpTransport(url, headers, entry.type is None, client_id, scopes, *shared)
    else:
        raise error("needs 'command' (a process to start) or 'url' (a remote server)")
    timeouts = _timeouts(entry.timeout, origin, location, is_remote=entry.url is not None)
    policy = CallRules(settings.validate_arguments, settings.rate_limit, settings.max_concurrent_calls)
    return Server(name, entry.description, transport, entry.features, timeouts, policy)


def _secrets(values: dict[str, str], location: str, expand: Expander) -> tuple[tuple[str, Secret], ...]:
    return tuple((name, Secret(expand(value, f"{location}.{name}"))) for name, value in values.items())


def _timeouts(entry: _Timeouts, origin: str, location: str, *, is_remote: bool) -> Timeouts:
    values = {"start": REMOTE_START} if is_remote else {}
    for field in ("tools", "resources", "prompts", "start"):
        value = getattr(entry, field)
        if value is None:
            continue
        try:
            values[field] = duration.seconds(value)
        except ValueError as error:
            raise ConfigError(
                f"{origin}: {location}.timeout.{field}: {error}; write {duration.DURATION_SYNTAX}"
            ) from None
    return Timeouts(**values)
