"""SHARE: the processes behind several clients, the end of a client, and one that does not read."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from conformance.checks import check
from conformance.checks.front_http_headers import NOT_OFFERED, RightRefusal, session_of_its_own
from conformance.checks.share import (
    answer_to,
    must_be_right,
    reaches_or_waits,
    with_argument,
)
from conformance.errors import NotApplicable, Violation
from conformance.workbench.endpoint import Endpoint
from conformance.workbench.several_clients import another_client, clients_of_one_program
from conformance.workbench.transports.headers import SESSION
from mock_servers.script import Script, hold, on_call, payload, release, reply

if TYPE_CHECKING:
    from conformance.checks.front_http_headers import ProbedSession
    from conformance.workbench.mocks import StdioMockUpstream
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.transcript import Json
    from conformance.workbench.workbench import Workbench

#: clients at once, and sessions that end one after another
CLIENTS, ENDED = 3, 3
#: seconds in which the processes of an ended session end, after the time that the profile allows
GRACE = 5.0
#: seconds in which a proxy notices the death of a client; some wait as long for the client to read its last answers
NOTICED = 6.0
#: seconds after which a held call ends by itself, as in `share`, but not before the proxy has noticed the death
_HELD = NOTICED + 4.0
_PATIENCE = 2 * _HELD + 5.0
#: MCP has a status for an ended session, and none for an unknown one
_ENDED, _UNKNOWN = RightRefusal("404", (404,)), RightRefusal("404 or 400", (404, 400))
_LIST: Json = {"id": 2, "method": "tools/list"}
#: seconds for a call beside a client that does not read
BESIDE = 5.0
#: bytes of each answer that the client leaves unread, and their number
UNREAD, UNREAD_ANSWERS = 4 << 20, 6


@check("SHARE-007", timeout=40)
async def clients_share_one_process_of_each_server(workbench: Workbench) -> None:
    if not workbench.sut.profile.client.shares:
        raise NotApplicable("its profile does not say that its clients share servers (`shares` in [client])")
    one, other = workbench.stdio("one"), workbench.stdio("other")
    async with clients_of_one_program(workbench, one, other, number=CLIENTS, at_once=True) as clients:
        for number, client in enumerate(clients):
            for upstream in (one, other):
                result = await client.call(upstream.name, "echo", {"n": number})
                workbench.expect(not result.is_error, "the call succeeds", result.raw)
        for upstream in (one, other):
            seen = f"{len(upstream.starts)} starts, alive: {upstream.alive}"
            workbench.expect(
                len(upstream.starts) == 1, f"one process of {upstream.name} for all clients", seen
            )


@check("SHARE-008", timeout=90, slow=True)
async def the_death_of_a_client_leaves_the_calls_of_others_alone(workbench: Workbench) -> None:
    """Each client in turn is the one that dies: the first one, which has started what the clients share, and a later one."""
    with workbench.case("the client that came first dies"):
        await _one_dies(workbench, workbench.stdio("a", _holding()), first_dies=True)
    with workbench.case("a later client dies"):
        await _one_dies(workbench, workbench.stdio("b", _holding()), first_dies=False)


def _holding() -> Script:
    return Script(
        on=[
            on_call("echo", hold("never", _HELD), reply(), params=with_argument(x="dies")),
            on_call("echo", hold("go", _HELD), reply(), params=with_argument(x="lives")),
            on_call("echo", release("go"), reply(), params=with_argument(x="release")),
        ]
    )


async def _one_dies(workbench: Workbench, upstream: StdioMockUpstream, *, first_dies: bool) -> None:
    async with clients_of_one_program(workbench, upstream) as clients:
        dying, living = clients if first_dies else reversed(clients)
        for client, word in ((dying, "dies"), (living, "lives")):
            await client.begin("tools/call", client.call_params(upstream.name, "echo", {"x": word}), id=word)
            await reaches_or_waits(workbench, upstream, word)
        await dying.vanish()
        # A proxy that has noticed the death may cancel the call; another one has had the time to notice it.
        with contextlib.suppress(Violation):
            await workbench.eventually(
                lambda: upstream.requests("notifications/cancelled"), within=NOTICED, what="a cancellation"
            )
        released = await living.call(upstream.name, "echo", {"x": "release"}, within=_PATIENCE)
        workbench.expect(not released.is_error, "a further call of the other client succeeds", released.raw)
        what = "the other client gets the answer to its call"
        answer = await answer_to(workbench, living, "lives", what, within=_PATIENCE)
        must_be_right(workbench, answer, "the call that was on its way")


@check("SHARE-009", timeout=60, slow=True, serial=True)
async def a_client_that_does_not_read_stops_no_other(workbench: Workbench) -> None:
    flood = on_call("echo", payload(UNREAD), params=with_argument(x="flood"))
    upstream = workbench.stdio("a", Script(on=[flood]))
    async with clients_of_one_program(workbench, upstream) as (reader, idle):
        idle.may_end_by_itself()
        idle.ignore_output()
        for number in range(UNREAD_ANSWERS):
            params = idle.call_params("a", "echo", {"x": "flood", "n": number})
            await idle.begin("tools/call", params, id=f"unread-{number}")
        await workbench.eventually(
            lambda: [call for call in upstream.requests("tools/call") if "flood" in call.text],
            within=5.0,
            what="a call of the client that does not read reaches the upstream",
        )
        for number in range(5):
            began = time.monotonic()
            result = await reader.call("a", "echo", {"n": number}, within=BESIDE)
            workbench.expect(not result.is_error, "the call of the other client succeeds", result.raw)
            workbench.expect(
                time.monotonic() - began <= BESIDE,
                f"within {BESIDE:g} s",
                time.monotonic() - began,
                timed=True,
            )


@check("SHARE-010", timeout=60, slow=True)
async def ended_clients_leave_no_process(workbench: Workbench) -> None:
    client = workbench.sut.profile.client
    upstream = workbench.stdio("a")
    within = GRACE + client.lingers
    async with workbench.proxy(upstream) as first:
        await first.handshake()
        await first.ready(upstream)
        processes = [first.processes]
        ends_sessions = await _ends_sessions(workbench, first)
        for _ in range(ENDED):
            async with another_client(workbench, first) as passing:
                await passing.handshake()
                await passing.ready(upstream)
                processes.append(passing.processes)
                await passing.leave()
        most = 1 if client.shares else 2
        if ends_sessions:
            await workbench.eventually(
                lambda: len(upstream.alive) <= most,
                within=within,
                what=f"{most} or fewer processes of the server for one client",
                seen=lambda: upstream.alive,
            )
        else:
            workbench.note("it lets no client end a session (405), so only the end of the program is judged")
        result = await first.call("a", "echo", {"x": "still here"})
        workbench.expect(not result.is_error, "the client that has stayed is served", result.raw)
        await first.end()
        await workbench.eventually(
            lambda: not [process for census in processes for process in census.alive()],
            within=within,
            what=f"no process is left {within:g} s after the end of the last client",
            seen=lambda: [str(process) for census in processes for process in census.alive()],
        )


async def _ends_sessions(workbench: Workbench, proxy: Proxy) -> bool:
    """Whether a client can end its session. A program with Streamable HTTP may refuse DELETE, and end sessions that are idle."""
    if workbench.sut.profile.client.transport != "http":
        return True
    endpoint = Endpoint(workbench, proxy)
    session = await endpoint.begin()
    return SESSION not in session or (await endpoint.request("DELETE", session)).status != NOT_OFFERED


@check("SHARE-011", timeout=40)
async def only_a_living_session_is_served(workbench: Workbench) -> None:
    async with session_of_its_own(workbench) as session:
        id = session.headers.get(SESSION)
        if id is None:
            raise NotApplicable("it gives its sessions no ids")
        for name, unknown in (
            ("that the program never gave", f"{id[:-4]}zzzz"),
            ("that the check made up", "1"),
        ):
            with workbench.case(f"a session {name}"):
                await _must_refuse_session(session, unknown, _UNKNOWN)
        ended = await session.endpoint.request("DELETE", session.headers)
        if ended.status == NOT_OFFERED:
            workbench.note("it lets no client end a session")
        else:
            workbench.expect(ended.status < 300, "the program confirms the DELETE of a session", str(ended))
            with workbench.case("a session that its client has ended"):
                await _must_refuse_session(session, id, _ENDED)
        session.must_have_passed_nothing_on()
        with workbench.case("the session of another client"):
            result = await session.other.call("a", "echo", {"x": "still here"})
            workbench.expect(not result.is_error, "it goes on", result.raw)


async def _must_refuse_session(session: ProbedSession, id: str, refusal: RightRefusal) -> None:
    headers = {**session.headers, SESSION: id}
    await session.must_refuse(headers, refusal)
    session.must_be(refusal, "a list", await session.endpoint.post(_LIST, headers))
