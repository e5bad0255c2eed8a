"""FRONT: the session itself: versions, what may be on stdout, ping, malformed input, ids, batches."""

from __future__ import annotations

import json
import signal
from functools import partial
from typing import TYPE_CHECKING, Any

from conformance.checks import check
from conformance.workbench.client import CLIENT_INFO
from mock_servers.script import Script, on_call, sleep, stderr

if TYPE_CHECKING:
    from pathlib import Path

    from conformance.workbench import Answer, ProtectedUpstream, Proxy, Workbench

#: the revisions that are reached by a handshake
HANDSHAKE_VERSIONS = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")


async def greeting_for(bench: Workbench, proxy: Proxy, version: str) -> dict[str, Any]:
    """The result of an `initialize` that asks for this version."""
    params = {"protocolVersion": version, "capabilities": {}, "clientInfo": CLIENT_INFO}
    answer = await proxy.request("initialize", params)
    bench.expect(isinstance(answer.result, dict), "initialize is answered with a result", answer.raw)
    result: dict[str, Any] = answer.result
    return result


async def serves(bench: Workbench, proxy: Proxy, within: float = 5.0) -> None:
    """An ordinary request of an open session gets its ordinary answer."""
    answer = await proxy.request("tools/list", {}, within=within)
    bench.expect("tools" in (answer.result or {}), "tools/list is answered with tools", answer.raw)


@check("FRONT-001", timeout=30)
async def a_supported_version_is_echoed(bench: Workbench) -> None:
    """Asked for each handshake version, a proxy answers with one that exists; asked for one of the two newest,
    with that one.
    """

    async def is_echoed(version: str) -> None:
        async with bench.proxy(bench.stdio(f"for-{version}")) as proxy:
            answered = (await greeting_for(bench, proxy, version)).get("protocolVersion")
        with bench.case(f"a client asks for {version}"):
            optional = HANDSHAKE_VERSIONS if version in HANDSHAKE_VERSIONS[:2] else ()
            what = f"the version {version}" + (" or one that the proxy supports" if optional else "")
            bench.expect(answered in (version, *optional), what, answered)

    await bench.together(*(partial(is_echoed, version) for version in HANDSHAKE_VERSIONS))


@check("FRONT-002", timeout=40)
async def an_unknown_version_is_answered_with_a_supported_one(bench: Workbench) -> None:
    """Asked for versions of the past, of the future and without a handshake, a proxy offers a handshake
    version and serves it.
    """

    async def is_offered(version: str) -> None:
        upstream = bench.stdio(f"for-{version}")
        async with bench.proxy(upstream) as proxy:
            with bench.case(f"a client asks for {version}"):
                offered = (await greeting_for(bench, proxy, version)).get("protocolVersion")
                bench.expect(offered in HANDSHAKE_VERSIONS, "a handshake version is offered", offered)
                await proxy.notify("notifications/initialized")
                await serves(bench, proxy)
                with bench.must(f"the tools of a server are listed under {offered}"):
                    await proxy.ready(upstream)

    await bench.together(
        *(partial(is_offered, version) for version in ("1999-01-01", "2099-01-01", "2026-07-28"))
    )


@check("FRONT-004", timeout=60, slow=True)
async def stdout_carries_protocol_messages_and_nothing_else(bench: Workbench) -> None:
    """Every byte of five lives (a busy one with a sign-in and reloads, ended by SIGTERM or by end of file, three
    failed starts), all at RUST_LOG=trace, is part of a line with one message; notifications are never answered.
    """
    trace = {"RUST_LOG": "trace"}
    bench.browser()

    async def busy_life(how_it_ends: str, protected: ProtectedUpstream) -> None:
        good = bench.stdio(
            "good", Script(startup=[stderr("starting\n")], on=[on_call("echo", stderr("x\n"))])
        )
        broken = bench.stdio("broken").but(command=str(bench.sandbox.root / "no-such-program"))
        config = bench.config(good, broken, protected)
        async with bench.proxy(config=config, env=trace) as proxy:
            await proxy.handshake()
            await proxy.ready(good, protected)
            added = bench.stdio("added")
            bench.save(config, good, broken, protected, added)
            await proxy.ready(added)
            bench.config_text("{bad", name=config.name, folder=config.parent)
            await _notifications_stay_unanswered(bench, proxy)
            await proxy.call("good", "echo", {"x": 1})
            await proxy.call("broken", "echo")
            await proxy.send_raw(b"not JSON\n")
            await serves(bench, proxy)
            if how_it_ends == "SIGTERM":
                proxy.signal(signal.SIGTERM)
            else:
                proxy.close_stdin()
            await proxy.wait_exit(10.0)
        bench.expect(len(proxy.stdout_lines) >= 5, "the answers of a whole life", proxy.stdout)
        with bench.case(f"a life ended by {how_it_ends}"):
            _holds_only_messages(bench, proxy.stdout)

    async def failed_start(what: str, config: Path) -> None:
        outcome = await bench.run_to_exit(config=config, env=trace)
        with bench.case(what):
            _holds_only_messages(bench, outcome.stdout)

    await bench.together(
        # Tokens are kept by the name of the server, and each life is to have its own sign-in.
        partial(busy_life, "SIGTERM", await bench.oauth("first")),
        partial(busy_life, "end of file", await bench.oauth("second")),
        partial(failed_start, "no such file", bench.sandbox.root / "missing.json"),
        partial(failed_start, "a file that is not JSON", bench.config_text("{bad")),
        partial(failed_start, "an unknown key", bench.config_text('{"mcpServers": {}, "mcpServerz": {}}')),
    )


