"""RLD: the effect of a changed configuration file on a running proxy.

Each check changes the file of a proxy that serves a client. It looks at the upstreams' processes and at what
the client can list and call. A proxy may notice a change by events or by polling. So every deadline has some
seconds, and no check judges the moment of the notice.
"""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import anyio

from conformance.checks import check
from conformance.checks.common import SESSIONS
from conformance.checks.later_processes import STUBBORN
from conformance.checks.rld_processes import must_end_old_processes
from conformance.workbench import save_styles
from conformance.workbench.exposed import declared_methods
from conformance.workbench.listing_forms import LISTS
from conformance.workbench.transcript import part
from mock_servers.script import Script, on_call, reply, sleep

if TYPE_CHECKING:
    from conformance.workbench.mocks import StdioMockUpstream
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.workbench import Workbench

#: seconds in which the proxy has to notice a save, and those for a start in addition
NOTICED = 5.0
STARTED = 5.0
POLL = 0.1


@check("RLD-001", timeout=40)
async def a_server_that_is_added_to_the_file_becomes_usable(workbench: Workbench) -> None:
    old, new = workbench.stdio("a"), workbench.stdio("b")
    config = workbench.config(old)
    async with workbench.serving(old, config=config) as proxy:
        workbench.save(config, old, new)
        await must_be_added(workbench, proxy, new)
        await must_serve(workbench, proxy, old)


async def must_be_added(workbench: Workbench, proxy: Proxy, upstream: StdioMockUpstream) -> None:
    """Raise `Violation` unless the proxy lists an added server, and calls to it work, within the deadline."""
    await _must_list(workbench, proxy, upstream.name)
    with workbench.must(f"the tools of {upstream.name} can be used"):
        await proxy.ready(upstream, within=STARTED)
    await must_serve(workbench, proxy, upstream)


async def _must_list(
    workbench: Workbench, proxy: Proxy, *names: str, without: str = "", within: float = NOTICED + STARTED
) -> None:
    """Wait until the proxy lists these groups, and does not list the one in `without`. Raises `Violation`."""
    deadline = time.monotonic() + within
    while True:
        groups = await proxy.groups(*names, without)
        if set(names) <= set(groups) and without not in groups:
            return
        if time.monotonic() >= deadline:
            wanted = f"{', '.join(names)} listed" + (f" and {without} not" if without else "")
            workbench.expect(False, f"{wanted} after {within:g} s", groups)
        await anyio.sleep(POLL)


async def must_serve(workbench: Workbench, proxy: Proxy, upstream: StdioMockUpstream) -> None:
    answer = await proxy.call(upstream.name, "add", {"a": 1, "b": 2})
    workbench.expect(not answer.is_error, f"a call of {upstream.name} works", answer.raw)


async def keeps_its_processes(workbench: Workbench, proxy: Proxy, upstream: StdioMockUpstream) -> bool:
    """Whether a call after two others reaches a process that runs already. A proxy may also start one for each call."""
    for _ in range(2):
        await must_serve(workbench, proxy, upstream)
    before = len(upstream.starts)
    await must_serve(workbench, proxy, upstream)
    if len(upstream.starts) > before:
        workbench.note("the proxy starts a process for each call, so that of a call need not stay")
    return len(upstream.starts) == before


@check("RLD-002", timeout=60, slow=True)
async def every_replacement_by_rename_is_noticed(workbench: Workbench) -> None:
    upstreams = [workbench.stdio("a")]
    config = workbench.config(*upstreams)
    async with workbench.serving(*upstreams, config=config) as proxy:
        for name in ("b", "c", "d"):
            upstreams.append(workbench.stdio(name))
            workbench.save(config, *upstreams, how=save_styles.by_rename)
            with workbench.case(f"save number {len(upstreams) - 1}"):
                await must_be_added(workbench, proxy, upstreams[-1])


