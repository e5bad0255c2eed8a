"""A profile: what the runner knows about one implementation before the run.

A profile is a TOML file. `conformance.model.profile_tables` has the tables that describe how the program is started and configured.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from conformance.errors import UsageError
from conformance.model import profile_tables as tables
from conformance.model.profile_file import (
    DEFAULT_LOG_SWITCH,
    DEFAULT_SETTINGS,
    DEFAULT_TOOLS,
    ProfileFile,
    check_profile,
    read_profile_file,
)
from conformance.model.profile_tables import ConfigTable, Names
from conformance.model.registry import REVISIONS, Reach
from conformance.model.relay import reason_for_exemption
from conformance.model.verdicts import Level

if TYPE_CHECKING:
    from collections.abc import Mapping

IMPLEMENTATIONS = Path(__file__).resolve().parents[1] / "implementations"
TRANSPORTS = ("stdio", "http", "sse")
#: the family of the requirements about several clients at once
SEVERAL_CLIENTS = "SHARE"
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
    "bounded-lines": "sends a client on stdio no message above 8 MiB",
    "names-missing-groups": "names in `_meta` of a list the groups whose part is missing",
}


class Profile(ProfileFile, frozen=True):
    """What the runner knows about an implementation before the run: a file, with what follows from its members."""

    config: ConfigTable = ConfigTable()
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
        # A command line has neither variables nor a file that changes, unless the profile says otherwise.
        usual = ConfigTable() if content.single is None else ConfigTable(variables=False, reload=False)
        config = content.config or usual
        try:
            tables.check_names(content)
            if content.single is not None:
                tables.check_single(content.single)
            tables.check_config(config)
            tables.checked_place(content.tokens.place)
            if problem := content.client.problem():
                raise UsageError(f"client: {problem}")
        except UsageError as refused:
            raise UsageError(f"{file}: {refused}") from refused
        missing = {} if content.single is None else content.single.missing_families()
        members = {member: getattr(content, member) for member in ProfileFile.__struct_fields__}
        members |= {
            "name": content.name or file.stem,
            "absent": {**missing, **content.absent},
            "tools": {**DEFAULT_TOOLS, **content.tools},
            "settings": {**DEFAULT_SETTINGS, **content.settings},
            "offers": content.offers or max(content.revisions, default=""),
            "upstreams": content.upstreams if content.single is None else "one",
            "config": config,
            "log_switch": content.log_switch or dict(DEFAULT_LOG_SWITCH),
        }
        return Profile(**members, origin=origin)

    @property
    def names(self) -> Names:
        """How it makes the names of tools, prompts and resources."""
        return self

    @property
    def token_file(self) -> str:
        """The token file of a server, relative to HOME; `{server}` stands for the name of the server."""
        return tables.checked_place(self.tokens.place)

    @property
    def margin(self) -> float:
        """Seconds before the expiry of a token at which it refreshes the token."""
        return self.tokens.margin

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