async def _notifications_stay_unanswered(bench: Workbench, proxy: Proxy) -> None:
    before = len(proxy.stdout_lines)
    await proxy.notify("notifications/initialized")
    await proxy.notify("notifications/unknown", {"some": "thing"})
    await proxy.notify("notifications/cancelled", {"requestId": 4711, "reason": "nobody asked"})

    def is_silent() -> None:
        answers = [line for line in proxy.stdout_lines[before:] if '"method"' not in line]
        bench.expect(not answers, "no answer to a notification", answers)

    await bench.throughout(2.0, is_silent)


def _holds_only_messages(bench: Workbench, stdout: bytes) -> None:
    *lines, rest = stdout.split(b"\n")
    bench.expect(not rest, "the last line is complete", rest)
    for line in lines:
        bench.expect(_is_message(line), "each line is one JSON-RPC message in UTF-8", line)


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
async def ping_is_answered_at_any_time_and_slow_calls_block_nothing(bench: Workbench) -> None:
    """Before and after initialization, and during a call of 3 s, ping gets an empty result; the listing and a
    quick call to the same upstream do not wait for the slow one either.
    """
    upstream = bench.stdio("a", Script(on=[on_call("echo", sleep(3.0))]))
    async with bench.proxy(upstream) as proxy:
        with bench.case("before initialize"):
            await _answers_ping(bench, proxy, 5.0)  # the program may still be starting
            await _answers_ping(bench, proxy)
        await proxy.handshake()
        with bench.case("after initialize"):
            await _answers_ping(bench, proxy)
        await proxy.ready(upstream)
        slow: list[Answer] = []

        async def call_slowly() -> None:
            slow.append(await proxy.call("a", "echo", {"x": 1}))

        async def do_other_things() -> None:
            with bench.witness("the slow call reaches the upstream"):
                await bench.eventually(lambda: upstream.requests("tools/call"), within=2.0, what="it does")
            with bench.case("during a slow call"):
                await _answers_ping(bench, proxy)
                await serves(bench, proxy, within=0.5)
                quick = await proxy.call("a", "add", {"a": 1, "b": 2}, within=1.5)
                bench.expect(not quick.is_error, "a quick call is answered", quick.raw)
                bench.expect(not slow, "all of this comes before the slow answer", slow)

        await bench.together(call_slowly, do_other_things)
        bench.expect(not slow[0].is_error, "the slow call is answered in the end", slow[0].raw)


async def _answers_ping(bench: Workbench, proxy: Proxy, within: float = 0.5) -> None:
    answer = await proxy.request("ping", within=within)
    is_empty = isinstance(answer.result, dict) and not answer.result.keys() - {"_meta"}
    bench.expect(is_empty, "ping is answered with an empty result", answer.raw)


@check("FRONT-006", timeout=40)
async def malformed_input_gets_the_right_error_and_service_goes_on(bench: Workbench) -> None:
    """Six lines that are no request, and a request for an unknown method, each get one error with the right
    code and with the id that can be read, within a second; then a good request works.
    """
    wrong: list[tuple[str, int, Any]] = [
        ('{"jsonrpc": "2.0", "id": "lost", ', -32700, None),
        ("{}", -32600, None),
        ('{"jsonrpc": "1.0", "id": "version", "method": "ping"}', -32600, "version"),
        ('{"jsonrpc": "2.0", "id": "number", "method": 7}', -32600, "number"),
        ("7", -32600, None),
        ('"ping"', -32600, None),
        ('{"jsonrpc": "2.0", "id": "unknown", "method": "no/such/method"}', -32601, "unknown"),
    ]
    async with bench.proxy(bench.stdio("a")) as proxy:
        await proxy.handshake()
        with bench.witness("requests are answered"):
            await serves(bench, proxy)
        for line, code, identity in wrong:
            with bench.case(line):
                answer = await _answer_to_raw(bench, proxy, line)
                error = answer.get("error") or {}
                bench.expect(error.get("code") == code, f"an error with code {code}", answer)
                bench.expect(answer.get("id") == identity, f"the id {json.dumps(identity)}", answer)
        with bench.case("a good request afterwards"):
            await serves(bench, proxy)
        answers = [message for message in proxy.received if "method" not in message]
        bench.expect(len(answers) == len(wrong), "each line gets one answer", answers)


