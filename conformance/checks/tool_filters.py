"""CFG and FRONT: tools that the configuration of a server allows or denies, by name or pattern."""

from __future__ import annotations

import re
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio

from conformance.checks import check
from conformance.checks.common import must_refuse_to_start, must_work
from conformance.workbench.listing_forms import definitions, listing_text
from mock_servers.script import Script, any_arguments, echo_tool, list_changed, on_call, reply, tool

if TYPE_CHECKING:
    from collections.abc import Sequence

    from conformance.workbench.inbox import Answer
    from conformance.workbench.mocks import StdioMockUpstream
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.workbench import Workbench

NAMES = ("search", "read_file", "read_dir", "delete_a", "delete_file", "write_file")
#: by group: the allowed patterns, the denied ones, and the tools that are left
FILTERS: dict[str, tuple[list[str] | None, list[str] | None, tuple[str, ...]]] = {
    "without-a-filter": (None, None, NAMES),
    "allowing": (["search", "read_*"], None, NAMES[:3]),
    "denying": (None, ["delete_?", "search"], ("read_file", "read_dir", "delete_file", "write_file")),
    "doing-both": (["*_file"], ["delete_*", "write_file"], ("read_file",)),
    "other-case": (None, ["READ_*", "Search"], NAMES),
    "allowing-none": ([], None, ()),
}
TOOLS_CHANGED = "notifications/tools/list_changed"
MARK = "mark-of-the-denied-tool"
REASON = re.compile(r"config|den(?:y|ied)|not allowed|disabled|switched off|blocked|filter", re.IGNORECASE)
#: seconds in which the proxy has to apply a save
APPLIED = 10.0


def _filtered(
    workbench: Workbench,
    name: str,
    script: Script,
    allow: list[str] | None = None,
    deny: list[str] | None = None,
) -> StdioMockUpstream:
    rules = {"tools_allow": allow, "tools_deny": deny}
    given = {key: patterns for key, patterns in rules.items() if patterns is not None}
    return workbench.stdio(name, script, **workbench.sut.profile.configured(**given))


@check("CFG-040", timeout=30, slow=True)
async def a_filter_of_tools_that_cannot_be_read_ends_the_start(workbench: Workbench) -> None:
    place = workbench.sut.profile.settings["tools_deny"]
    section, _, setting = place.rpartition(".")
    bad: list[tuple[str, Any]] = [(place, value) for value in ("echo", [7], [""])]
    if section:
        bad += [(section, ["echo"]), (section, {f"{setting}y": ["echo"]})]
    upstream = workbench.stdio("a", **workbench.sut.profile.configured(tools_deny=["add"]))
    configs = []
    for path, value in bad:
        whole: Any = value
        for member in reversed(path.split(".")[1:]):
            whole = {member: whole}
        fields = {path.split(".")[0]: whole}
        configs.append((f"{path}: {value!r}", workbench.config(upstream.variant(**fields))))
    mentioning = re.escape((section or place).split(".")[0])
    await workbench.run_cases(
        *(partial(must_refuse_to_start, workbench, what, config, mentioning) for what, config in configs)
    )
    upstream.must_not_have_started()
    with workbench.precondition("the same server works with a valid filter"):
        await must_work(workbench, upstream, config=workbench.config(upstream))


@check("CFG-041", timeout=40)
async def the_configuration_selects_the_tools_of_a_server(workbench: Workbench) -> None:
    script = Script(tools=[tool(name, properties=any_arguments("x")) for name in NAMES])
    upstreams = {
        name: _filtered(workbench, name, script, allow, deny) for name, (allow, deny, _) in FILTERS.items()
    }
    async with workbench.proxy(*upstreams.values()) as proxy:
        await proxy.handshake()
        await proxy.ready(*(upstream for name, upstream in upstreams.items() if FILTERS[name][2]))
        await workbench.run_cases(
            *(
                partial(_must_have_exactly, workbench, proxy, upstream, FILTERS[name][2])
                for name, upstream in upstreams.items()
            )
        )


async def _must_have_exactly(
    workbench: Workbench, proxy: Proxy, upstream: StdioMockUpstream, left: Sequence[str]
) -> None:
    """Raise `Violation` unless the group lists exactly these tools, and only these can be called."""
    listing = await proxy.tools_of(upstream.name)
    listed = [name for name in NAMES if definitions(listing, name)]
    workbench.expect(
        listed == list(left), f"{upstream.name} lists {', '.join(left) or 'no tool'}", listing.raw
    )
    for name in NAMES:
        answer = await proxy.call(upstream.name, name, {"x": 1})
        what = f"a call of {name} in {upstream.name} is {'a success' if name in left else 'an error'}"
        workbench.expect(answer.is_error == (name not in left), what, answer.raw)
    _must_have_seen_only(workbench, upstream, left)


def _must_have_seen_only(workbench: Workbench, upstream: StdioMockUpstream, names: Sequence[str]) -> None:
    called = [(call.params or {}).get("name") for call in upstream.requests("tools/call")]
    what = f"{upstream.name} sees no call but those of {', '.join(names) or 'no tool'}"
    workbench.expect(set(called) <= set(names), what, called)


