"""RLD: what a change of the configuration file does to a running proxy.

Each check changes the file of a proxy that serves a client, and looks at the upstreams' processes and at what the client is shown.
A proxy may notice a change by events or by looking, so everything has seconds; nothing is judged by when it is seen.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

import anyio

from conformance.checks import check
from conformance.workbench import save_styles
from mock_servers.script import Grandchild, Script, on_call, reply, silence, sleep

if TYPE_CHECKING:
    from conformance.workbench import Proxy, RemoteUpstream, StdioUpstream, Workbench

#: stays until SIGKILL, and so does its helper
STUBBORN = Script(ignore_eof=True, ignore_sigterm=True, grandchildren=[Grandchild(ignore_sigterm=True)])
#: seconds in which a save is to be noticed, and those that a start may take beside it
NOTICED = 5.0
STARTED = 5.0
_POLL = 0.1


@check("RLD-001", timeout=40)
async def a_server_that_is_added_to_the_file_becomes_usable(bench: Workbench) -> None:
    """The file is overwritten in place with one more server: the running session lists its group, and a call
    of it works.
    """
    old, new = bench.stdio("a"), bench.stdio("b")
    config = bench.config(old)
    async with bench.serving(old, config=config) as proxy:
        bench.save(config, old, new)
        await is_usable(bench, proxy, new)
        await _works(bench, proxy, old)


async def is_usable(bench: Workbench, proxy: Proxy, upstream: StdioUpstream) -> None:
    """A server that was added is listed and can be called, in time."""
    await _lists(bench, proxy, upstream.name)
    with bench.must(f"the tools of {upstream.name} can be used"):
        await proxy.ready(upstream, within=STARTED)
    await _works(bench, proxy, upstream)


async def _lists(
    bench: Workbench, proxy: Proxy, *names: str, without: str = "", within: float = NOTICED + STARTED
) -> None:
    """Wait until these groups are listed, and one is not."""
    deadline = time.monotonic() + within
    while True:
        groups = await proxy.groups()
        if set(names) <= set(groups) and without not in groups:
            return
        if time.monotonic() >= deadline:
            wanted = f"{', '.join(names)} listed" + (f" and {without} not" if without else "")
            bench.expect(False, f"{wanted} after {within:g} s", groups)
        await anyio.sleep(_POLL)


async def _works(bench: Workbench, proxy: Proxy, upstream: StdioUpstream) -> None:
    answer = await proxy.call(upstream.name, "add", {"a": 1, "b": 2})
    bench.expect(not answer.is_error, f"a call of {upstream.name} works", answer.raw)


@check("RLD-002", timeout=60)
async def every_replacement_by_rename_is_noticed(bench: Workbench) -> None:
    """Three saves write a neighbour and rename it over the file: each adds a server, and each time it becomes
    usable.
    """
    upstreams = [bench.stdio("a")]
    config = bench.config(*upstreams)
    async with bench.serving(*upstreams, config=config) as proxy:
        for name in ("b", "c", "d"):
            upstreams.append(bench.stdio(name))
            bench.save(config, *upstreams, how=save_styles.by_rename)
            with bench.case(f"save number {len(upstreams) - 1}"):
                await is_usable(bench, proxy, upstreams[-1])


@check("RLD-003", timeout=60, slow=True)
async def a_server_that_is_removed_or_disabled_disappears_and_is_stopped(bench: Workbench) -> None:
    """An upstream and its helper that ignore the end of their input and SIGTERM are gone 10 s after the save,
    their group is not listed any more, and a call of it is an error.
    """

    async def goes(how: str, changed: StdioUpstream | None, gone: StdioUpstream, kept: StdioUpstream) -> None:
        config = bench.config(kept, gone)
        async with bench.serving(kept, gone, config=config) as proxy:
            with bench.witness("the upstream and its helper are alive"):
                bench.expect(len(gone.alive) == 2, "two processes", gone.alive)
            bench.save(config, *([kept] if changed is None else [kept, changed]))
            with bench.case(how):
                await gone.gone(within=10.0)
                await _lists(bench, proxy, kept.name, without=gone.name)
                answer = await proxy.call(gone.name, "add", {"a": 1, "b": 2})
                bench.expect(answer.is_error, f"a call of {gone.name} is an error", answer.raw)
                await _works(bench, proxy, kept)
                bench.expect(not gone.alive, f"nothing starts {gone.name} again", gone.alive)

    removed, disabled = bench.stdio("removed", STUBBORN), bench.stdio("disabled", STUBBORN)
    await bench.together(
        partial(goes, "removed from the file", None, removed, bench.stdio("a")),
        partial(goes, "enabled is false", disabled.but(enabled=False), disabled, bench.stdio("b")),
    )


@check("RLD-004", timeout=60, slow=True)
async def a_changed_definition_is_used_for_the_next_call(bench: Workbench) -> None:
    """One save changes the args and env of a process and the headers of a remote server, with a reference that
    the file did not have before, and a timeout from 30 s to 1 s: all of that is seen by the upstreams.
    """
    mark = "mark-of-the-environment"
    local = bench.stdio("local", args=["before"], env={"WHICH": "before"})
    remote = await bench.http("remote", headers={"X-Which": "before"})
    slow = bench.stdio("slow", Script(on=[on_call("echo", silence())]), timeout={"tools": "30s"})
    config = bench.config(local, remote, slow)
    async with bench.serving(local, remote, slow, config=config, env={"MARK": mark}) as proxy:
        argv = [*local.entry["args"][:-1], "after-${MARK}"]
        bench.save(
            config,
            local.but(args=argv, env={"WHICH": "${MARK}"}),
            remote.but(headers={"X-Which": "after-${MARK}"}),
            slow.but(timeout={"tools": 1}),
        )
        expected = [f"after-{mark}"], mark
        with bench.case("the new argument and environment"):
            await bench.eventually(
                lambda: expected in [(start.args, start.env.get("WHICH")) for start in local.starts],
                within=10.0,
                what=f"a start with {expected}",
            )
        await proxy.ready(local)
        await _works(bench, proxy, local)

        deadline = time.monotonic() + 10.0
        while (sent := await _header_of_a_call(proxy, remote)) != f"after-{mark}":
            bench.expect(time.monotonic() < deadline, "a call is sent with the new header", sent)
            await anyio.sleep(_POLL)

        began = time.monotonic()
        with bench.case("the timeout is 1 s now"):
            await proxy.call("slow", "echo", within=10.0)
        took = time.monotonic() - began
        bench.expect(0.9 <= took <= 3.5, "the call ends at its new timeout of 1 s", f"{took:.2f} s")
        bench.expect(slow.requests("tools/call"), "the call reaches the upstream", slow.lines)


async def _header_of_a_call(proxy: Proxy, remote: RemoteUpstream) -> str | None:
    await proxy.call(remote.name, "add", {"a": 1, "b": 2})
    calls = remote.posts("tools/call")
    return calls[-1].header("X-Which") if calls else None


@check("RLD-005", timeout=60, slow=True)
async def content_that_is_not_valid_changes_nothing(bench: Workbench) -> None:
    """Content that is no JSON, and JSON that is no configuration: the group goes on in the same process, stderr
    gets a diagnostic that is not repeated, and the next valid save is applied.
    """
    no_schema = '{"mcpServers": {"a": {"description": "the command is missing"}}}'

    async def holds(what: str, text: str, old: StdioUpstream, new: StdioUpstream) -> None:
        config = bench.config(old)
        async with bench.serving(old, config=config) as proxy:
            before = len(proxy.stderr)
            bench.config_text(text, name=config.name, folder=config.parent)
            with bench.case(what):
                said = partial(_said_since, proxy, before)
                await bench.eventually(said, within=NOTICED, what="a diagnostic appears on stderr")
                await bench.throughout(2.0, lambda: bench.expect(len(said()) <= 10, "one diagnostic", said()))
                await _works(bench, proxy, old)
                pids = [start.pid for start in old.starts]
                bench.expect(len(pids) == 1 and old.alive == pids, "the same process", (pids, old.alive))
            with bench.case(f"a valid save after {what}"):
                bench.save(config, old, new)
                await is_usable(bench, proxy, new)
                await _works(bench, proxy, old)

    await bench.together(
        partial(holds, "content that is no JSON", "{bad", bench.stdio("a"), bench.stdio("b")),
        partial(holds, "JSON that is no configuration", no_schema, bench.stdio("c"), bench.stdio("d")),
    )


def _said_since(proxy: Proxy, before: int) -> list[str]:
    return [line for line in proxy.stderr[before:].splitlines() if line.strip()]


@check("RLD-006", timeout=60, slow=True)
async def servers_that_did_not_change_keep_running(bench: Workbench) -> None:
    """A call of 3 s is under way when a server is added, the file is touched five times, its white space changes
    and another server is added: the call succeeds, and nothing was started twice.
    """
    first = bench.stdio("a", Script(on=[on_call("echo", sleep(3.0), reply())]))
    second, third = bench.stdio("b"), bench.stdio("c")
    config = bench.config(first)
    async with bench.serving(first, config=config) as proxy:

        async def long_call() -> None:
            answer = await proxy.call("a", "echo", {"x": 1}, within=15.0)
            bench.expect(not answer.is_error, "the call that was under way succeeds", answer.raw)

        async def changes() -> None:
            what = "the call reaches the upstream"
            await bench.eventually(lambda: first.requests("tools/call"), within=5.0, what=what)
            bench.save(config, first, second)
            await is_usable(bench, proxy, second)
            for _ in range(5):
                os.utime(config)
                await anyio.sleep(0.3)
            config.write_bytes(config.read_bytes().replace(b"\n", b"\n\n \t") + b"\n")
            await anyio.sleep(1.0)
            # When this one is there, what came before has been noticed.
            bench.save(config, first, second, third)
            await is_usable(bench, proxy, third)

        await bench.together(long_call, changes)
        for upstream in (first, second):
            starts = [start.pid for start in upstream.starts]
            bench.expect(len(starts) == 1, f"{upstream.name} was started once", starts)


@check("RLD-007", timeout=60, slow=True)
async def the_client_is_told_exactly_when_the_visible_set_changed(bench: Workbench) -> None:
    """A server with tools, resources and prompts is added and removed: each declared list is announced both
    times, no other one ever, and nothing when only white space or a timeout changed.
    """
    old = bench.stdio("a")
    listed = {"resources": [{"uri": "mock:///b", "name": "b"}], "prompts": [{"name": "hello"}]}
    new = bench.stdio("b", Script(**listed))  # type: ignore[arg-type]
    config = bench.config(old)
    async with bench.serving(old, config=config) as proxy:
        assert proxy.greeting is not None
        capabilities = proxy.greeting.result.get("capabilities", {})
        kinds = ("tools", "resources", "prompts")
        declared = {kind for kind in kinds if (capabilities.get(kind) or {}).get("listChanged")}

        def told() -> Counter[str]:
            methods = (str(message.get("method")) for message in proxy.received)
            return Counter(method.split("/")[1] for method in methods if method.endswith("/list_changed"))

        async def announces(what: str, *upstreams: StdioUpstream) -> None:
            before = told()
            bench.save(config, *upstreams)
            with bench.witness("the save is applied"):
                await _lists(bench, proxy, *(upstream.name for upstream in upstreams))
                if new not in upstreams:
                    await _lists(bench, proxy, without=new.name)
            for kind in sorted(declared):
                with bench.case(what):
                    await bench.eventually(
                        lambda kind=kind: told()[kind] > before[kind],  # type: ignore[misc]
                        within=STARTED,
                        what=f"notifications/{kind}/list_changed",
                    )

        async def is_silent(what: str) -> None:
            before = told()
            await bench.throughout(
                2.0, lambda: bench.expect(told() == before, f"nothing for {what}", told() - before)
            )

        await announces("a server was added", old, new)
        await proxy.ready(new)
        await anyio.sleep(0.5)  # what an upstream announces at its start is its own affair
        config.write_bytes(config.read_bytes().replace(b"\n", b"\n  ") + b"\n")
        await is_silent("white space")
        bench.save(config, old.but(timeout={"tools": "20s"}), new)
        await is_silent("a timeout")
        await announces("a server was removed", old)
        undeclared = set(told()) - declared
        bench.expect(not undeclared, f"nothing but {sorted(declared)}, which were declared", told())


@check("RLD-008", timeout=60, slow=True)
async def slow_and_bursty_writers_end_in_what_they_wrote_last(bench: Workbench) -> None:
    """A file that is truncated and written in pieces over a second, and one that is saved 20 times in 2 s: until
    the first is complete the old group works, and then exactly the last content is there, each server once.
    """
    await bench.together(partial(_slow_writer, bench), partial(_bursty_writer, bench))


async def _slow_writer(bench: Workbench) -> None:
    old, new = bench.stdio("a"), bench.stdio("b")
    config, complete = bench.config(old), bench.config(old, new).read_bytes()
    async with bench.serving(old, config=config) as proxy:
        async with anyio.create_task_group() as writing:

            async def write() -> None:
                # The last piece comes when nothing is asked any more: from then on the content is valid.
                await save_styles.in_pieces(config, complete[:-1], 7, pause=0.15)
                writing.cancel_scope.cancel()

            writing.start_soon(write)
            with bench.case("while the file is half written"):
                while True:
                    await _works(bench, proxy, old)
                    await anyio.sleep(_POLL)
        save_styles.in_place(config, complete)
        with bench.case("a slow writer"):
            await is_usable(bench, proxy, new)
            await _holds_exactly(bench, proxy, old, new)


async def _bursty_writer(bench: Workbench) -> None:
    old, between, last = bench.stdio("c"), bench.stdio("d"), bench.stdio("e")
    config = bench.config(old)
    async with bench.serving(old, config=config) as proxy:
        contents = [bench.config(old).read_bytes(), bench.config(old, between).read_bytes()]
        for number in range(20):
            data = contents[number % 2] if number < 19 else bench.config(old, last).read_bytes()
            # Truncated for a moment each time, as it is by a program that writes while it thinks.
            await save_styles.in_pieces(config, data, 2, pause=0.05)
        with bench.case("twenty saves"):
            await is_usable(bench, proxy, last)
            await _holds_exactly(bench, proxy, old, last, nobody=between)


async def _holds_exactly(
    bench: Workbench, proxy: Proxy, *upstreams: StdioUpstream, nobody: StdioUpstream | None = None
) -> None:
    """One process for each of these, and for a second it stays so."""

    def is_so() -> bool:
        return all(len(one.alive) == 1 for one in upstreams) and not (nobody and nobody.alive)

    def seen() -> dict[str, list[int]]:
        return {one.name: one.alive for one in (*upstreams, *([nobody] if nobody else []))}

    expected = f"one process for each of {', '.join(one.name for one in upstreams)}, and no other"
    with anyio.move_on_after(10.0):
        while not is_so():  # noqa: ASYNC110 - nothing tells us of another process's children
            await anyio.sleep(_POLL)
    await bench.throughout(1.0, lambda: bench.expect(is_so(), expected, seen()))
    groups = await proxy.groups()
    names = sorted(one.name for one in upstreams)
    bench.expect(sorted(groups) == names, f"the groups {names}", groups)


@check("RLD-009", timeout=60, slow=True)
async def a_deleted_file_keeps_the_servers_and_a_new_one_is_applied(bench: Workbench) -> None:
    """The file is removed for two seconds, in which the group works; a new one with one more server is created,
    and that server becomes usable.
    """
    old, new = bench.stdio("a"), bench.stdio("b")
    config = bench.config(old)
    async with bench.serving(old, config=config) as proxy:
        config.unlink()
        deadline = time.monotonic() + 2.0
        while time.monotonic() < deadline:
            with bench.case("without the file"):
                await _works(bench, proxy, old)
            await anyio.sleep(_POLL)
        bench.save(config, old, new)
        await is_usable(bench, proxy, new)
        await _works(bench, proxy, old)
