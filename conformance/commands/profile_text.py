"""The text of a first profile, in TOML.

What a program or a command line gives can have any characters. The text is valid TOML for all of them, because a profile that does not load
would lose what the command has found.
"""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any

from conformance.commands.draft import Draft
from conformance.commands.placeholders import kind_of
from conformance.model.profile_file import DEFAULT_STARTS_WITHIN, DEFAULT_TOOLS
from conformance.model.registry import REVISIONS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from conformance.commands.probing import Findings
    from conformance.commands.probing_kinds import KindFound
    from conformance.model.client_table import ClientTable
    from conformance.model.profile_tables import SingleTable

#: how many times longer than the measured start the profile allows, because checks run beside each other
SLOWER = 2.0
_MAX_COMMENT = 300
#: the names of kinds in [entries] that differ
_ENTRIES = {"command": "stdio"}
#: the families of requirements about a sign-in
_SIGN_IN = ("OAUTH", "TOK")
_BARE = re.compile(r"[A-Za-z0-9_-]+")


def profile_text(
    name: str,
    command: Sequence[str],
    found: Findings,
    single: SingleTable | None,
    client: ClientTable,
    kinds: Sequence[KindFound] = (),
    draft: Draft | None = None,
) -> str:
    """The profile of a program that showed this; the tables of the draft stay as they are."""
    draft = draft or Draft()
    lines = [*_shown(name, command, found), *_tables(found, single, client, draft), *_kinds(kinds, draft)]
    return "\n".join(lines) + "\n"


def _shown(name: str, command: Sequence[str], found: Findings) -> Iterator[str]:
    declared = ", ".join(sorted(found.capabilities)) or "nothing"
    yield comment(f"The first answer took {found.first_answer:.1f} s. It declares: {declared}.")
    for remark in found.remarks:
        yield comment(f"Look at this: {remark}")
    yield f"name = {value(name)}"
    yield f"command = {value(list(command))}"
    allowed = max(DEFAULT_STARTS_WITHIN, math.ceil(found.first_answer * SLOWER))
    if allowed > DEFAULT_STARTS_WITHIN:
        yield f"starts_within = {allowed}"
    if found.relay:
        yield comment(
            "The answer to initialize is that of its server, with a member that no revision defines."
        )
        yield "relay = true"
    elif found.relay is None:
        yield "# relay = true"
    yield f"face = {value(found.face)}"
    for member, pattern in found.names.items():
        yield f"{member} = {value(pattern)}"
    if found.revisions:
        yield f"revisions = {value([one for one in REVISIONS if one in found.revisions])}"
    if found.tools and found.tools != dict(DEFAULT_TOOLS):
        yield from table("tools", found.tools)


def _tables(found: Findings, single: SingleTable | None, client: ClientTable, draft: Draft) -> Iterator[str]:
    config = {**({"variables": False} if found.variables is False else {}), **draft.table("config")}
    if found.lacks:
        config["drop"] = [*config.get("drop", ()), *found.lacks]
    if single is not None:
        kind = kind_of(single)
        yield from table("single", {kind: list(getattr(single, kind))})
        yield "# Without these lines, the checks of headers, variables and OAuth clients are n/a."
        yield '# header = ["--header", "{name}: {value}"]'
        if kind == "command":
            yield '# env = ["--env", "{name}={value}"]'
        else:
            yield '# client = ["--client-id", "{client_id}"]'
            yield '# oauth = ["--oauth"]'
    else:
        yield from _config(config, found)
    place = {"transport": client.transport, "url": client.url} if client.listens else {}
    if place or draft.table("client"):
        yield from table("client", {**place, **draft.table("client")})
    for name in ("log_switch", "settings", "tokens"):
        if draft.table(name):
            yield from table(name, draft.table(name))