@check("CFG-042", timeout=30)
async def a_pattern_that_matches_no_tool_is_mentioned_once(workbench: Workbench) -> None:
    good, bad = ["ech?", "fine*"], ["serach", "delte_*"]
    script = Script(
        tools=[echo_tool(), tool("fine_file"), tool("fine_dir")],
        on=[on_call("echo", list_changed(), reply())],
    )
    upstream = _filtered(workbench, "watched", script, [good[0], bad[0], "*"], [good[1], bad[1]])
    async with workbench.serving(upstream) as proxy:
        for _ in range(2):
            answer = await proxy.call("watched", "echo", {"x": 1})
            workbench.expect(not answer.is_error, "a call of the allowed tool works", answer.raw)
            await proxy.tools_of("watched")
        for pattern in bad:
            what = f"one line of stderr with {pattern} and the name of the server"
            await workbench.eventually(lambda pattern=pattern: _lines(proxy, pattern), within=5.0, what=what)  # type: ignore[misc]
            lines = _lines(proxy, pattern)
            workbench.expect(len(lines) == 1 and "watched" in lines[0], what, lines)
        for pattern in good:
            workbench.expect(not _lines(proxy, pattern), f"no line about {pattern}", proxy.stderr)


def _lines(proxy: Proxy, text: str) -> list[str]:
    return [line for line in proxy.stderr.splitlines() if text in line]


@check("CFG-043", timeout=40, slow=True)
async def a_changed_filter_of_tools_applies_without_a_restart(workbench: Workbench) -> None:
    upstream = workbench.stdio("a")
    denying = upstream.variant(**workbench.sut.profile.configured(tools_deny=["a*"]))
    config = workbench.config(upstream)
    async with workbench.serving(upstream, config=config) as proxy:
        await _must_offer_add(workbench, proxy, upstream, offered=True)
        before = await proxy.request("tools/list", {})
        for changed, offered in ((denying, False), (upstream, True)):
            workbench.save(config, changed)
            await _must_offer_add(workbench, proxy, upstream, offered=offered)
        starts = [start.pid for start in upstream.starts]
        workbench.expect(len(starts) == 1 and upstream.alive == starts, "the same process", starts)
        after = await proxy.request("tools/list", {})
        if before.result == after.result:
            told = [message for message in proxy.received if message.get("method") == TOOLS_CHANGED]
            workbench.expect(not told, f"no {TOOLS_CHANGED}, because tools/list is the same", told)


async def _must_offer_add(
    workbench: Workbench, proxy: Proxy, upstream: StdioMockUpstream, *, offered: bool
) -> None:
    """Raise `Violation` unless the proxy soon lists `add` and calls it, or does neither; `echo` works all the time."""
    deadline = time.monotonic() + APPLIED
    while bool(definitions(await proxy.tools_of("a"), "add")) != offered:
        what = f"within {APPLIED:g} s, add is {'' if offered else 'not '}listed"
        workbench.expect(time.monotonic() < deadline, what, listing_text(await proxy.tools_of("a")))
        await anyio.sleep(0.1)
    seen = len(upstream.requests("tools/call"))
    answer = await proxy.call("a", "add", {"a": 1, "b": 2})
    workbench.expect(answer.is_error != offered, f"add is {'on' if offered else 'off'}", answer.raw)
    arrived = len(upstream.requests("tools/call")) - seen
    workbench.expect(arrived == offered, f"{int(offered)} call of add reaches the upstream", arrived)
    answer = await proxy.call("a", "echo", {"x": 1})
    workbench.expect(not answer.is_error, "echo works", answer.raw)


@check("FRONT-066")
async def a_tool_that_is_switched_off_appears_in_no_answer(workbench: Workbench) -> None:
    denied = tool("delete_file", description=f"Delete a file, {MARK}")
    script = Script(tools=[tool("read_file"), denied])
    upstream = _filtered(workbench, "a", script, deny=["delete_*"])
    async with workbench.serving(upstream) as proxy:
        list_tool = workbench.sut.profile.tools["list"]
        for more in ({}, {"name": "delete_file"}, {"search": MARK}, {"search": "file"}):
            params = {"name": list_tool, "arguments": {"group": "a", **more}}
            answer = await proxy.request("tools/call", params)
            shown = bool(definitions(answer, "delete_file")) or f"file, {MARK}" in answer.raw
            workbench.expect(not shown, f"no definition of the denied tool for {more}", answer.raw)
        for similar in ("deleted_file", "read_filf"):
            answer = await proxy.call("a", similar)
            workbench.expect(answer.is_error, f"an error for {similar}", answer.raw)
            named = "delete_file" in answer.raw
            workbench.expect(not named, f"the denied tool is not named for {similar}", answer.raw)
        answer = await proxy.call("a", "read_file")
        workbench.expect(not answer.is_error, "the allowed tool works", answer.raw)


@check("FRONT-067")
async def a_call_of_a_tool_that_is_switched_off_never_reaches_the_server(workbench: Workbench) -> None:
    script = Script(tools=[tool("read_file"), tool("delete_file")])
    upstreams = [
        _filtered(workbench, "by-deny", script, deny=["delete_*"]),
        _filtered(workbench, "by-allow", script, allow=["read_file"]),
    ]
    async with workbench.proxy(*upstreams) as proxy:
        await proxy.handshake()
        for upstream in upstreams:
            _must_be_refused_by_filter(workbench, await proxy.call(upstream.name, "delete_file", within=15.0))
        await proxy.ready(*upstreams)
        for upstream in upstreams:
            for name in ("delete_file", "delete_dir"):
                _must_be_refused_by_filter(workbench, await proxy.call(upstream.name, name))
            answer = await proxy.call(upstream.name, "read_file")
            workbench.expect(not answer.is_error, "the allowed tool works", answer.raw)
            _must_have_seen_only(workbench, upstream, ["read_file"])


def _must_be_refused_by_filter(workbench: Workbench, answer: Answer) -> None:
    refused = answer.is_error and REASON.search(answer.text)
    workbench.expect(refused, "an error that gives the configuration as the reason", answer.raw)
