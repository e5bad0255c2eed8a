"""The parts of a profile that say how a program shows its tools, gets its servers and keeps its tokens.

Each table refuses a value that cannot be meant with a `UsageError`, which names the member and the accepted form.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Any, Literal

import msgspec

from conformance.errors import UsageError
from conformance.model.misspelt import check_fields, check_member
from conformance.model.profile_values import check_places

#: "dynamic": two tools in front of all others; "flat": each tool of a server is a tool of the program
Face = Literal["dynamic", "flat"]
#: the upstreams that one process of the program serves
Upstreams = Literal["several", "one"]

#: the token file of a server, relative to HOME
DEFAULT_TOKEN_FILE = ".dynamic-mcp/oauth-servers/{server}.json"
#: seconds before the expiry of a token at which it is refreshed
DEFAULT_MARGIN = 300.0

#: in a word of `[single]`: the words of a stdio server, and the same as one string for a shell
COMMAND, SHELL = "{command}", "{shell}"
#: in a word of `[single]`: the address of a server behind a URL
URL = "{url}"
#: in a line of `[single]`: the words of `header`, `env`, `oauth` and `client`
OPTIONS = "{options}"
#: in the command: the words of the one upstream
UPSTREAM = "{upstream}"

#: the members of a server entry of dynamic-mcp, which the checks set
_ENTRY_MEMBERS = (
    *("description", "type", "command", "args", "env", "cwd", "url", "headers", "enabled", "shared"),
    *(
        "oauth",
        "oauth_client_id",
        "oauth_client_secret",
        "oauth_scopes",
        "oauth_private_hosts",
        "oauth_at_start",
    ),
    *("features", "tools", "timeout", "security"),
)
#: the parts of `timeout` that a program can have in places of their own
_TIMEOUTS = tuple(f"timeout.{kind}" for kind in ("tools", "resources", "prompts", "start", "lists"))

#: the members of an entry that are tables, and what can have a table of its own around it
_TABLES = ("oauth", "features", "tools", "timeout", "security", *_TIMEOUTS)

#: by line of `[single]`: what its words can stand for; all but `command` need each of them
_LINE_FIELDS = {
    "command": (COMMAND, SHELL),
    "http": (URL,),
    "sse": (URL,),
    "header": ("{name}", "{value}"),
    "env": ("{name}", "{value}"),
    "client": ("{client_id}",),
}

_FIELD = re.compile(r"\{[^{}]*\}")


class Names(msgspec.Struct, frozen=True, kw_only=True):
    """How the names of tools, prompts and resources are made; an empty pattern = learned from the list.

    The patterns with `_alone` are for a program that has one server.
    """

    tool: str = ""
    tool_alone: str = ""
    prompt: str = ""
    prompt_alone: str = ""
    uri: str = ""
    uri_alone: str = ""

    def pattern(self, kind: Literal["tool", "prompt", "uri"], *, alone: bool) -> str:
        """The pattern for a name of this kind; empty if the profile has none."""
        several: str = getattr(self, kind)
        one: str = getattr(self, f"{kind}_alone")
        return (one or several) if alone else several


#: by member of `Names`: the fields that a pattern needs, and those that it can have
_NAME_FIELDS = {
    "tool": (("{tool}",), ("{server}",)),
    "prompt": (("{prompt}",), ("{server}",)),
    "uri": ((), ("{server}", "{uri}", "{scheme}", "{rest}", "{quoted}")),
}


def put(whole: dict[str, Any], place: str, value: Any) -> None:
    """Set the value at a dotted place, and make the objects on the way."""
    *sections, last = place.split(".")
    for section in sections:
        whole = whole.setdefault(section, {})
    whole[last] = value


class ConfigTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The table `[config]`: the form of the configuration file, as it differs from that of dynamic-mcp."""

    #: JSON is YAML too, so "yaml" changes the name of the file alone
    format: Literal["json", "yaml"] = "json"
    #: the dotted place of the server entries
    servers: str = "mcpServers"
    #: by the member of an entry: its dotted place in an entry of this program
    rename: dict[str, str] = {}
    #: the members of an entry that this program refuses or has no use for
    drop: tuple[str, ...] = ()
    #: how it takes a timeout: as text ("30s"), or as a number of these units
    units: Literal["text", "seconds", "milliseconds"] = "text"
    #: whether it expands `${NAME}`
    variables: bool = True
    #: whether it applies a changed file while it runs
    reload: bool = True

    @property
    def is_plain(self) -> bool:
        """Whether a configuration of dynamic-mcp needs no change."""
        return not (self.rename or self.drop) and (self.servers, self.units) == ("mcpServers", "text")


class SingleTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The table `[single]`: how one upstream goes on the command line. An empty line = the program has no such thing."""

    #: a stdio server: `{command}` stands for its words, `{shell}` for one string for a shell
    command: tuple[str, ...] = ()
    #: a server behind a URL: `{url}`
    http: tuple[str, ...] = ()
    sse: tuple[str, ...] = ()
    #: the words for each header: `{name}` and `{value}`
    header: tuple[str, ...] = ()
    #: the words for each environment variable of a stdio server: `{name}` and `{value}`
    env: tuple[str, ...] = ()
    #: the words for an OAuth client id: `{client_id}`
    client: tuple[str, ...] = ()
    #: the words for a server that requires a sign-in, if the program signs in only where its command line says so
    oauth: tuple[str, ...] = ()

    def missing_families(self) -> dict[str, str]:
        """The families of requirements that no line serves, each with the reason."""
        found: dict[str, str] = {}
        if not self.command:
            found |= dict.fromkeys(
                ("STD", "GUARD"), "[single] has no line `command`: it starts no stdio server"
            )
        if not self.http:
            found["HTTP"] = "[single] has no line `http`: it takes no server behind a URL"
        if not self.sse:
            found["SSE"] = "[single] has no line `sse`: it takes no HTTP+SSE server"
        if not (self.http or self.sse):
            found |= dict.fromkeys(
                ("OAUTH", "TOK"), "[single] has no line `http` or `sse`: it never signs in"
            )
        return found


class TokensTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The table `[tokens]`: where the program keeps its OAuth tokens, and when it refreshes them."""

    #: the token file of a server, below HOME; `{server}` stands for its name
    place: str = ""
    #: seconds before the expiry at which it refreshes a token
    margin: float = DEFAULT_MARGIN


def check_names(names: Names) -> None:
    """Raise `UsageError` for a pattern without what it needs, or with a field that it cannot have."""
    for member in Names.__struct_fields__:
        pattern: str = getattr(names, member)
        needed, allowed = _NAME_FIELDS[member.removesuffix("_alone")]
        if not pattern:
            continue
        _check_fields(member, pattern, needed, allowed)
        if member.startswith("uri") and not any(one in pattern for one in ("{uri}", "{rest}", "{quoted}")):
            raise UsageError(f"{member}: {pattern!r} needs {{uri}}, {{rest}} or {{quoted}}")


def check_config(config: ConfigTable) -> None:
    """Raise `UsageError` for a name that no entry has, and for a place that cannot be meant."""
    members = (*_ENTRY_MEMBERS, *_TIMEOUTS)
    check_places("config", {"servers": config.servers})
    for member in config.drop:
        check_member("config.drop", member, members)
    for member in config.rename:
        check_member("config.rename", member, members)
    if both := sorted(set(config.drop) & set(config.rename)):
        raise UsageError(
            f"config.drop: {both[0]!r} is in `rename` too; a member is either renamed or dropped"
        )
    unchanged = {member: member for member in _ENTRY_MEMBERS if member not in config.drop}
    check_places("config.rename", {**unchanged, **config.rename}, _TABLES)


def check_single(single: SingleTable) -> None:
    """Raise `UsageError` for a line without the placeholder that it needs, or if no line takes an upstream."""
    if not (single.command or single.http or single.sse):
        raise UsageError("single: needs a line `command`, `http` or `sse`, because it describes one upstream")
    for member in single.__struct_fields__:
        line: tuple[str, ...] = getattr(single, member)
        check_fields(f"single.{member}", line, (OPTIONS, "{port}", *_LINE_FIELDS.get(member, ())))
        if any("{config}" in word for word in line):
            raise UsageError(
                f"single.{member}: remove {{config}}: with [single], there is no configuration file"
            )
    if single.command and not any(word == COMMAND or SHELL in word for word in single.command):
        raise UsageError(f'single.command: needs a word "{COMMAND}", or "{SHELL}" in one of its words')
    for member, needed in _LINE_FIELDS.items():
        if member == "command":
            continue
        words: tuple[str, ...] = getattr(single, member)
        for placeholder in needed if words else ():
            if not any(placeholder in word for word in words):
                raise UsageError(f"single.{member}: {list(words)} has no {placeholder}")


def checked_place(place: str) -> str:
    """The token file relative to HOME. Raises `UsageError` for a path outside of it."""
    if place.startswith("/") or ".." in PurePosixPath(place).parts:
        raise UsageError(f"tokens.place: {place!r} is not a path below HOME")
    check_fields("tokens.place", [place], ("{server}",))
    return place.removeprefix("~/") or DEFAULT_TOKEN_FILE


def _check_fields(member: str, pattern: str, needed: tuple[str, ...], allowed: tuple[str, ...]) -> None:
    for placeholder in needed:
        if placeholder not in pattern:
            raise UsageError(f"{member}: {pattern!r} has no {placeholder}")
    for found in _FIELD.findall(pattern):
        if found not in (*needed, *allowed):
            raise UsageError(f"{member}: {found} is not one of {', '.join((*needed, *allowed))}")
