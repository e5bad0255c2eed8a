"""A profile: what the runner knows about one implementation before the run.

A profile is a TOML file. `conformance.model.profile_tables` has the tables that describe how the program is started and configured.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from conformance.errors import UsageError
from conformance.model import profile_tables as tables
from conformance.model.baseline import Known, ProfileFile, check_profile, read_profile_file
from conformance.model.client_table import ClientTable
from conformance.model.profile_tables import (
    DEFAULT_MARGIN,
    DEFAULT_TOKEN_FILE,
    ConfigTable,
    Names,
    SingleTable,
)
from conformance.model.registry import REVISIONS, Reach
from conformance.model.relay import reason_for_exemption
from conformance.model.verdicts import Level

if TYPE_CHECKING:
    from collections.abc import Mapping

IMPLEMENTATIONS = Path(__file__).resolve().parents[1] / "implementations"
#: seconds that a program may take to answer `initialize`
DEFAULT_STARTS_WITHIN = 5.0
DEFAULT_TOOLS: Mapping[str, str] = {"list": "get_dynamic_tools", "call": "call_dynamic_tool"}
TRANSPORTS = ("stdio", "http", "sse")
#: the family of the requirements about several clients at once
SEVERAL_CLIENTS = "SHARE"
#: the environment variables that make it write more to stderr
DEFAULT_LOG_SWITCH: Mapping[str, str] = {"RUST_LOG": "debug"}
#: what an implementation can promise beyond the requirements; a check then demands it
PROMISES: Mapping[str, str] = {
    "configuration-order": "lists the groups in the order of the configuration",
    "upstream-error-codes": "keeps code and data of an upstream's error",
    "any-confirmation": "takes 200 and 204 for the confirmation of a notification, besides 202",
    "listens": "opens a GET stream for the notifications of a server behind a URL",
    "random-callback-port": "listens on another port for each sign-in",
    "single-state": "refuses a callback with two values of `state`",
    "certificates-always": "has no environment variable that switches the validation of certificates off",
    "status-0-at-the-end": "exits with status 0 when stdin ends",
    "eager-start": "starts every server at once, not on its first use",
    "eager-restart": "starts a server again after its end, not on its next use",
    "both-eras-at-once": "serves requests of both eras on one connection, whatever its first one was",
    "right-form": "shows a model the right form of a wrong call as JSON, and makes a call with one possible meaning",
    "unknown-members": "passes on members of results that no revision defines",
    "client-info": "tells servers the description of the client (`clientInfo`) in place of its own",
    "names-missing-groups": "names in `_meta` of a list the groups whose part is missing",
}

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


@dataclass(frozen=True)
class Profile:
    """What the runner knows about an implementation before the run."""

    name: str
    homepage: str = ""
    #: the command that installs the version which the profile describes
    install: str = ""
    #: the command to test if the command line names none
    command: tuple[str, ...] = ()
    #: requirement ids or families that do not apply, each with the reason
    absent: Mapping[str, str] = field(default_factory=dict)
    #: expected failures, see `conformance.model.baseline`
    known: tuple[Known, ...] = ()
    #: the names of the two tools: "list" shows the tools of a group, "call" calls one
    tools: Mapping[str, str] = field(default_factory=lambda: dict(DEFAULT_TOOLS))
    #: where the configuration has a setting: name to dotted path
    settings: Mapping[str, str] = field(default_factory=lambda: dict(DEFAULT_SETTINGS))
    #: seconds until its first answer, or until it refuses to start; requirements about the start have times of their own
    starts_within: float = DEFAULT_STARTS_WITHIN
    #: whether it registers itself as an OAuth client, because its configuration takes no client id
    registers: bool = False
    #: whether it passes the messages of a server on as they are (`conformance.model.relay`)
    relay: bool = False
    #: further members that the server entries of a transport ("stdio", "http", "sse") require
    entries: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    #: the revisions of MCP that it speaks; empty = unknown
    revisions: frozenset[str] = frozenset()
    #: the newest revision that it offers its servers; empty = unknown
    offers: str = ""
    #: the token file of a server, relative to HOME; `{server}` stands for the name of the server
    token_file: str = DEFAULT_TOKEN_FILE
    #: seconds before the expiry of a token at which it refreshes the token
    margin: float = DEFAULT_MARGIN
    #: how it shows the tools of its upstreams, and how it makes their names
    face: tables.Face = "dynamic"
    names: Names = field(default_factory=Names)
    #: the upstreams that one process serves
    upstreams: tables.Upstreams = "several"
    #: how one upstream goes on the command line; None = the upstreams are in a configuration file
    single: SingleTable | None = None
    #: the form of the configuration file
    config: ConfigTable = field(default_factory=ConfigTable)
    #: the environment variables that make it write more to stderr
    log_switch: Mapping[str, str] = field(default_factory=lambda: dict(DEFAULT_LOG_SWITCH))
    #: which of `PROMISES` it makes
    promises: frozenset[str] = frozenset()
    #: how a client reaches it, and how it ends
    client: ClientTable = field(default_factory=ClientTable)
    #: the value of `--profile` that selects this profile
    origin: str = ""

    @staticmethod
    def load(name_or_file: str) -> Profile:
        """Load `implementations/NAME.toml`, or the file at a path. Raises `UsageError`."""
        file = IMPLEMENTATIONS / f"{name_or_file}.toml"
        if os.sep in name_or_file or name_or_file.endswith(".toml"):
            file = Path(name_or_file)
        elif not file.is_file():
            names = ", ".join(sorted(known.stem for known in IMPLEMENTATIONS.glob("*.toml")))
            raise UsageError(
                f"there is no profile {name_or_file!r}; there are {names}, or give the path of a file"
            )
        return Profile._of(read_profile_file(file), file, name_or_file)

    @staticmethod
    def parse(text: str, name: str) -> Profile:
        """A profile from the text of a file. Raises `UsageError`, which mentions the name."""
        try:
            content = msgspec.toml.decode(text, type=ProfileFile)
        except msgspec.DecodeError as error:
            raise UsageError(f"{name}: {error}") from error
        check_profile(content, Path(name))
        return Profile._of(content, Path(name), "")

    @staticmethod
    def _of(content: ProfileFile, file: Path, origin: str) -> Profile:
        for section, known in (
            ("tools", DEFAULT_TOOLS),
            ("settings", DEFAULT_SETTINGS),
            ("entries", TRANSPORTS),
            ("promises", PROMISES),
            ("revisions", REVISIONS),
        ):
            if unknown := sorted(set(getattr(content, section)) - set(known)):
                raise UsageError(f"{file}: {section}: {unknown[0]!r} is not one of {', '.join(known)}")
        if content.offers not in ("", *REVISIONS):
            raise UsageError(f"{file}: offers: {content.offers!r} is not one of {', '.join(REVISIONS)}")
        names = Names(**{member: getattr(content, member) for member in Names.__struct_fields__})
        missing: dict[str, str] = {}
        try:
            tables.check_names(names)
            if content.single is None:
                config = content.config or ConfigTable()
            else:
                # A command line has neither variables nor a file that changes, unless the profile says otherwise.
                config = content.config or ConfigTable(variables=False, reload=False)
                tables.check_single(content.single)
                missing = content.single.missing_families()
            tables.check_config(config)
            place = tables.checked_place(content.tokens.place)
            if problem := content.client.problem():
                raise UsageError(f"client: {problem}")
        except UsageError as refused:
            raise UsageError(f"{file}: {refused}") from refused
        return Profile(
            name=content.name or file.stem,
            homepage=content.homepage,
            install=content.install,
            command=content.command,
            absent={**missing, **content.absent},
            known=content.known,
            tools={**DEFAULT_TOOLS, **content.tools},
            settings={**DEFAULT_SETTINGS, **content.settings},
            registers=content.registers,
            relay=content.relay,
            starts_within=content.starts_within,
            entries=content.entries,
            promises=frozenset(content.promises),
            revisions=frozenset(content.revisions),
            offers=content.offers or max(content.revisions, default=""),
            token_file=place,
            margin=content.tokens.margin,
            face=content.face,
            names=names,
            upstreams=content.upstreams if content.single is None else "one",
            single=content.single,
            config=config,
            log_switch=content.log_switch or dict(DEFAULT_LOG_SWITCH),
            client=content.client,
            origin=origin,
        )

    def configured(self, **values: Any) -> dict[str, Any]:
        """The members of a server entry, or of the whole configuration, that set these values.

        The arguments have the names of `DEFAULT_SETTINGS`; the members have the places that this profile gives.
        """
        whole: dict[str, Any] = {}
        for name, value in values.items():
            tables.put(whole, self.settings[name], value)
        return whole

    def speaks(self, revision: str) -> bool | None:
        """Whether it speaks this revision of MCP; None if the profile does not say."""
        return revision in self.revisions if self.revisions else None

    @property
    def is_configured_like_dynamic_mcp(self) -> bool:
        """Whether the settings of dynamic-mcp can be asked of it: it has a configuration file, and not one of another program."""
        return self.single is None and (self.face == "dynamic" or self.config == ConfigTable())

    def level_of(self, level: Level) -> Level:
        """How binding a requirement of this level is for the program.

        A DOC rests on the documents of dynamic-mcp, which bind no other proxy, so there it is a SHOULD.
        """
        binds = self.face == "dynamic" and not self.relay
        return level if binds or level is not Level.DOC else Level.SHOULD

    def reason_for_absence(
        self,
        requirement_id: str,
        era: str = "any",
        reach: str = Reach.PROXY,
        from_revision: str | None = None,
    ) -> str | None:
        """Why this requirement, of this era and reach and since this revision, does not apply, or None if it does."""
        family = requirement_id.partition("-")[0]
        if era == "modern" and self.speaks(REVISIONS[-1]) is False:
            return f"its profile has no revision of this era: {', '.join(sorted(self.revisions))}"
        if from_revision is not None and self.offers and self.offers < from_revision:
            return (
                f"MCP {from_revision} introduced it, and the program offers its servers {self.offers} at most"
            )
        if (reason := self.absent.get(requirement_id, self.absent.get(family))) is not None:
            return reason
        if self.relay and (reason := reason_for_exemption(requirement_id)) is not None:
            return reason
        if family == SEVERAL_CLIENTS and not self.client.has_several:
            return (
                "the requirement is about several clients at once, and the program has one: it speaks on stdio, and its profile does "
                "not say that its starts share their servers (`shares` in [client])"
            )
        if reach == Reach.SEVERAL_UPSTREAMS and self.upstreams == "one":
            return "the requirement is about several upstreams, and one process of the program serves one"
        if reach == Reach.DYNAMIC_MCP:
            return self._reason_against_dynamic_mcp(family)
        return None

    def _reason_against_dynamic_mcp(self, family: str) -> str | None:
        if family == "FRONT" and self.face == "flat":
            return (
                "the requirement is about the two tools of dynamic-mcp, and the face of the program is flat"
            )
        if family == "RLD" and not self.config.reload:
            return "the profile says that the program does not read a changed configuration (`reload`)"
        if family != "FRONT" and not self.is_configured_like_dynamic_mcp:
            return "the requirement is about the configuration of dynamic-mcp, and the profile describes another one"
        return None