@check("RLD-003", timeout=90, slow=True)
async def a_server_that_is_removed_or_disabled_disappears_and_is_stopped(workbench: Workbench) -> None:
    async def must_go(
        how: str, changed: StdioMockUpstream | None, gone: StdioMockUpstream, kept: StdioMockUpstream
    ) -> None:
        config = workbench.config(kept, gone)
        async with workbench.serving(kept, gone, config=config) as proxy:
            with workbench.precondition("the upstream and its grandchild are alive"):
                workbench.expect(len(gone.alive) == 2, "two processes", gone.alive)
            methods = declared_methods(proxy, ("resources/list", "prompts/list"))
            with workbench.precondition("its resource and its prompt are listed"):
                for method in methods:
                    await _must_show(workbench, proxy, method, shown=True)
            workbench.save(config, *([kept] if changed is None else [kept, changed]))
            with workbench.case(how):
                await gone.gone(within=10.0)
                await _must_list(workbench, proxy, kept.name, without=gone.name)
                for method in methods:
                    await _must_show(workbench, proxy, method, shown=False)
                answer = await proxy.call(gone.name, "add", {"a": 1, "b": 2})
                workbench.expect(answer.is_error, f"a call of {gone.name} is an error", answer.raw)
                await must_serve(workbench, proxy, kept)
                workbench.expect(not gone.alive, f"nothing starts {gone.name} again", gone.alive)

    offers = replace(
        STUBBORN, resources=[{"uri": "mock://stale", "name": "stale"}], prompts=[{"name": "stale"}]
    )
    removed, disabled = workbench.stdio("removed", offers), workbench.stdio("disabled", offers)
    await workbench.run_cases(
        partial(must_go, "removed from the file", None, removed, workbench.stdio("a")),
        partial(must_go, "enabled is false", disabled.variant(enabled=False), disabled, workbench.stdio("b")),
        partial(must_end_old_processes, workbench),
    )


async def _must_show(workbench: Workbench, proxy: Proxy, method: str, *, shown: bool) -> None:
    """Raise `Violation` unless the list soon has the entry of the server, or soon lacks it."""
    deadline = time.monotonic() + NOTICED
    while ("stale" in (listing := await proxy.pages(method, LISTS[method][0])).raw) != shown:
        what = f"within {NOTICED:g} s, {method} {'has' if shown else 'lacks'} the entry of the server"
        workbench.expect(time.monotonic() < deadline, what, listing.raw)
        await anyio.sleep(POLL)


@check("RLD-005", timeout=60, slow=True)
async def content_that_is_not_valid_changes_nothing(workbench: Workbench) -> None:
    no_schema = '{"mcpServers": {"a": {"description": "the command is missing"}}}'

    async def must_hold(what: str, text: str, old: StdioMockUpstream, new: StdioMockUpstream) -> None:
        config = workbench.config(old)
        async with workbench.serving(old, config=config) as proxy:
            kept = await keeps_its_processes(workbench, proxy, old)
            pids = old.alive
            before = len(proxy.stderr)
            workbench.config_text(text, name=config.name, folder=config.parent)
            with workbench.case(what):
                said = partial(_said_since, proxy, before)
                await workbench.eventually(said, within=NOTICED, what="a diagnostic appears on stderr")
                await anyio.sleep(1.0)  # a diagnostic may come in pieces
                complete = said()
                different = {re.sub(r"\d+", "0", line) for line in complete}  # in more than a time
                workbench.expect(len(different) == len(complete), "no line twice", complete)
                await anyio.sleep(2.0)
                workbench.expect(said() == complete, f"nothing after {complete}", said())
                await must_serve(workbench, proxy, old)
                if kept:
                    workbench.expect(old.alive == pids, f"the same process: {pids}", old.alive)
            with workbench.case(f"a valid save after {what}"):
                workbench.save(config, old, new)
                await must_be_added(workbench, proxy, new)
                await must_serve(workbench, proxy, old)

    await workbench.run_cases(
        partial(must_hold, "content that is no JSON", "{bad", workbench.stdio("a"), workbench.stdio("b")),
        partial(
            must_hold, "JSON that is no configuration", no_schema, workbench.stdio("c"), workbench.stdio("d")
        ),
    )


def _said_since(proxy: Proxy, before: int) -> list[str]:
    return [line for line in proxy.stderr[before:].splitlines() if line.strip()]


@check("RLD-006", timeout=60, slow=True)
async def servers_that_did_not_change_keep_running(workbench: Workbench) -> None:
    first = workbench.stdio("a", Script(on=[on_call("echo", sleep(3.0), reply())]))
    second, third, leaving = workbench.stdio("b"), workbench.stdio("c"), workbench.stdio("leaving")
    # A proxy without servers behind a URL is judged by its child processes.
    remotes = [await workbench.http("remote", Script(http=SESSIONS))] if workbench.has("HTTP") else []
    old = (first, leaving, *remotes)
    config = workbench.config(*old)
    async with workbench.serving(*old, config=config) as proxy:
        for remote in remotes:
            for _ in range(2):
                await proxy.call(remote.name, "add", {"a": 1, "b": 2})
        # A proxy may also begin a session for each call.
        kept = [(remote, remote.sessions) for remote in remotes if len(remote.sessions) == 1]

        async def long_call() -> None:
            answer = await proxy.call("a", "echo", {"x": 1}, within=15.0)
            workbench.expect(not answer.is_error, "the call in flight succeeds", answer.raw)

        async def changes() -> None:
            what = "the call reaches the upstream"
            await workbench.eventually(lambda: first.requests("tools/call"), within=5.0, what=what)
            workbench.save(config, *old, second)
            await must_be_added(workbench, proxy, second)
            for _ in range(5):
                os.utime(config)
                await anyio.sleep(0.3)
            config.write_bytes(config.read_bytes().replace(b"\n", b"\n\n \t") + b"\n")
            await anyio.sleep(1.0)
            # When the third server is usable, the proxy has noticed all earlier changes.
            workbench.save(config, first, *remotes, second, third)
            await must_be_added(workbench, proxy, third)

        await workbench.run_cases(long_call, changes)
        for remote, sessions in kept:
            await proxy.call(remote.name, "add", {"a": 1, "b": 2})
            workbench.expect(
                remote.sessions == sessions, f"{remote.name} keeps its session: {sessions}", remote.sessions
            )
        for upstream in (first, second):
            starts = [start.pid for start in upstream.starts]
            workbench.expect(len(starts) == 1, f"{upstream.name} started once", starts)


