"""STD: the processes of stdio upstreams: how they start, what they inherit, how they end.

Each process writes its arguments, environment and signals into its own journal. The operating system knows
whether the process is alive, and a zombie is dead. RLD-003 covers the end of a removed server, OPS-002 the
exit status of the proxy.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from functools import partial
from typing import TYPE_CHECKING

from conformance.checks import check
from conformance.checks.common import must_be_callable, must_be_echoed
from conformance.checks.later_processes import STUBBORN, endings
from conformance.workbench.leak_scan import leaked
from mock_servers.script import Grandchild, Script, on_call, silence, stderr

if TYPE_CHECKING:
    from conformance.workbench.mocks import StdioMockUpstream
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.workbench import Workbench
    from mock_servers.journal_views import Start

#: a variable of one server; no other text of the check contains it
_FOR_ONE = "for-one-4711"
#: seconds from the request to stop until every process is gone
GONE_WITHIN = 10.0
#: the same for several servers, which a proxy may end one after another
ALL_GONE_WITHIN = 20.0


@check("STD-001")
async def the_child_gets_exactly_the_configured_argument_list(workbench: Workbench) -> None:
    marker = workbench.sandbox.root / "marker"
    arguments = ["a b", f"$(touch {marker})", ";", "", "*", "$HOME"]
    exact = workbench.stdio("exact", args=arguments)
    folder = workbench.sandbox.root / "only-in-path"
    folder.mkdir()
    (folder / "bare-command").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (folder / "bare-command").chmod(0o755)
    bare = workbench.stdio("bare", command="bare-command")
    async with workbench.serving(exact) as proxy:
        await must_be_callable(workbench, proxy, exact)
        seen = exact.starts[-1].args
        workbench.expect(seen == arguments, f"the arguments {arguments}", seen)
        workbench.expect(not marker.exists(), "no command among the arguments runs", f"{marker} exists")
    with workbench.must("the proxy finds a bare command name in a folder of PATH"):
        async with workbench.serving(
            bare, env={"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
        ) as proxy:
            await must_be_callable(workbench, proxy, bare)


@check("STD-002")
async def the_configured_environment_reaches_its_own_child_and_wins(workbench: Workbench) -> None:
    first = workbench.stdio("first", env={"X": "1", "K": _FOR_ONE})
    second = workbench.stdio("second")
    async with workbench.serving(first, second, env={"X": "9"}) as proxy:
        for upstream in (first, second):
            await must_be_callable(workbench, proxy, upstream)
        own, other = first.starts[-1].env, second.starts[-1].env
    workbench.expect(own.get("X") == "1", "its own X=1 beats the inherited X=9", own.get("X"))
    workbench.expect(own.get("K") == _FOR_ONE, f"its own K={_FOR_ONE}", own.get("K"))
    workbench.expect(other.get("X") == "9", "the other child keeps the inherited X=9", other.get("X"))
    workbench.expect("K" not in other, "the other child has no K", other.get("K"))
    foreign = leaked(json.dumps(other), {"the value of K": _FOR_ONE})
    workbench.expect(not foreign, "no variable of the other child contains the value of K", foreign)


@check("STD-003")
async def children_inherit_the_environment_of_the_proxy(workbench: Workbench) -> None:
    upstream = workbench.stdio("a", env={"OTHER": "1"})
    async with workbench.serving(upstream, env={"PARENT_MARK": "1"}) as proxy:
        await must_be_callable(workbench, proxy, upstream)
        env = upstream.starts[-1].env
    expected = {"PARENT_MARK": "1", "PATH": os.environ["PATH"], "HOME": str(workbench.sandbox.home)}
    seen = {name: env.get(name) for name in expected}
    workbench.expect(seen == expected, f"the inherited variables {expected}", seen)


@check("STD-004")
async def every_child_leads_a_process_group_of_its_own(workbench: Workbench) -> None:
    script = Script(on=[on_call("add", silence())])
    upstreams = [workbench.stdio("first", script), workbench.stdio("second", script)]
    async with workbench.serving(*upstreams) as proxy:
        with workbench.precondition("a call of each server works"):
            for upstream in upstreams:
                await must_be_callable(workbench, proxy, upstream)
        for upstream in upstreams:
            # A call without an answer keeps a child alive that serves only one.
            await proxy.begin_call(upstream.name, "add", {"a": 1, "b": 2})
        with workbench.precondition("each server has a child that stays"):
            for upstream in upstreams:
                what = f"a second call of {upstream.name}, or its only child alive"
                await workbench.eventually(partial(_has_a_child_that_stays, upstream), within=10.0, what=what)
        for start in (start for upstream in upstreams for start in upstream.starts):
            workbench.expect(
                start.pgid == start.pid, f"group {start.pid} for the child {start.pid}", start.pgid
            )
        _must_be_alive(workbench, upstreams)
        proxy.signal(signal.SIGINT, whole_group=True)
        await proxy.wait_exit(GONE_WITHIN)
        for upstream in upstreams:
            interrupts = [e for e in upstream.events("signal") if e.data["number"] == signal.SIGINT]
            workbench.expect(not interrupts, f"the child {upstream.name} gets no SIGINT", interrupts)


def _has_a_child_that_stays(upstream: StdioMockUpstream) -> bool:
    """Whether the second call is at the upstream, or one child has served everything so far and lives."""
    in_flight = len(upstream.requests("tools/call")) > 1
    return in_flight or (len(upstream.starts) == 1 and bool(upstream.alive))


@check("STD-005", timeout=30)
async def termination_reaches_grandchildren_too(workbench: Workbench) -> None:
    upstream = workbench.stdio("a", Script(grandchildren=[Grandchild()]))
    async with workbench.serving(upstream) as proxy:
        await proxy.end()
        await upstream.gone(GONE_WITHIN)
        signals = [entry.data["number"] for entry in upstream.events("grandchild-signal")]
        workbench.expect(signal.SIGTERM in signals, "the grandchild gets SIGTERM", signals or "no signal")


@check("STD-006", slow=True, timeout=90)
async def survivors_are_killed(workbench: Workbench) -> None:
    async def must_be_killed(proxy: Proxy, upstreams: list[StdioMockUpstream]) -> None:
        proxy.signal(signal.SIGTERM)
        for upstream in upstreams:
            await upstream.gone(ALL_GONE_WITHIN)

    async def first_processes() -> None:
        upstream = workbench.stdio("a", STUBBORN)
        async with workbench.serving(upstream) as proxy:
            proxy.signal(signal.SIGTERM)
            await upstream.gone(GONE_WITHIN)

    await workbench.run_cases(first_processes, *endings(workbench, must_be_killed))


@check("STD-007", timeout=30, slow=True)
async def the_grace_period_is_long_enough_to_be_used(workbench: Workbench) -> None:
    upstream = workbench.stdio("a", Script(ignore_eof=True, sigterm_delay=0.3))
    async with workbench.serving(upstream) as proxy:
        await proxy.end()
        await upstream.gone(GONE_WITHIN)
    done = upstream.events("marker")
    workbench.expect(done, "the child's handler of SIGTERM comes to its end", _ending(upstream))


@check("STD-008", timeout=30)
async def closing_stdin_comes_before_any_signal(workbench: Workbench) -> None:
    upstream = workbench.stdio("a", Script(ignore_eof=True, linger=0.2))
    async with workbench.serving(upstream) as proxy:
        await must_be_callable(workbench, proxy, upstream)
        await proxy.end()
        await upstream.gone(GONE_WITHIN)
    ending = _ending(upstream)
    workbench.expect(ending == ["eof", "exit"], "end of file, then the exit, and no signal", ending)


@check("STD-036", timeout=30, slow=True)
async def a_child_has_two_seconds_to_end_by_itself(workbench: Workbench) -> None:
    upstream = workbench.stdio("a", Script(ignore_eof=True, linger=1.5))
    async with workbench.serving(upstream) as proxy:
        await must_be_echoed(workbench, proxy, upstream.name, {"x": 1})
        await proxy.end()
        await upstream.gone(GONE_WITHIN)
    ending = _ending(upstream)
    workbench.expect(ending == ["eof", "exit"], "end of file, then the exit, and no signal", ending)


def _ending(upstream: StdioMockUpstream) -> list[str]:
    """The end of file, the signals and the child's own exit, in order. The list is empty when SIGKILL ended
    the child at once.
    """
    return [entry.event for entry in upstream.entries if entry.event in ("eof", "signal", "exit")]


@check("STD-009")
async def what_a_child_writes_to_stderr_is_discarded(workbench: Workbench) -> None:
    noise = stderr("NOISE-4711 from the child\n")
    upstream = workbench.stdio("a", Script(startup=[noise], on=[on_call("echo", noise)]))
    async with workbench.serving(upstream) as proxy:
        await proxy.call("a", "echo")
    written = [entry for entry in upstream.events("action") if entry.data["do"] == "stderr"]
    with workbench.precondition("a child has written to stderr at its start and on the call"):
        both = {entry.data["request"] is None for entry in written} == {True, False}
        workbench.expect(both, "an entry of each in its journal", written)
    for name, stream in {"stdout": proxy.output, "stderr": proxy.stderr}.items():
        workbench.expect("NOISE-4711" not in stream, f"the word is not on the proxy's {name}", stream)


@check("STD-010")
async def a_chatty_stderr_never_blocks_the_child(workbench: Workbench) -> None:
    upstream = workbench.stdio("a", Script(on=[on_call("echo", stderr(4 << 20))]))
    async with workbench.serving(upstream) as proxy:
        for number in (1, 2):
            result = await proxy.call("a", "echo", {"number": number}, within=5.0)
            workbench.expect(not result.is_error, f"call {number} completes", result.raw)


@check("STD-019", slow=True)
async def children_do_not_hold_each_others_descriptors(workbench: Workbench) -> None:
    upstreams = [workbench.stdio(name) for name in ("first", "second", "third")]
    async with workbench.serving(*upstreams) as proxy:
        starts = [upstream.starts[-1] for upstream in upstreams]
        _must_hold_only_its_own(workbench, starts, proxy)
        for upstream in upstreams:
            await must_be_callable(workbench, proxy, upstream)
        _must_be_alive(workbench, upstreams)
        proxy.signal(signal.SIGKILL)
        for upstream in upstreams:
            what = f"{upstream.name} sees end of file on stdin after SIGKILL to the proxy"
            await workbench.eventually(partial(_has_seen_the_end, upstream), within=3.0, what=what)


def _must_be_alive(workbench: Workbench, upstreams: list[StdioMockUpstream]) -> None:
    with workbench.precondition("the children live when the signal comes"):
        dead = [upstream.name for upstream in upstreams if not upstream.alive]
        workbench.expect(not dead, "each child is alive", dead)


def _has_seen_the_end(upstream: StdioMockUpstream) -> bool:
    # A guard that outlives the proxy may end the child before the child writes its journal.
    return bool(upstream.events("eof")) or not upstream.alive


def _must_hold_only_its_own(workbench: Workbench, starts: list[Start], proxy: Proxy) -> None:
    """Raise `Violation` for a descriptor of another child.

    The check ignores stderr: children may share it, and then no child misses an end of file.
    """
    held = [
        {target for number, target in start.fds.items() if number != "2" and target.startswith("pipe:")}
        for start in starts
    ]
    for number, start in enumerate(starts):
        foreign = set(proxy.pipes).union(*held[:number], *held[number + 1 :]) & set(start.fds.values())
        workbench.expect(
            not foreign, f"no pipe of another process in child {start.pid}", f"{foreign} in {start.fds}"
        )
