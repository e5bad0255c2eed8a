"""Finds out what a profile says about a program: its face, its names, its revisions, and the time until its first answer.

It starts the program with one scripted upstream, and with two if the program has a configuration file, and looks at its lists. It calls
no tool. Limit: a program that lists tools only after a call shows no face.
"""

from __future__ import annotations

import re
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import anyio
from msgspec import structs

from conformance.commands import relay_evidence
from conformance.commands.greeting import advice, greeting_of, noise_on_stdout
from conformance.errors import ConformanceError, HarnessError, Untestable, UsageError, Violation
from conformance.model.profile_file import DEFAULT_TOOLS
from conformance.model.profile_tables import Names, check_names
from conformance.model.registry import MODERN, REVISIONS
from conformance.workbench.listed_tools import affixes
from conformance.workbench.listing_forms import LISTS
from mock_servers.script import Script, tool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping

    from conformance.engine.execution import WorkbenchFactory
    from conformance.model.sut import Sut
    from conformance.workbench.mocks import MockUpstream
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.workbench import Workbench

#: seconds for the first answer, and for the tools of an upstream
FIRST_ANSWER, UNTIL_LISTED = 60.0, 15.0
#: seconds after which a program that has answered before does not answer, and how many times longer than the first answer it can take
_NO_ANSWER, _SLOWER = 10.0, 3.0
#: seconds for the program to end with its stdin
_LAST_MOMENT = 2.0
#: the least seconds for the tools of a further upstream, and how many times longer than those of the first one they can take
_LEAST_UNTIL_LISTED, _SLOWER_LISTED = 5.0, 5.0
#: names that no program has by itself
GROUPS = ("zebra", "walrus")
TOOL, PROMPT, URI = "sing", "rhyme", "memo://songs/one"
#: By kind of name: the list that has it, and the beginnings of two own names. One is not enough: a program can put a hash into each.
_OWN = {
    "tool": ("tools", (f"{TOOL}_", "whisper_")),
    "prompt": ("prompts", (f"{PROMPT}_", "verse_")),
    "uri": ("resources", (URI, "poem://lines/two")),
}
_VARIABLE = "CONFORMANCE_PROBE"


@dataclass
class Findings:
    """What the program showed."""

    #: seconds until its first answer
    first_answer: float = 0.0
    #: seconds from then until its list showed the tools of its upstreams
    until_listed: float = 0.0
    revisions: list[str] = field(default_factory=list)
    capabilities: dict[str, Any] = field(default_factory=dict)
    #: "dynamic", "flat", or empty if its list shows neither
    face: str = ""
    #: the names of the two tools of a dynamic face
    tools: dict[str, str] = field(default_factory=dict)
    #: the patterns of names by the member of a profile
    names: dict[str, str] = field(default_factory=dict)
    #: whether it expands `${NAME}`; None = it was not seen
    variables: bool | None = None
    #: whether it passes the answer of its server to `initialize` on as it is; None = only a part of it
    relay: bool | None = False
    #: the members of a server entry that have no effect
    lacks: list[str] = field(default_factory=list)
    #: what a person has to look at
    remarks: list[str] = field(default_factory=list)

    @property
    def patience(self) -> float:
        """Seconds for the tools of a further upstream."""
        shown = self.first_answer + self.until_listed
        return min(UNTIL_LISTED, max(_LEAST_UNTIL_LISTED, _SLOWER_LISTED * shown))


async def find_out(sut: Sut, kind: str, factory: WorkbenchFactory, tell: Callable[[str], None]) -> Findings:
    """Start the program several times, and `tell` each step. `kind` is that of the upstreams: "command", "http" or "sse".

    Raises `UsageError` with the stderr of the program if it answers nothing.
    """
    found = Findings()
    tell("the first answer, with one upstream")
    async with (
        _opened(sut, factory) as workbench,
        _served(workbench, kind, 1, greets=True) as (proxy, upstreams),
    ):
        began = time.monotonic()
        greeting = await greeting_of(proxy, FIRST_ANSWER, tell)
        found.first_answer = time.monotonic() - began
        declared = greeting.member("capabilities")
        found.capabilities = declared if isinstance(declared, dict) else {}
        if noise := noise_on_stdout(proxy):
            found.remarks.append(f"stdout has {noise}, which is no message, so the checks will fail")
        lost = relay_evidence.lost_members(greeting.result)
        alone = await _shown(proxy, found, upstreams)
    several: dict[str, list[str]] = {}
    if sut.profile.single is None:
        tell("the names, with two upstreams")
        async with _opened(sut, factory) as workbench, _served(workbench, kind, 2) as (proxy, upstreams):
            await greeting_of(proxy, FIRST_ANSWER, tell)
            several = await _shown(proxy, found, upstreams)
            _look_at_variables(found, upstreams)
    if found.face == "flat":
        found.names = _loadable(_patterns(alone, several, found.remarks), found.remarks)
        if sut.profile.single is None and not _has_all(several.get("tools", [])):
            found.remarks.append('the list with two upstreams lacks one of them: is it upstreams = "one"?')
        _look_for_a_relay(found, lost, serves_several=_has_all(several.get("tools", [])))
    tell("the revisions")
    # A program that has answered once needs no minute for a request that it does not know.
    within = max(_NO_ANSWER, _SLOWER * found.first_answer)
    sut = replace(sut, profile=structs.replace(sut.profile, starts_within=within))
    for revision in REVISIONS:
        async with _opened(sut, factory) as workbench, _served(workbench, kind, 1) as (proxy, _):
            if await _speaks(proxy, revision, within):
                found.revisions.append(revision)
    return found


