"""The TOML form of profiles and baselines: its members with their defaults, and what no file can mean.

`conformance.model.profile_tables` has the tables that describe how the program is started and configured.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from conformance.errors import UsageError
from conformance.model import profile_values as values
from conformance.model.baseline import Baseline, Known, check_known
from conformance.model.client_table import ClientTable
from conformance.model.profile_tables import ConfigTable, Face, Names, SingleTable, TokensTable, Upstreams
from conformance.model.registry import Registry

_Decoded = TypeVar("_Decoded")

#: seconds that a program may take to answer `initialize`
DEFAULT_STARTS_WITHIN = 5.0
DEFAULT_TOOLS: Mapping[str, str] = {"list": "get_dynamic_tools", "call": "call_dynamic_tool"}
#: the environment variables that make it write more to stderr
DEFAULT_LOG_SWITCH: Mapping[str, str] = {"RUST_LOG": "debug"}
#: optional settings that the checks need, by their place in the configuration of the bundled proxy. They are in a server's entry or, for
#: all servers, at the root. All but the filter of tools and the table `oauth` are hardening.
DEFAULT_SETTINGS: Mapping[str, str] = {
    "tools_allow": "tools.allow",
    "tools_deny": "tools.deny",
    "client_secret": "oauth.client_secret",
    "private_key_jwt": "oauth.private_key_jwt",
    "grant": "oauth.grant",
    "redirect_uri": "oauth.redirect_uri",
    "resource": "oauth.resource",
    "authorization_parameters": "oauth.authorization_parameters",
    "issuer": "oauth.issuer",
    "assume_pkce": "oauth.assume_pkce",
} | {
    name: f"security.{name}"
    for name in (
        "audit",
        "command_prefix",
        "environment",
        "limits",
        "max_concurrent_calls",
        "max_message_size",
        "rate_limit",
        "require_https",
        "token_store",
        "validate_arguments",
    )
}


class ProfileFile(Names, frozen=True, forbid_unknown_fields=True):
    """A decoded file; a baseline needs only `known`. The patterns for names are at its top level (`Names`)."""

    name: str = ""
    homepage: str = ""
    #: the command that installs the version which the profile describes
    install: str = ""
    #: the command to test if the command line names none
    command: tuple[str, ...] = ()
    #: requirement ids or families that do not apply, each with the reason
    absent: dict[str, str] = msgspec.field(default_factory=dict)
    #: expected failures, see `conformance.model.baseline`
    known: tuple[Known, ...] = ()
    #: the names of the two tools: "list" shows the tools of a group, "call" calls one
    tools: dict[str, str] = msgspec.field(default_factory=lambda: dict(DEFAULT_TOOLS))
    #: where the configuration has a setting: name to dotted path
    settings: dict[str, str] = msgspec.field(default_factory=lambda: dict(DEFAULT_SETTINGS))
    #: whether it registers itself as an OAuth client, because its configuration takes no client id
    registers: bool = False
    #: whether it passes the messages of a server on as they are (`conformance.model.relay`)
    relay: bool = False
    #: seconds until its first answer, or until it refuses to start; requirements about the start have times of their own
    starts_within: float = DEFAULT_STARTS_WITHIN
    #: further members that the server entries of a transport ("stdio", "http", "sse") require
    entries: dict[str, dict[str, Any]] = msgspec.field(default_factory=dict)
    #: which of `conformance.model.profile.PROMISES` it makes
    promises: frozenset[str] = frozenset()
    #: the environment variables that make it write more to stderr
    log_switch: dict[str, str] = msgspec.field(default_factory=lambda: dict(DEFAULT_LOG_SWITCH))
    #: the revisions of MCP that it speaks; empty = unknown
    revisions: frozenset[str] = frozenset()
    #: the newest revision that it offers its servers; empty = unknown
    offers: str = ""
    #: how it shows the tools of its upstreams
    face: Face = "dynamic"
    #: the upstreams that one process serves
    upstreams: Upstreams = "several"
    #: how one upstream goes on the command line; None = the upstreams are in a configuration file
    single: SingleTable | None = None
    #: the form of the configuration file; None = that of dynamic-mcp, or no file
    config: ConfigTable | None = None
    #: where it keeps its OAuth tokens, and when it refreshes them
    tokens: TokensTable = TokensTable()
    #: how a client reaches it, and how it ends
    client: ClientTable = ClientTable()


def read_profile_file(file: Path, registry: Registry | None = None) -> ProfileFile:
    """Read and check a profile or baseline file. Raises `UsageError` naming file and entry."""
    content = decode_toml(file, ProfileFile)
    check_profile(content, file, registry)
    return content


def read_baseline(file: Path, registry: Registry | None = None) -> Baseline:
    """The `[[known]]` entries of a baseline or profile file. Raises `UsageError`."""
    return Baseline(read_profile_file(file, registry).known)


def check_profile(content: ProfileFile, file: Path, registry: Registry | None = None) -> None:
    """Raise `UsageError` naming file and entry for an entry that cannot be meant."""
    registry = registry or Registry.load()
    check_known(content.known, file, registry)
    for name, reason in content.absent.items():
        if registry.get(name) is None and name not in registry.families:
            raise UsageError(f"{file}: absent: there is no requirement and no family {name}")
        if not reason.strip():
            raise UsageError(f"{file}: absent: {name}: the reason is blank")
    try:
        _check_values(content)
    except UsageError as refused:
        raise UsageError(f"{file}: {refused}") from refused


def _check_values(content: ProfileFile) -> None:
    """Raise `UsageError` for a value that no run can use."""
    values.check_number("starts_within", content.starts_within)
    values.check_number("tokens.margin", content.tokens.margin)
    values.check_number("client.lingers", content.client.lingers)
    values.check_json("entries", content.entries)
    values.check_places("settings", content.settings)
    values.check_headers("client.headers", content.client.headers)
    values.check_variables("client.env", content.client.env)
    values.check_variables("log_switch", content.log_switch)


def decode_toml(file: Path, kind: type[_Decoded]) -> _Decoded:
    """Decode a TOML file strictly. Raises `UsageError`."""
    try:
        return msgspec.toml.decode(file.read_bytes(), type=kind)
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror or error}") from error
    except (UnicodeDecodeError, msgspec.DecodeError) as error:
        raise UsageError(f"{file}: {error}") from error