async def _answer_to_raw(bench: Workbench, proxy: Proxy, line: str) -> dict[str, Any]:
    def answers() -> list[dict[str, Any]]:
        return [message for message in proxy.received if "method" not in message]

    before = len(answers())
    await proxy.send_raw(line.encode() + b"\n")
    found = await bench.eventually(lambda: answers()[before:], within=1.0, what="an answer within 1 s")
    return found[0]


@check("FRONT-007", timeout=40)
async def request_ids_come_back_unchanged(bench: Workbench) -> None:
    """Numbers and texts as ids, 1 beside "1" among them, all in flight at once: each comes back once, as what
    it was.
    """
    ids: list[int | str] = [0, 1, "1", -1, -(2**53) + 1, 2**53 - 1, "", "0", "null", "é\u2028😀", 'a"\\b\n']
    call = {"name": bench.sut.profile.tools["call"], "arguments": {"group": "a", "name": "echo", "args": {}}}

    async def all_come_back(method: str, params: dict[str, Any]) -> None:
        upstream = bench.stdio("a", Script(on=[on_call("echo", sleep(0.1))]))
        async with bench.proxy(upstream) as proxy:
            with bench.must("initialize and the first requests are answered under their numbers"):
                await proxy.handshake()
                await proxy.ready(upstream)
            await bench.together(*(partial(comes_back, proxy, method, params, identity) for identity in ids))
            await serves(bench, proxy)
            more = [message for message in proxy.received if "method" not in message]
            bench.expect(not more, "one answer to each request", more)

    async def comes_back(proxy: Proxy, method: str, params: dict[str, Any], identity: int | str) -> None:
        with bench.case(f"the id {json.dumps(identity)} of {method}"):
            answer = await proxy.request(method, params, id=identity)
            bench.expect(not answer.is_error, "a result", answer.raw)

    await all_come_back("tools/list", {})
    await all_come_back("tools/call", call)


@check("FRONT-008", timeout=40)
async def batches_are_treated_as_the_negotiated_version_says(bench: Workbench) -> None:
    """Under 2025-03-26 a batch is answered by one array, or by nothing; later by one -32600, as an empty array
    is under every version; an ordinary request works afterwards.
    """

    async def is_right(version: str) -> None:
        async with bench.proxy(bench.stdio(f"for-{version}")) as proxy:
            await proxy.handshake(version)
            assert proxy.greeting is not None
            negotiated = proxy.greeting.result.get("protocolVersion")
            with bench.witness("a handshake version is negotiated"):
                bench.expect(negotiated in HANDSHAKE_VERSIONS, "one of them", negotiated)
            with bench.case(f"under {negotiated}"):
                await _treats_batches(bench, proxy, negotiated)

    await bench.together(*(partial(is_right, version) for version in HANDSHAKE_VERSIONS))


async def _treats_batches(bench: Workbench, proxy: Proxy, version: str) -> None:
    requests = [{"jsonrpc": "2.0", "id": f"b{n}", "method": "tools/list", "params": {}} for n in (1, 2)]
    notifications = [{"jsonrpc": "2.0", "method": "notifications/unknown"}] * 2
    if version == "2025-03-26":
        (answer,) = await _answers_to_batch(bench, proxy, requests, 1)
        together = isinstance(answer, list) and all(
            isinstance(member, dict) and "result" in member for member in answer
        )
        bench.expect(together, "two requests are answered by one array of results", answer)
        ids = [member.get("id") for member in answer]
        bench.expect(ids in (["b1", "b2"], ["b2", "b1"]), "the array answers each request once", answer)
        await _answers_to_batch(bench, proxy, notifications, 0)
    elif version > "2025-03-26":
        # Before that revision nothing is said about batches.
        for batch in (requests, notifications):
            _is_invalid(bench, await _answers_to_batch(bench, proxy, batch, 1))
    _is_invalid(bench, await _answers_to_batch(bench, proxy, [], 1))


async def _answers_to_batch(bench: Workbench, proxy: Proxy, batch: list[Any], count: int) -> list[Any]:
    """The lines that answer a batch; `count` of them are waited for, and an ordinary request after them."""
    before = len(proxy.stdout_lines)

    def answers() -> list[Any]:
        lines = [json.loads(line) for line in proxy.stdout_lines[before:]]
        return [line for line in lines if isinstance(line, list) or "method" not in line]

    text = json.dumps(batch)
    await proxy.send_raw(text.encode() + b"\n")
    what = f"{count} answers to {text}"
    await bench.eventually(lambda: len(answers()) >= count, within=2.0, what=what)
    await serves(bench, proxy)
    bench.expect(len(answers()) == count + 1, f"{what}, and one to the request after it", answers())
    return answers()[:count]


def _is_invalid(bench: Workbench, answers: list[Any]) -> None:
    (answer,) = answers
    error = answer.get("error") if isinstance(answer, dict) else None
    bench.expect((error or {}).get("code") == -32600, "one error with code -32600", answer)
