"""A command whose words say by a placeholder where its one upstream goes, such as `my-proxy {url}`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.errors import UsageError
from conformance.model.client_table import PORT, ClientTable
from conformance.model.misspelt import check_fields
from conformance.model.profile import Profile
from conformance.model.profile_tables import COMMAND, SHELL, URL, ConfigTable, SingleTable, check_single
from conformance.model.sut import INTERPRETER, PLACEHOLDER, PLACES

if TYPE_CHECKING:
    from collections.abc import Sequence


def split(command: Sequence[str], given: str | None) -> tuple[list[str], SingleTable | None]:
    """The command, and how the one server goes on it; None for a program with a configuration file.

    The line of `[single]` begins with the first word that has a placeholder, or with the option before it.
    `given` is the kind of the server, or empty if the command tells it. Raises `UsageError`.
    """
    check_fields("the command", command[1:], (PLACEHOLDER, PORT, INTERPRETER, *PLACES))
    places = [place for place, word in enumerate(command) if any(one in word for one in PLACES)]
    own = [word for word in command if PLACEHOLDER not in word]
    if not places:
        if given is not None:
            raise UsageError(
                f"--single: the command does not say where the server goes: add {URL}, {COMMAND} or {SHELL}, "
                f"for example: -- {' '.join((*own, URL))}"
            )
        if command and len(own) == len(command):
            raise UsageError(
                f"the command does not say where its servers go: add {PLACEHOLDER} for a configuration file, "
                f"{URL} for the address of one server, {COMMAND} for its words or {SHELL} for one text, "
                f"for example: -- {' '.join((*own, PLACEHOLDER))}"
            )
        return list(command), None
    first = places[0]
    if first == 0:
        raise UsageError(f"the first word of the command is {command[0]!r}; it has to be the program")
    if first > 1 and command[first - 1].startswith("-"):
        first -= 1
    line = tuple(command[first:])
    is_url = any(URL in word for word in line)
    kind = given or ("http" if is_url else "command")
    if is_url == (kind == "command"):
        raise UsageError(f"--single {kind}: the command has {URL if is_url else f'{COMMAND} or {SHELL}'}")
    single = SingleTable(**{kind: line})
    check_single(single)
    return list(command[:first]), single


def kind_of(single: SingleTable) -> str:
    """The kind of the server that the table takes: "command", "http" or "sse"."""
    return next(kind for kind in ("command", "http", "sse") if getattr(single, kind))


def first_profile(
    single: SingleTable | None, starts_within: float, client: ClientTable | None = None
) -> Profile:
    """What the runner can suppose about a program before it has a profile: it learns the names from the lists."""
    return Profile(
        "",
        absent={} if single is None else single.missing_families(),
        starts_within=starts_within,
        face="flat",
        single=single,
        upstreams="several" if single is None else "one",
        config=ConfigTable() if single is None else ConfigTable(variables=False, reload=False),
        client=client or ClientTable(),
    )
