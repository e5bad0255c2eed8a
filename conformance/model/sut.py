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
from typing import TYPE_CHECKING

from conformance.errors import UsageError
from conformance.model.client_table import PORT
from conformance.model.misspelt import check_fields
from conformance.model.profile import Profile
from conformance.model.profile_tables import COMMAND, SHELL, UPSTREAM, URL

if TYPE_CHECKING:
    from collections.abc import Sequence

PLACEHOLDER = "{config}"
#: stands for the Python interpreter of the runner
INTERPRETER = "{python}"
#: in a command of `profile` and `smoke`: where the one server goes
PLACES = (COMMAND, SHELL, URL)
DEFAULT_PROFILE = "reference"
DEFAULT_COMMAND = (sys.executable, "-m", "dynamic_mcp", PLACEHOLDER)
#: a word that names a script: no option, assignment or URL, and no white space
_SCRIPT = re.compile(r"[^\s=:]+\.(?:[cm]?[jt]s|py|rb|sh|pl|php|lua|jar|exs?)")
_INTERPRETER = re.compile(
    r"(?:python|pypy|node|bun|deno|ruby|perl|php|lua|java|sh|bash|dash|zsh)[\d.]*(?:\.exe)?"
)
#: programs whose arguments name files of a container or of another machine, or packages
_RUNS_ELSEWHERE = frozenset(
    {"bunx", "docker", "kubectl", "nerdctl", "npx", "pipx", "podman", "ssh", "uvx", "wsl"}
)


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

    def command_for(self, config: Path | None, upstream: Sequence[str] = ()) -> tuple[str, ...]:
        """The command for one configuration file; None leaves out every argument that names it.

        `upstream` are the words of the one upstream of a program with `[single]`: in place of `{upstream}`, else at the end.
        """
        parts = [part for part in self.command if config is not None or PLACEHOLDER not in part]
        place = parts.index(UPSTREAM) if UPSTREAM in parts else len(parts)
        words = [*parts[:place], *upstream, *parts[place + 1 :]]
        return tuple(word if config is None else word.replace(PLACEHOLDER, str(config)) for word in words)


def make_sut(command: Sequence[str] = (), profile: Profile | None = None) -> Sut:
    """Build the system under test from the command and profile of the command line.

    Without a command, the profile's command counts; without that, the bundled reference proxy's. Without a profile, a command gets one
    that promises nothing, and the reference its own. Raises `UsageError` if the program does not exist or the command has no place for
    the configuration file.
    """
    if profile is None:
        profile = Profile("") if command else Profile.load(DEFAULT_PROFILE)
    parts = tuple(command) or profile.command or DEFAULT_COMMAND
    parts = tuple(part.replace(INTERPRETER, sys.executable) for part in parts)
    profile.client.check_command(parts)
    _check_placeholders(parts, profile)
    _find_script(parts)
    program = _find_program(parts[0], "" if command else profile.install)
    arguments = tuple(_absolute_if_file(part) for part in parts[1:])
    return Sut(profile.name or _name_of(parts), (program, *arguments), profile, _environment_for(arguments))


def _name_of(parts: Sequence[str]) -> str:
    """The name in reports: that of the program, or of the module or script that an interpreter runs."""
    program = Path(parts[0]).name
    if _INTERPRETER.fullmatch(program) is None:
        return program
    if "-m" in parts[:-1]:
        return parts[parts.index("-m") + 1]
    scripts = (word for word in parts[1:] if _SCRIPT.fullmatch(word) is not None and not word.startswith("-"))
    return Path(next(scripts, program)).name


def _check_placeholders(parts: Sequence[str], profile: Profile) -> None:
    check_fields("the command", parts[1:], (PLACEHOLDER, PORT, UPSTREAM, INTERPRETER, *PLACES))
    has_config = any(PLACEHOLDER in part for part in parts[1:])
    place = next((one for one in PLACES if any(one in part for part in parts[1:])), None)
    if place is not None:
        raise UsageError(
            f"the command has {place}, which needs a profile with [single]: "
            f"`profile -- {' '.join(parts)}` writes one"
            if profile.single is None
            else f"the profile has [single], which has the words of the upstream: remove {place} from the command, "
            f"or write {UPSTREAM} in its place"
        )
    if profile.single is not None and has_config:
        raise UsageError(
            f"the profile has [single], so there is no configuration file: remove {PLACEHOLDER}, "
            f"or write {UPSTREAM} where the words of the upstream go"
        )
    if profile.single is None and not has_config:
        raise UsageError(
            f"the command does not say where the configuration file goes: add {PLACEHOLDER}, "
            f"for example: -- {' '.join((*parts, PLACEHOLDER))}; "
            "for a program that gets one upstream on its command line, write [single] into a profile; "
            f"`profile` writes one from {URL} or {COMMAND}"
        )
    if any(UPSTREAM in part and part != UPSTREAM for part in parts) or parts.count(UPSTREAM) > 1:
        raise UsageError(f"{UPSTREAM} must be one word of the command, because it stands for several words")


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
        if is_path and not os.path.isfile(word):
            raise UsageError(f"there is no file {word!r} (tried {os.path.abspath(word)})")


def _absolute_if_file(argument: str) -> str:
    if argument.startswith("-") or PLACEHOLDER in argument or not os.path.isfile(argument):
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
