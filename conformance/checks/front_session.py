"""FRONT: the session: versions, stdout, ping, malformed input, ids, batches."""

from __future__ import annotations

import json
import signal
from functools import partial
from typing import TYPE_CHECKING, Any

from conformance.checks import check
from conformance.checks.common import must_be_callable, must_be_echo
from conformance.errors import NotApplicable
from conformance.workbench.client import CLIENT_INFO
from mock_servers.script import Script, crash, on_call, sleep, stderr

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from conformance.workbench.inbox import Answer
    from conformance.workbench.mocks import StdioMockUpstream
    from conformance.workbench.protected import ProtectedMockUpstream
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.workbench import Workbench

#: the revisions with a handshake
HANDSHAKE_VERSIONS = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
#: seconds for an answer beside a call of `SLOW`
PROMPT = 2.0
SLOW = Script(on=[on_call("echo", sleep(3.0))])


async def greeting_for(workbench: Workbench, proxy: Proxy, version: str) -> dict[str, Any]:
    """The result of an `initialize` that asks for this version."""
    params = {"protocolVersion": version, "capabilities": {}, "clientInfo": CLIENT_INFO}
    answer = await proxy.request("initialize", params, within=starts_within(workbench))
    workbench.expect(isinstance(answer.result, dict), "initialize returns a result", answer.raw)
    result: dict[str, Any] = answer.result
    return result


def starts_within(workbench: Workbench, at_least: float = 5.0) -> float:
    """The seconds for the first answer of a program that has only just started, as its profile says."""
    return max(at_least, workbench.sut.profile.starts_within)


async def must_serve(workbench: Workbench, proxy: Proxy, within: float = 5.0) -> None:
    """Raise `Violation` unless an ordinary request of an open session gets its ordinary answer."""
    answer = await proxy.request("tools/list", {}, within=within)
    workbench.expect(answer.member("tools") is not None, "tools/list returns tools", answer.raw)


@check("FRONT-001", timeout=30)
async def a_supported_version_is_echoed(workbench: Workbench) -> None:
    """A proxy may lack versions, but each version that it answers is one that it supports."""
    answers: dict[str, Any] = {}

    async def ask(version: str) -> None:
        upstream = workbench.stdio(f"for-{version}")
        async with workbench.proxy(upstream) as proxy:
            answers[version] = (await greeting_for(workbench, proxy, version)).get("protocolVersion")
            await proxy.notify("notifications/initialized")
            await proxy.ready(upstream)
            await must_be_callable(workbench, proxy, upstream)

    await workbench.run_cases(*(partial(ask, version) for version in HANDSHAKE_VERSIONS))
    profile = workbench.sut.profile
    supported = {version for version in HANDSHAKE_VERSIONS if profile.speaks(version)} | set(answers.values())
    for version, answered in answers.items():
        with workbench.case(f"a client asks for {version}"):
            wanted = (version,) if version in supported else HANDSHAKE_VERSIONS
            workbench.expect(answered in wanted, f"one of {wanted}", answers)


@check("FRONT-002", timeout=40)
async def an_unknown_version_is_answered_with_a_supported_one(workbench: Workbench) -> None:
    async def must_be_offered(version: str) -> None:
        upstream = workbench.stdio(f"for-{version}")
        async with workbench.proxy(upstream) as proxy:
            with workbench.case(f"a client asks for {version}"):
                offered = (await greeting_for(workbench, proxy, version)).get("protocolVersion")
                workbench.expect(
                    offered in HANDSHAKE_VERSIONS, "the proxy offers a handshake version", offered
                )
                await proxy.notify("notifications/initialized")
                await must_serve(workbench, proxy)
                with workbench.must(f"the proxy lists the tools of a server under {offered}"):
                    await proxy.ready(upstream)
                await must_be_callable(workbench, proxy, upstream)

    await workbench.run_cases(
        *(partial(must_be_offered, version) for version in ("1999-01-01", "2099-01-01", "2026-07-28"))
    )


APPLIES_A_CHANGED_FILE = (
    "the proxy applies a changed configuration file, which adds a server"
    " (a proxy that does not do so while it runs has `reload = false` in its profile)"
)