@asynccontextmanager
async def _opened(sut: Sut, factory: WorkbenchFactory) -> AsyncIterator[Workbench]:
    workbench: Workbench | None = None
    try:
        async with factory(sut, "PROFILE", keep=False) as workbench:
            yield workbench
    except (HarnessError, UsageError):
        raise
    except ConformanceError as problem:
        said = workbench.evidence.stderr_tail.strip() if workbench is not None else ""
        parts = [f"the command does not work as a proxy: {problem}"]
        parts += [f"stderr of the command:\n{said}"] if said else []
        raise UsageError("\n".join([*parts, advice(sut)])) from problem


async def mock_of_kind(
    workbench: Workbench, kind: str, name: str, script: Script, **members: Any
) -> MockUpstream:
    """A mock server, by its kind: "command", "http" or "sse". `members` are further ones of its entry."""
    if kind == "command":
        return workbench.stdio(name, script, **members)
    opened = workbench.sse if kind == "sse" else workbench.http
    return await opened(name, script, **members)


@asynccontextmanager
async def _served(
    workbench: Workbench, kind: str, count: int, *, greets: bool = False
) -> AsyncIterator[tuple[Proxy, list[MockUpstream]]]:
    upstreams: list[MockUpstream] = []
    for place, name in enumerate(GROUPS[:count]):
        own = {kind: [f"{name}{place}" for name in names] for kind, (_, names) in _OWN.items()}
        script = Script(
            tools=[tool(name) for name in own["tool"]],
            prompts=[{"name": name} for name in own["prompt"]],
            resources=[{"uri": uri, "name": "a song"} for uri in own["uri"]],
            on=relay_evidence.greeting_rules() if greets else [],
        )
        # Two upstreams have a configuration file, which can have variables.
        has_variable = kind == "command" and count > 1 and workbench.sut.profile.config.variables
        members = {"args": [f"${{{_VARIABLE}}}"]} if has_variable else {}
        upstreams.append(await mock_of_kind(workbench, kind, name, script, **members))
    async with workbench.proxy(
        *upstreams, env={_VARIABLE: "expanded"}, wire_types=False, exit_within=_LAST_MOMENT
    ) as proxy:
        proxy.may_end_by_itself()
        yield proxy, upstreams


async def _shown(proxy: Proxy, found: Findings, upstreams: list[MockUpstream]) -> dict[str, list[str]]:
    """The names in each list, once it shows a tool of each upstream or time is up; notes the face."""
    began = time.monotonic()
    deadline = began + UNTIL_LISTED
    while True:
        tools = await proxy.items("tools/list", "tools", within=FIRST_ANSWER)
        names = _texts(tools, "name")
        if two := _two_tools(tools):
            found.face, found.tools = "dynamic", two
            return {}
        if sum(any(one.tool_names[0] in name for name in names) for one in upstreams) == len(upstreams):
            found.until_listed = max(found.until_listed, time.monotonic() - began)
            break
        if time.monotonic() > deadline:
            break
        await anyio.sleep(0.2)
    if not any(TOOL in name for name in names):
        shown = ", ".join(names) or "nothing"
        raise Untestable(f"tools/list shows no tool of the upstream within {UNTIL_LISTED:g} s, but {shown}")
    found.face = "flat"
    shown_names = {"tools": names}
    for method, (member, key) in LISTS.items():
        if method.partition("/")[0] in found.capabilities and "templates" not in method:
            try:
                shown_names[member] = _texts(await proxy.items(method, member), key)
            except Violation as problem:
                found.remarks.append(f"it declares {member}, but {problem.expected}: {problem.seen}")
    return shown_names


