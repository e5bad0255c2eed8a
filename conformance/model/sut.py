"""The system under test: a command line and its profile.

No shell sees the command. `{config}` in any argument stands for the path of the configuration file. Checks run in a working directory
of their own, so `make_sut` makes the arguments absolute that name a file in the caller's directory. Limits: it recognises only whole
arguments that are the path of an existing file, and refuses one that looks like a script and is none. A program does not find files that
it looks up relative to its working directory.
"""

from __future__ import annotations

import math
import os
import re
import shutil
import site
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from conformance.errors import UsageError
from conformance.model.baseline import Known, ProfileFile, check_profile, read_profile_file
from conformance.model.relay import reason_for_exemption

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PLACEHOLDER = "{config}"
IMPLEMENTATIONS = Path(__file__).resolve().parents[1] / "implementations"
DEFAULT_PROFILE = "reference"
DEFAULT_COMMAND = (sys.executable, "-m", "dynamic_mcp", PLACEHOLDER)
#: seconds that a program may take to answer `initialize`
DEFAULT_STARTS_WITHIN = 5.0
DEFAULT_TOOLS: Mapping[str, str] = {"list": "get_dynamic_tools", "call": "call_dynamic_tool"}
#: a word that names a script: no option, assignment or URL, and no white space
_SCRIPT = re.compile(r"[^\s=:]+\.(?:[cm]?[jt]s|py|rb|sh|pl|php|lua|jar|exs?)")
#: programs whose arguments name files of a container or of another machine, or packages
_RUNS_ELSEWHERE = frozenset(
    {"bunx", "docker", "kubectl", "nerdctl", "npx", "pipx", "podman", "ssh", "uvx", "wsl"}
)
TRANSPORTS = ("stdio", "http", "sse")
#: the token file of a server, relative to HOME
DEFAULT_TOKEN_FILE = ".dynamic-mcp/oauth-servers/{server}.json"
#: the environment variables that make it write more to stderr
DEFAULT_LOG_SWITCH: Mapping[str, str] = {"RUST_LOG": "debug"}
#: the revisions of MCP
REVISIONS = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28")
#: what an implementation can promise beyond the requirements; a check then demands it
PROMISES: Mapping[str, str] = {
    "configuration-order": "lists the groups in the order of the configuration",
    "upstream-error-codes": "keeps code and data of an upstream's error",
    "any-confirmation": "takes 200 and 204 for the confirmation of a notification, besides 202",
    "listens": "opens a GET stream for the notifications of a server behind a URL",
    "random-callback-port": "listens on another port for each sign-in",
    "certificates-always": "has no environment variable that switches the validation of certificates off",
    "status-0-at-the-end": "exits with status 0 when stdin ends",
    "eager-start": "starts every server at once, not on its first use",
    "eager-restart": "starts a server again after its end, not on its next use",
    "both-eras-at-once": "serves requests of both eras on one connection, whatever its first one was",
    "right-form": "shows a model the right form of a wrong call as JSON, and makes a call with one possible meaning",
    "unknown-members": "passes on members of results that no revision defines",
    "names-missing-groups": "names in `_meta` of a list the groups whose part is missing",
}

#: optional settings that the checks need, by their place in the configuration of the bundled proxy: in a server's entry or, for all
#: servers, at the root. All but the filter of tools and the table `oauth` are hardening.
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
    #: the token file of a server, relative to HOME; `{server}` stands for the name of the server
    token_file: str = DEFAULT_TOKEN_FILE
    #: the environment variables that make it write more to stderr
    log_switch: Mapping[str, str] = field(default_factory=lambda: dict(DEFAULT_LOG_SWITCH))
    #: which of `PROMISES` it makes
    promises: frozenset[str] = frozenset()
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
        if content.token_file.startswith("/") or ".." in Path(content.token_file).parts:
            raise UsageError(f"{file}: token_file: {content.token_file!r} is not a path below HOME")
        return Profile(
            name=content.name or file.stem,
            homepage=content.homepage,
            install=content.install,
            command=content.command,
            absent=content.absent,
            known=content.known,
            tools={**DEFAULT_TOOLS, **content.tools},
            settings={**DEFAULT_SETTINGS, **content.settings},
            registers=content.registers,
            relay=content.relay,
            starts_within=content.starts_within,
            entries=content.entries,
            promises=frozenset(content.promises),
            revisions=frozenset(content.revisions),
            token_file=content.token_file.removeprefix("~/") or DEFAULT_TOKEN_FILE,
            log_switch=content.log_switch or dict(DEFAULT_LOG_SWITCH),
            origin=origin,
        )

    def configured(self, **values: Any) -> dict[str, Any]:
        """The members of a server entry, or of the whole configuration, that set these values.

        The arguments have the names of `DEFAULT_SETTINGS`; the members have the places that this profile gives.
        """
        whole: dict[str, Any] = {}
        for name, value in values.items():
            *sections, last = self.settings[name].split(".")
            inner = whole
            for section in sections:
                inner = inner.setdefault(section, {})
            inner[last] = value
        return whole

    def speaks(self, revision: str) -> bool | None:
        """Whether it speaks this revision of MCP; None if the profile does not say."""
        return revision in self.revisions if self.revisions else None

    def reason_for_absence(self, requirement_id: str, era: str = "any") -> str | None:
        """Why this requirement, of this era, does not apply, or None if it does."""
        if era == "modern" and self.speaks(REVISIONS[-1]) is False:
            return f"its profile has no revision of this era: {', '.join(sorted(self.revisions))}"
        declared = self.absent.get(requirement_id, self.absent.get(requirement_id.partition("-")[0]))
        return reason_for_exemption(requirement_id) if declared is None and self.relay else declared