@check("FRONT-004", timeout=60, slow=True)
async def stdout_carries_protocol_messages_and_nothing_else(workbench: Workbench) -> None:
    """Two processes work, with a sign-in and reloads if the proxy has them, and end by SIGTERM or by end of file. Three more fail
    to start.
    """
    trace = {**workbench.sut.profile.log_switch, "RUST_LOG": "trace"}
    workbench.browser()

    async def busy_life(how_it_ends: str, protected: Sequence[ProtectedMockUpstream]) -> None:
        rules = [on_call("echo", stderr("x\n")), on_call("add", crash())]
        good = workbench.stdio("good", Script(startup=[stderr("starting\n")], on=rules))
        broken = workbench.stdio("broken").variant(command=str(workbench.sandbox.root / "no-such-program"))
        config = workbench.config(good, broken, *protected)
        async with workbench.proxy(config=config, env=trace) as proxy:
            await proxy.handshake()
            await proxy.ready(good, *protected)
            if workbench.reloads:
                added = workbench.stdio("added")
                workbench.save(config, good, broken, *protected, added)
                with (
                    workbench.precondition(APPLIES_A_CHANGED_FILE),
                    workbench.must("the added server is usable"),
                ):
                    await proxy.ready(added)
                workbench.config_text("{bad", name=config.name, folder=config.parent)
            await _must_leave_notifications_unanswered(workbench, proxy)
            await proxy.call("good", "echo", {"x": 1})
            await proxy.call("broken", "echo")
            await proxy.call("good", "add")
            await proxy.send_raw(b"not JSON\n")
            await must_serve(workbench, proxy)
            if how_it_ends == "SIGTERM":
                proxy.signal(signal.SIGTERM)
            else:
                proxy.close_stdin()
            await proxy.wait_exit(10.0)
        workbench.expect(len(proxy.stdout_lines) >= 5, "the answers of a whole session", proxy.stdout)
        with workbench.case(f"a process that ends by {how_it_ends}"):
            _must_hold_only_messages(workbench, proxy.stdout)

    async def failed_start(what: str, config: Path) -> None:
        outcome = await workbench.run_to_exit(config=config, env=trace)
        if not outcome.has_messages:
            raise NotApplicable("the program listens, and has no messages on stdout")
        with workbench.case(what):
            _must_hold_only_messages(workbench, outcome.stdout)

    # The proxy stores tokens by the name of the server, and each process needs a sign-in of its own.
    names = ("first", "second") if workbench.has("OAUTH") else ()
    protected = [await workbench.oauth(name) for name in names]
    await workbench.run_cases(
        partial(busy_life, "SIGTERM", protected[:1]),
        partial(busy_life, "end of file", protected[1:]),
        partial(failed_start, "no such file", workbench.sandbox.root / "missing.json"),
        partial(failed_start, "a file that is not JSON", workbench.config_text("{bad")),
        partial(
            failed_start, "an unknown key", workbench.config_text('{"mcpServers": {}, "mcpServerz": {}}')
        ),
    )


async def _must_leave_notifications_unanswered(workbench: Workbench, proxy: Proxy) -> None:
    before = len(proxy.stdout_lines)
    await proxy.notify("notifications/initialized")
    await proxy.notify("notifications/unknown", {"some": "thing"})
    await proxy.notify("notifications/cancelled", {"requestId": 4711, "reason": "nobody asked"})

    def must_be_silent() -> None:
        answers = [line for line in proxy.stdout_lines[before:] if '"method"' not in line]
        workbench.expect(not answers, "no answer to a notification", answers)

    await workbench.holds_for(2.0, must_be_silent)


def _must_hold_only_messages(workbench: Workbench, stdout: bytes) -> None:
    *lines, rest = stdout.split(b"\n")
    workbench.expect(not rest, "the last line is complete", rest)
    for line in lines:
        workbench.expect(_is_message(line), "each line is one JSON-RPC message in UTF-8", line)


def _is_message(line: bytes) -> bool:
    try:
        message = json.loads(line.decode("utf-8"))
    except ValueError:
        return False
    if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
        return False
    answers = ("result" in message) + ("error" in message)
    return isinstance(message.get("method"), str) != (answers == 1)