def _kinds(kinds: Sequence[KindFound], draft: Draft) -> Iterator[str]:
    """The members that entries need, and the kinds of servers that the program cannot use."""
    entries = {kind: dict(members) for kind, members in draft.table("entries").items()}
    for kind, members in entries_of(kinds).items():
        entries.setdefault(kind, {}).update(members)
    for kind, members in entries.items():
        yield from table(f"entries.{kind}", members)
    given = draft.table("absent")
    missing = [one for one in kinds if not one.is_used and not given.keys() >= set(one.families)]
    remote = [one for one in kinds if one.kind != "command"]
    never_signs_in = len(remote) == 2 and not any(one.is_used or one.was_reached for one in remote)
    may_sign_in = bool(kinds) and not never_signs_in and bool(_new(_SIGN_IN, given))
    if not (missing or given or may_sign_in):
        return
    yield from ("", "[absent]" if missing or given else "# [absent]")
    yield from (_member(name, reason) for name, reason in given.items())
    if may_sign_in:
        yield '# If it never signs in: OAUTH = "it never signs in" and TOK = "it keeps no tokens".'
    if missing:
        kinds_named = ", ".join(one.families[0] for one in missing)
        yield f"# {kinds_named}: if it takes such servers in another form, describe it in [config] or [entries]."
    for one in missing:
        if one.said:
            yield comment(f"Its last line on stderr: {one.said}")
        if one.was_reached:
            yield "# It began to use this server, so the mistake may be one that the checks find."
        yield from _absent(_new(one.families, given), one.reason, is_certain=not one.was_reached)
    if never_signs_in:
        why = "it uses no server behind a URL, so it never signs in"
        yield from _absent(_new(_SIGN_IN, given), why, is_certain=True)


def entries_of(kinds: Sequence[KindFound]) -> dict[str, dict[str, str]]:
    """The members that the entries of each kind need, as the table [entries] has them."""
    return {
        _ENTRIES.get(one.kind, one.kind): dict(one.members) for one in kinds if one.is_used and one.members
    }


def _config(config: Mapping[str, Any], found: Findings) -> Iterator[str]:
    """The table, and what only a person knows about the configuration file."""
    if config:
        yield from table("config", config)
    else:
        yield from ("", "# [config]")
    if found.lacks:
        yield comment(f"In a first probe, these members of a server had no effect: {', '.join(found.lacks)}.")
        yield '# What the program has under another name belongs into `rename`, such as { "timeout.tools" = "requestTimeout" }.'
    if "reload" not in config:
        yield "# If it does not apply a changed file: reload = false"
    if found.face == "flat":
        yield "# If it takes no OAuth client id: registers = true, above."


def _new(families: Sequence[str], given: Mapping[str, Any]) -> list[str]:
    return [family for family in families if family not in given]


def _absent(families: Sequence[str], reason: str, *, is_certain: bool) -> Iterator[str]:
    for family in families:
        yield f"{'' if is_certain else '# '}{family} = {value(reason)}"


def table(name: str, members: Mapping[str, Any]) -> Iterator[str]:
    """A table with a blank line before it."""
    yield from ("", f"[{name}]")
    for member, content in members.items():
        yield _member(member, content)


def _member(name: str, content: Any) -> str:
    return f"{name if _BARE.fullmatch(name) else value(name)} = {value(content)}"


def comment(text: str) -> str:
    """The text as one comment line: TOML allows no control characters there."""
    shown = "".join(character if character.isprintable() else " " for character in text)
    return f"# {shown if len(shown) <= _MAX_COMMENT else shown[:_MAX_COMMENT] + '…'}"


def value(content: Any) -> str:
    """A text, a number, a truth value, a list or a table as TOML. JSON is TOML, but for DEL, which TOML wants escaped."""
    if isinstance(content, dict):
        return f"{{ {', '.join(_member(name, one) for name, one in content.items())} }}"
    if isinstance(content, list):
        return f"[{', '.join(map(value, content))}]"
    text = json.dumps(content, ensure_ascii=False, default=str).replace("\x7f", "\\u007F")
    return text.encode(
        errors="replace"
    ).decode()  # half a surrogate pair, which JSON can have and UTF-8 cannot