def _two_tools(tools: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """The tools that list and call those of a group: both take a group, and one takes more."""
    by_group: dict[str, int] = {}
    for one in tools:
        properties = (one.get("inputSchema") or {}).get("properties")
        if isinstance(one.get("name"), str) and isinstance(properties, dict) and "group" in properties:
            required = (one.get("inputSchema") or {}).get("required") or []
            by_group[one["name"]] = len(required) if "name" in required else 0
    if by_group.keys() >= set(DEFAULT_TOOLS.values()):
        return dict(DEFAULT_TOOLS)
    if len(by_group) != 2:
        return {}
    listing, calling = sorted(by_group, key=by_group.__getitem__)
    return {"list": listing, "call": calling}


def _patterns(
    alone: Mapping[str, list[str]], several: Mapping[str, list[str]], remarks: list[str]
) -> dict[str, str]:
    """The patterns of the names with one upstream and with two; a remark for names that follow none."""
    found = {}
    for kind, (member, _) in _OWN.items():
        one, both = (_pattern_of_all(kind, shown.get(member, [])) for shown in (alone, several))
        if one is None or both is None:
            names = ", ".join(several.get(member) or alone[member])
            remarks.append(
                f"no pattern describes each {kind} of {names}: the checks learn them from the list"
            )
            continue
        if both or one:
            found[kind] = both or one
        if both and one and both != one:
            found[f"{kind}_alone"] = one
    return found


def _pattern_of_all(kind: str, shown: list[str]) -> str | None:
    """The pattern that gives all own names of both upstreams their names in the list; empty if it shows none, None without one."""
    found = {
        _pattern(kind, shown, f"{own}{place}", group)
        for place, group in enumerate(GROUPS)
        for own in _OWN[kind][1]
    } - {""}
    return None if len(found) > 1 else next(iter(found), "")


def _loadable(patterns: Mapping[str, str], remarks: list[str]) -> dict[str, str]:
    """The patterns that a profile can have; a remark for each other one. The checks then learn the names from the list."""
    found = {}
    for member, pattern in patterns.items():
        try:
            pattern.encode()
            check_names(Names(**{member: pattern}))
        except (UnicodeEncodeError, UsageError) as problem:
            remarks.append(f"the names have a form that no pattern describes: {problem}")
        else:
            found[member] = pattern
    return found


def _pattern(kind: str, shown: list[str], own: str, group: str = GROUPS[0]) -> str:
    """The pattern that gives the own name of a group its name in the list; empty without one."""
    others = [other for other in GROUPS if other != group]
    forms = {f"{{{kind}}}": own}
    if kind == "uri":
        scheme, _, rest = own.partition("://")
        forms = {"{uri}": own, "{quoted}": quote(own, safe=""), "{rest}": rest}
    for placeholder, text in forms.items():
        around = affixes(shown, group, [text], others)
        if around is None:
            continue
        before, after = (re.sub(re.escape(group), "{server}", part, flags=re.IGNORECASE) for part in around)
        if placeholder == "{rest}":
            before = before.replace(f"{scheme}://", "{scheme}://", 1)
        return f"{before}{placeholder}{after}"
    return ""


def _has_all(names: list[str]) -> bool:
    return all(any(f"{TOOL}_{place}" in name for name in names) for place in range(len(GROUPS)))


def _look_for_a_relay(found: Findings, lost: list[str] | None, *, serves_several: bool) -> None:
    if lost is None or serves_several:
        return
    found.relay = None if lost else True
    if lost:
        found.remarks.append(
            f"its answer to initialize is that of its server, but without {', '.join(lost)}: is it relay = true?"
        )


def _look_at_variables(found: Findings, upstreams: list[MockUpstream]) -> None:
    for upstream in upstreams:
        for start in getattr(upstream, "starts", []):
            found.variables = "expanded" in start.args


async def _speaks(proxy: Proxy, revision: str, within: float) -> bool:
    try:
        if revision == MODERN:
            answer = await proxy.request("server/discover", {}, era="modern", within=within)
            return revision in (answer.member("supportedVersions") or [])
        greeting = await proxy.handshake(revision, within=within)
        return bool(greeting.member("protocolVersion") == revision)
    except ConformanceError:
        return False


def _texts(items: Iterable[Mapping[str, Any]], key: str) -> list[str]:
    return [item[key] for item in items if isinstance(item.get(key), str)]
