"""OPS: the command line, shutdown, timeouts of calls, diagnostics and long use; `ops_connecting` has the
rest.

Upstreams that the proxy must clean up stay after end of file on stdin, because one that leaves by itself
proves nothing.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import signal
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import psutil

from conformance.checks import check
from conformance.checks.common import must_work
from conformance.checks.ops_leaks import must_be_clean_behind_urls, must_keep_nothing
from conformance.errors import Violation
from conformance.workbench.exposed import requests_of_each_kind, script_of_each_kind
from conformance.workbench.waking import woken
from mock_servers.script import Grandchild, Rule, Script, crash, on_call, silence, sleep

if TYPE_CHECKING:
    from pathlib import Path

    from conformance.workbench.mocks import MockUpstream, StdioMockUpstream
    from conformance.workbench.outcome import StartOutcome
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.workbench import Workbench

#: a call of `echo` takes longer than the rest of a check
_BUSY = [on_call("echo", sleep(20.0))]
#: stays for 30 s after end of file on stdin; its grandchild stays as long as the mock may live
LINGERING = Script(on=_BUSY, ignore_eof=True, linger=30.0, grandchildren=[Grandchild()])


@check("OPS-001", timeout=40)
async def the_command_line_behaves_as_users_expect(workbench: Workbench) -> None:
    """A refusal must not show a value of the environment."""
    upstream = workbench.stdio("a")
    config, folder = workbench.config(upstream), workbench.sandbox.configs
    refusals = {
        "an unknown option": (config, ["--no-such-option"], "no-such-option"),
        "a file that does not exist": (folder / "missing.json", [], re.escape(str(folder / "missing.json"))),
        "a folder that does not exist": (folder / "gone" / "x.json", [], re.escape(str(folder / "gone"))),
        "a folder in place of a file": (folder, [], re.escape(str(folder))),
    }
    locked = workbench.config(upstream)
    locked.chmod(0o000)
    if not os.access(locked, os.R_OK):  # the superuser may read everything
        refusals["a file without permission"] = (locked, [], re.escape(str(locked)))
    secret = {"API_KEY": "canary-7f3a"}

    async def must_answer(option: str) -> None:
        outcome = await workbench.run_to_exit(args=[option], env=secret)
        with workbench.case(option):
            workbench.expect(outcome.code == 0, "exit status 0", outcome)
            workbench.expect(outcome.stdout.strip(), "text on stdout", outcome)

    async def must_refuse(what: str, file: Path, args: list[str], mentioning: str) -> None:
        outcome: StartOutcome = await workbench.run_to_exit(config=file, args=args, env=secret)
        with workbench.case(what):
            outcome.refused(mentioning)
            workbench.expect("canary" not in outcome.stderr, "no value of the environment", outcome.stderr)

    await workbench.run_cases(
        *(partial(must_answer, option) for option in ("--help", "--version")),
        *(partial(must_refuse, what, *case) for what, case in refusals.items()),
    )
    upstream.must_not_have_started()
    with workbench.precondition("the same file without the unknown option works"):
        await must_work(workbench, upstream, config=config)


@check("OPS-002", timeout=50, slow=True)
async def sigint_and_sigterm_end_the_proxy_with_full_cleanup(workbench: Workbench) -> None:
    async def must_end(upstream: StdioMockUpstream, number: signal.Signals) -> None:
        async with workbench.proxy(upstream) as proxy:
            await _in_use(workbench, proxy, upstream)
            proxy.signal(number)
            with workbench.case(number.name):
                await workbench.no_process_left(proxy, within=10.0)
            # 0, 128 + n and death by the signal all exist in the field. Only the cleanup counts.
            workbench.note(f"{upstream.name}: {proxy.how_it_ended()}")

    await workbench.run_cases(
        partial(must_end, workbench.stdio("interrupted", LINGERING), signal.SIGINT),
        partial(must_end, workbench.stdio("terminated", LINGERING), signal.SIGTERM),
    )


@check("OPS-020", timeout=40, slow=True)
async def a_second_signal_ends_the_proxy_at_once(workbench: Workbench) -> None:
    # The child ignores SIGTERM, so only the second signal makes a proxy quick.
    upstream = workbench.stdio("a", Script(on=_BUSY, ignore_eof=True, ignore_sigterm=True))
    async with workbench.proxy(upstream) as proxy:
        await _in_use(workbench, proxy, upstream)
        proxy.signal(signal.SIGTERM)
        await proxy.wait_exit(0.5)
        proxy.signal(signal.SIGTERM)
        await workbench.no_process_left(proxy, within=2.0)


async def _in_use(workbench: Workbench, proxy: Proxy, upstream: StdioMockUpstream) -> None:
    """A child of the upstream runs. If none outlives its call, a call is in flight."""
    await _must_work(workbench, proxy, upstream)
    if not upstream.alive:
        await _begin_a_long_call(workbench, proxy, upstream)
    with workbench.precondition("a child runs"):
        workbench.expect(upstream.alive, f"{upstream.name} lives during a call or after it", "it has ended")


async def _begin_a_long_call(workbench: Workbench, proxy: Proxy, upstream: StdioMockUpstream) -> None:
    """Begin a call that takes longer than the rest of the check, and wait until it reaches the upstream."""
    before = len(upstream.requests("tools/call"))
    await proxy.begin_call(upstream.name, "echo")
    await workbench.eventually(
        lambda: len(upstream.requests("tools/call")) > before,
        within=5.0,
        what="the call reaches the upstream",
    )


async def _must_work(workbench: Workbench, proxy: Proxy, *upstreams: StdioMockUpstream) -> None:
    await proxy.handshake()
    await proxy.ready(*upstreams)
    for upstream in upstreams:
        with workbench.precondition("a call works"):
            answer = await proxy.call(upstream.name, "add", {"a": 1, "b": 2})
            workbench.expect(not answer.is_error, f"{upstream.name} adds two numbers", answer.raw)


@check("OPS-003", timeout=50, slow=True)
async def the_proxy_ends_when_its_client_is_gone(workbench: Workbench) -> None:
    busy_script = Script(on=_BUSY, ignore_eof=True, linger=30.0)

    async def idle(upstream: StdioMockUpstream) -> None:
        async with workbench.proxy(upstream) as proxy:
            await _in_use(workbench, proxy, upstream)
            proxy.close_stdin()
            await _must_end(workbench, proxy, "end of file while idle", status=0)

    async def busy(upstream: StdioMockUpstream) -> None:
        async with workbench.proxy(upstream) as proxy:
            await _must_work(workbench, proxy, upstream)
            await _begin_a_long_call(workbench, proxy, upstream)
            proxy.close_stdin()
            await _must_end(workbench, proxy, "end of file during a call", status=0)
            workbench.expect(not proxy.junk, "no half message on stdout", proxy.junk)

    async def unread(upstream: StdioMockUpstream) -> None:
        async with workbench.proxy(upstream) as proxy:
            await _in_use(workbench, proxy, upstream)
            proxy.close_stdout()
            with contextlib.suppress(
                Violation
            ):  # a proxy that notices without the ping has closed its stdin already
                await proxy.send_raw(b'{"jsonrpc":"2.0","id":"last","method":"ping"}\n')
            await _must_end(workbench, proxy, "the client no longer reads stdout")

    await workbench.run_cases(
        partial(idle, workbench.stdio("idle", LINGERING)),
        partial(busy, workbench.stdio("busy", busy_script)),
        partial(unread, workbench.stdio("unread", LINGERING)),
    )


async def _must_end(workbench: Workbench, proxy: Proxy, what: str, status: int | None = None) -> None:
    with workbench.case(what):
        await workbench.no_process_left(proxy, within=10.0)
        code = await proxy.wait_exit()
        if status is not None and workbench.promises("status-0-at-the-end"):
            workbench.expect(code == status, f"exit status {status}", proxy.how_it_ended())


@check("OPS-008", timeout=60, slow=True)
async def calls_end_at_their_timeout_and_say_so(workbench: Workbench) -> None:
    script = script_of_each_kind(silence())

    def hanging(name: str, *rules: Rule, **fields: Any) -> StdioMockUpstream:
        return workbench.stdio(name, replace(script, on=[*script.on, *rules]), **fields)

    call, read, get = "tools/call", "resources/read", "prompts/get"
    slow_list = Rule("tools/list", [sleep(1.5)])
    cases: list[tuple[MockUpstream, dict[str, float]]] = [
        (hanging("default"), {call: 30.0}),
        (hanging("seconds", timeout={"tools": "2s"}), {call: 2.0}),
        (hanging("short", slow_list, timeout={"tools": "500ms"}), {call: 0.5}),
        (hanging("read", timeout={"resources": "2s"}), {read: 2.0, get: 10.0}),
        (hanging("get", timeout={"prompts": "500ms"}), {get: 0.5, read: 10.0}),
    ]
    if workbench.has("HTTP"):
        remote = await workbench.http("remote", script, timeout={"tools": "500ms", "resources": "2s"})
        cases.append((remote, {call: 0.5, read: 2.0, get: 10.0}))
    # Each case has its own proxy, so that only the limits decide about a proxy that serves one call at a
    # time.
    await workbench.run_cases(*(partial(_must_be_cut, workbench, *case) for case in cases))


#: a number of seconds or milliseconds in a text
_DURATION = re.compile(r"(?P<number>\d*[.]?\d+) ?(?:(?P<milli>ms\b|milli)|s\b|sec)", re.I)


async def _must_be_cut(workbench: Workbench, upstream: MockUpstream, limits: dict[str, float]) -> None:
    """Raise `Violation` unless each request ends at its limit, with the reason. `limits` are seconds by method."""
    async with workbench.proxy(upstream) as proxy:
        await proxy.handshake()
        with workbench.must("a listing may take longer than a call"):
            await proxy.ready(upstream)
        asked = await requests_of_each_kind(proxy, upstream.name)
        for method, limit in limits.items():
            if method not in asked:
                continue
            with workbench.case(f"{method} with a limit of {limit:g} s"):
                sent = time.monotonic()
                answer = await proxy.request(method, asked[method], within=limit + 10.0)
                arrived = upstream.requests(method)
                workbench.expect(arrived, "the request reaches the upstream", answer.raw)
                early, late = answer.t - sent, answer.t - arrived[-1].t
                workbench.expect(early >= limit - 0.1, "no answer before the limit", f"{early:.2f} s")
                workbench.expect(late <= limit + 1.5, "an answer 1.5 s after the limit", f"{late:.2f} s")
                # The upstream never answers, so this answer is the proxy's own. FRONT-013 judges where it
                # says "error".
                naming = f"a text with 'timeout', 'timed out', 'deadline' or the limit, such as '{limit:g} s'"
                workbench.expect(names_the_timeout(answer.text, limit), naming, answer.raw)
                later = await proxy.call(upstream.name, "add", {"a": 1, "b": 2})
                workbench.expect(not later.is_error, "the next call works", later.raw)


def names_the_timeout(text: str, limit: float) -> bool:
    """Whether a text says that time ran out, or has the limit in seconds or in milliseconds."""
    scales = ((float(one["number"]), 1000.0 if one["milli"] else 1.0) for one in _DURATION.finditer(text))
    named = any(math.isclose(number / scale, limit, rel_tol=0.1) for number, scale in scales)
    return named or re.search(r"tim(e|ed)[- ]?out|deadline", text, re.I) is not None


@check("OPS-009", timeout=30, slow=True)
async def warnings_are_visible_details_on_request_and_stdout_stays_clean(workbench: Workbench) -> None:
    good = workbench.stdio("good", args=["${NOPE_X}"])
    broken = workbench.stdio("unreachable").variant(command=str(workbench.sandbox.root / "no-such-program"))

    async def run(env: dict[str, str]) -> str:
        config = workbench.config(good, broken, name="watched.json")
        async with workbench.proxy(config=config, env=env) as proxy:
            await _must_work(workbench, proxy, good)
            await proxy.tools_of("unreachable")
            for name in ("NOPE_X", "unreachable"):
                what = f"stderr names {name} (with the variables {json.dumps(env)})"
                await workbench.eventually(partial(_names, proxy, name), within=5.0, what=what)
            if workbench.reloads:
                before = len(proxy.stderr)
                workbench.config_text(
                    '{"mcpServers": {"unfinished": {}}}', name=config.name, folder=config.parent
                )
                what = f"stderr names the unusable file, or the mistake in it (with the variables {json.dumps(env)})"
                said = partial(_names, proxy, "watched|unfinished", before)
                await workbench.eventually(said, within=5.0, what=what)
            await proxy.end()
            await proxy.wait_exit()
            workbench.expect(not proxy.junk, "only messages on stdout", proxy.junk)
            unfinished = proxy.output.rpartition("\n")[2]
            workbench.expect(not unfinished, "every message on stdout is complete", unfinished)
            return proxy.stderr

    default = await run({})
    switch = dict(workbench.sut.profile.log_switch)
    detailed = await run(switch)
    more = len(detailed.splitlines()) > len(default.splitlines())
    variables = " ".join(f"{name}={value}" for name, value in switch.items())
    what = f"more lines on stderr with {variables} (`log_switch` of the profile) than without"
    workbench.expect(more, what, f"without: {default}\nwith: {detailed}")


def _names(proxy: Proxy, name: str, since: int = 0) -> bool:
    """Whether stderr names this, after its first `since` characters."""
    return re.search(rf"\b({name})\b", proxy.stderr[since:]) is not None


@check("OPS-010", timeout=120, slow=True)
async def long_use_leaks_neither_sockets_processes_nor_descriptors(workbench: Workbench) -> None:
    await _must_be_clean_after_crashes(workbench)
    if workbench.reloads:
        await _must_be_clean_after_reloads(workbench)
    if workbench.has("HTTP"):
        await must_be_clean_behind_urls(workbench)


async def _must_be_clean_after_crashes(workbench: Workbench) -> None:
    # Twenty upstreams crash once each: the backoff of a single one would add up to many minutes.
    crashing = Script(on=[on_call("echo", crash())])
    upstreams = [workbench.stdio(f"a{number}", crashing) for number in range(20)]
    async with workbench.proxy(*upstreams) as proxy:
        await proxy.handshake()
        await proxy.ready(*upstreams, within=30.0)
        before = psutil.Process(proxy.pid).num_fds()
        for upstream in upstreams:
            await proxy.begin_call(upstream.name, "echo")
        with workbench.precondition("all twenty crash"):
            what = "each exits at the call"
            await workbench.eventually(lambda: all(map(_has_exited, upstreams)), within=15.0, what=what)
        # A dead child holds no descriptors. So the check counts when all are back, if the proxy restarts them
        # at all.
        with anyio.move_on_after(15.0):
            for upstream in upstreams:
                await woken(
                    proxy, upstream.name, partial(_is_back, upstream), within=15.0, what="a second start"
                )
            await proxy.ready(*upstreams)
        await must_keep_nothing(workbench, proxy, before, "of what has crashed")


async def _must_be_clean_after_reloads(workbench: Workbench) -> None:
    stays, comes = workbench.stdio("stays"), workbench.stdio("comes")
    other = workbench.stdio("comes", args=["other"])
    config = workbench.config(stays)
    async with workbench.serving(stays, config=config) as proxy:
        before = psutil.Process(proxy.pid).num_fds()
        for number in range(20):
            upstreams = [[stays, comes], [stays, other], [stays]][number % 3] if number < 19 else [stays]
            workbench.save(config, *upstreams)
            with workbench.precondition(f"the proxy applies reload number {number + 1}"):
                await _must_have_groups(workbench, proxy, {upstream.name for upstream in upstreams})
                if other in upstreams:
                    await woken(
                        proxy,
                        other.name,
                        lambda: other.starts,
                        within=5.0,
                        what="a start with the new argument",
                    )
        for upstream in (comes, other):
            with workbench.must("nothing of the last upstream is left"):
                await upstream.gone(within=10.0)
        await must_keep_nothing(workbench, proxy, before, "of what was removed")


async def _must_have_groups(workbench: Workbench, proxy: Proxy, names: set[str]) -> None:
    deadline = time.monotonic() + 5.0
    while (groups := set(await proxy.groups("stays", "comes"))) != names:
        workbench.expect(time.monotonic() < deadline, f"the groups {names} within 5 s", groups)
        await anyio.sleep(0.1)


def _is_back(upstream: StdioMockUpstream) -> bool:
    return len(upstream.starts) > 1


def _has_exited(upstream: StdioMockUpstream) -> bool:
    return any(entry.event == "exit" for entry in upstream.entries)