@check("FRONT-005", timeout=30, serial=True, slow=True)
async def ping_is_answered_at_any_time(workbench: Workbench) -> None:
    upstream = workbench.stdio("a", SLOW)
    async with workbench.proxy(upstream) as proxy:
        # Over HTTP a server may refuse what belongs to no session (MCP 2025-11-25, basic/transports, Session Management).
        if not workbench.sut.profile.client.listens:
            with workbench.case("before initialize"):
                await _must_answer_ping(workbench, proxy, starts_within(workbench))
                await _must_answer_ping(workbench, proxy)
        await proxy.handshake()
        with workbench.case("after initialize"):
            await _must_answer_ping(workbench, proxy)
        await proxy.ready(upstream)
        await _during_a_slow_call(workbench, proxy, upstream, partial(_must_answer_ping, workbench, proxy))


@check("FRONT-047", timeout=30, serial=True, slow=True)
async def a_slow_call_delays_no_other_request(workbench: Workbench) -> None:
    upstream = workbench.stdio("a", SLOW)
    async with workbench.serving(upstream) as proxy:

        async def must_stay_quick() -> None:
            await must_serve(workbench, proxy, within=PROMPT)
            quick = await proxy.call("a", "add", {"a": 1, "b": 2}, within=PROMPT)
            workbench.expect(not quick.is_error, "a quick call succeeds", quick.raw)

        await _during_a_slow_call(workbench, proxy, upstream, must_stay_quick)


async def _during_a_slow_call(
    workbench: Workbench, proxy: Proxy, upstream: StdioMockUpstream, do: Callable[[], Awaitable[None]]
) -> None:
    slow: list[Answer] = []

    async def call_slowly() -> None:
        slow.append(await proxy.call(upstream.name, "echo", {"x": 1}))

    async def do_other_things() -> None:
        with workbench.precondition("the slow call reaches the upstream"):
            await workbench.eventually(
                lambda: upstream.requests("tools/call"), within=2.0, what="its journal has the call"
            )
        with workbench.case("during a slow call"):
            await do()
            workbench.expect(not slow, "this comes before the slow answer", slow)

    await workbench.run_cases(call_slowly, do_other_things)
    workbench.expect(not slow[0].is_error, "the slow call succeeds in the end", slow[0].raw)


async def _must_answer_ping(workbench: Workbench, proxy: Proxy, within: float = PROMPT) -> None:
    answer = await proxy.request("ping", within=within)
    is_empty = isinstance(answer.result, dict) and not answer.result.keys() - {"_meta"}
    workbench.expect(is_empty, "ping returns an empty result", answer.raw)


@check("FRONT-007", timeout=40)
async def request_ids_come_back_unchanged(workbench: Workbench) -> None:
    """All ids are in flight at once. The workbench judges that each request has one answer, and nothing else has one."""
    ids: list[int | str] = [
        0,
        1,
        "1",
        -1,
        -(2**53) + 1,
        2**53 - 1,
        "",
        "0",
        "null",
        "é\u2028😀",
        'a"\\b\n',
        "long " * 50,
        2,
    ]

    async def must_all_come_back(ask: Callable[[Proxy, int | str], Awaitable[None]]) -> None:
        # A proxy that sends one call after the other passes.
        slow = [on_call("echo", sleep(0.2), nth=nth) for nth in range(1, len(ids), 2)]
        upstream = workbench.stdio("a", Script(on=slow))
        async with workbench.proxy(upstream) as proxy:
            with workbench.must("initialize and the first requests get answers under their ids"):
                await proxy.handshake()
                await proxy.ready(upstream)
            await workbench.run_cases(*(partial(ask, proxy, identity) for identity in ids))
            await proxy.notify("notifications/unknown", {"some": "thing"})
            await proxy.request("ping")  # FRONT-005 judges the answer
            await must_serve(workbench, proxy)

    async def must_be_listed(proxy: Proxy, identity: int | str) -> None:
        with workbench.case(f"the id {json.dumps(identity)} of tools/list"):
            answer = await proxy.request("tools/list", {}, id=identity)
            workbench.expect(answer.member("tools") is not None, "the tools", answer.raw)

    async def must_be_echoed(proxy: Proxy, identity: int | str) -> None:
        arguments = {"text": json.dumps(identity)}
        with workbench.case(f"the id {json.dumps(identity)} of tools/call"):
            params = proxy.call_params("a", "echo", arguments)
            answer = await proxy.request("tools/call", params, id=identity, within=10.0)
            must_be_echo(workbench, answer, arguments)

    await must_all_come_back(must_be_listed)
    await must_all_come_back(must_be_echoed)