@check("RLD-007", timeout=60, slow=True)
async def the_client_is_told_exactly_when_the_visible_set_changed(workbench: Workbench) -> None:
    """A changed timeout announces nothing either."""
    old = workbench.stdio("a")
    listed = {"resources": [{"uri": "mock:///b", "name": "b"}], "prompts": [{"name": "hello"}]}
    new = workbench.stdio("b", Script(**listed))  # type: ignore[arg-type]
    config = workbench.config(old)
    async with workbench.serving(old, config=config) as proxy:
        capabilities = proxy.greeting.member("capabilities") if proxy.greeting else None
        kinds = ("tools", "resources", "prompts")
        declared = {kind for kind in kinds if part(capabilities, kind, "listChanged")}
        with workbench.precondition("the client lists before the first save"):
            for kind in sorted(declared):
                await proxy.items(f"{kind}/list", kind)

        def told() -> Counter[str]:
            methods = (str(message.get("method")) for message in proxy.received)
            return Counter(method.split("/")[1] for method in methods if method.endswith("/list_changed"))

        async def must_announce(what: str, *upstreams: StdioMockUpstream, kinds: set[str] = declared) -> None:
            before = told()
            workbench.save(config, *upstreams)
            names = [upstream.name for upstream in upstreams]
            with workbench.precondition("the proxy applies the save"):
                await _must_list(workbench, proxy, *names)
                if new.name not in names:
                    await _must_list(workbench, proxy, without=new.name)
            for kind in sorted(kinds):
                with workbench.case(what):
                    await workbench.eventually(
                        lambda kind=kind: told()[kind] > before[kind],  # type: ignore[misc]
                        within=STARTED,
                        what=f"notifications/{kind}/list_changed",
                    )

        async def must_be_silent(what: str) -> None:
            before = told()
            await workbench.holds_for(
                2.0, lambda: workbench.expect(told() == before, f"nothing for {what}", told() - before)
            )

        await must_announce("a server was added", old, new)
        await proxy.ready(new)
        await anyio.sleep(0.5)  # an upstream may send notifications of its own after its start
        config.write_bytes(config.read_bytes().replace(b"\n", b"\n  ") + b"\n")
        await must_be_silent("white space")
        workbench.save(config, old.variant(timeout={"tools": "20s"}), new)
        await must_be_silent("a timeout")
        if "prompts" in declared and workbench.can_set("features"):
            for what, prompts in (("off", False), ("on", True)):
                await proxy.items("prompts/list", "prompts")
                await must_announce(
                    f"the prompts of a server were switched {what}",
                    old,
                    new.variant(features={"prompts": prompts}),
                    kinds={"prompts"},
                )
            await proxy.items("prompts/list", "prompts")
        await must_announce("a server was removed", old)
        undeclared = set(told()) - declared
        workbench.expect(not undeclared, f"nothing but {sorted(declared)}, which were declared", told())


@check("RLD-009", timeout=60, slow=True)
async def a_deleted_file_keeps_the_servers_and_a_new_one_is_applied(workbench: Workbench) -> None:
    old, new = workbench.stdio("a"), workbench.stdio("b")
    config = workbench.config(old)
    async with workbench.serving(old, config=config) as proxy:
        config.unlink()
        deadline = time.monotonic() + 2.0
        while time.monotonic() < deadline:
            with workbench.case("without the file"):
                await must_serve(workbench, proxy, old)
            await anyio.sleep(POLL)
        workbench.save(config, old, new)
        await must_be_added(workbench, proxy, new)
        await must_serve(workbench, proxy, old)