@dataclass(frozen=True)
class Sut:
    """The system under test."""

    name: str
    command: tuple[str, ...]
    profile: Profile
    #: variables that the command needs in addition to the scrubbed environment of a check
    environment: dict[str, str] = field(default_factory=dict)
    #: seconds that a prerequisite may take; short for programs that never reach one
    max_wait: float = math.inf

    def command_for(self, config: Path | None) -> tuple[str, ...]:
        """The command for one configuration file; None leaves out every argument that names it."""
        if config is None:
            return tuple(part for part in self.command if PLACEHOLDER not in part)
        return tuple(part.replace(PLACEHOLDER, str(config)) for part in self.command)


def make_sut(command: Sequence[str] = (), profile: Profile | None = None) -> Sut:
    """Build the system under test from the command and profile of the command line.

    Without a command, the profile's command counts; without that, the bundled reference proxy's. Without a profile, a command gets one
    that promises nothing, and the reference its own. Raises `UsageError` if the program does not exist or the command has no place for
    the configuration file.
    """
    if profile is None:
        profile = Profile("") if command else Profile.load(DEFAULT_PROFILE)
    parts = tuple(command) or profile.command or DEFAULT_COMMAND
    if not any(PLACEHOLDER in part for part in parts[1:]):
        raise UsageError(
            f"the command does not say where the configuration file goes: add {PLACEHOLDER}, "
            f"for example: -- {parts[0]} {PLACEHOLDER}"
        )
    _find_script(parts)
    program = _find_program(parts[0], "" if command else profile.install)
    arguments = tuple(_absolute_if_file(part) for part in parts[1:])
    return Sut(
        profile.name or Path(program).name, (program, *arguments), profile, _environment_for(arguments)
    )


def _find_program(program: str, install: str) -> str:
    found = shutil.which(program)
    if found is None:
        where = "is not an executable file" if os.sep in program else "was not found on PATH"
        raise UsageError(f"the program {program!r} {where}{f'; to install it: {install}' if install else ''}")
    # Not resolved, because the interpreter of a virtual environment is a link and needs its own name.
    return os.path.abspath(found)


def _find_script(parts: Sequence[str]) -> None:
    """Raise `UsageError` for an argument that has the name of a script and no file, unless the program looks elsewhere for it."""
    if Path(parts[0]).name in _RUNS_ELSEWHERE:
        return
    for word in parts[1:]:
        is_path = _SCRIPT.fullmatch(word) is not None and not word.startswith("-") and PLACEHOLDER not in word
        if is_path and not Path(word).is_file():
            raise UsageError(f"there is no file {word!r} (tried {os.path.abspath(word)})")


def _absolute_if_file(argument: str) -> str:
    if argument.startswith("-") or PLACEHOLDER in argument or not Path(argument).is_file():
        return argument
    return os.path.abspath(argument)


def _environment_for(arguments: Sequence[str]) -> dict[str, str]:
    """PYTHONPATH for `-m MODULE`, if Python finds the module only in the working directory or beside this package."""
    if "-m" not in arguments[:-1]:
        return {}
    module = arguments[arguments.index("-m") + 1].partition(".")[0]
    installed = {Path(folder).resolve() for folder in site.getsitepackages()}
    for root in (Path.cwd(), Path(__file__).resolve().parents[2]):
        if (root / module).is_dir() or (root / f"{module}.py").is_file():
            return {} if root in installed else {"PYTHONPATH": str(root)}
    return {}
