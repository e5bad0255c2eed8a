"""Mistakes in the sessions and streams of upstreams that speak Streamable HTTP."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from typing import TYPE_CHECKING

from conformance.mutants import mutant, replace, set_constant, wire_http
from conformance.mutants.http_answers import break_connection
from conformance.mutants.http_requests import SESSION, VERSION
from conformance.mutants.rld import changes_by_reloads
from conformance.mutants.wire_http import Reply
from dynamic_mcp.groups import backoff
from dynamic_mcp.groups.group import Group
from dynamic_mcp.protocol.peer import Peer
from dynamic_mcp.upstream.http import refusals, reply_stream, streamable
from dynamic_mcp.upstream.http.outbox import Outbox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from conformance.mutants.wire_http import ProxyRequest, Send
    from dynamic_mcp.upstream.http.reply import HttpReply


@mutant(
    "HTTP-009",
    also={
        "HTTP-050": "it knows no form of a lost session",
        "HTTP-071": "no new session begins",
        "HTTP-072": "no new session begins",
        "SSE-016": "no new stream begins",
    },
)
def goes_on_with_the_dead_session() -> None:
    replace(refusals.is_session_lost, lambda status, text, challenge="": False)
    replace(refusals.is_session_lost_error, lambda error: False)


@mutant("HTTP-009", also=dict.fromkeys(("HTTP-071", "HTTP-072"), "no new session begins in time"))
def is_lost_for_30_s_with_its_session() -> None:
    """The group counts as failed."""
    backoff.RESTART_DELAY = 30.0

    def wrong(request: ProxyRequest, reply: HttpReply) -> HttpReply:
        if _forgot_the_session(request, reply):
            break_connection(request)
        return reply

    wire_http.change_replies(wrong)


def _forgot_the_session(request: ProxyRequest, reply: HttpReply) -> bool:
    return request.is_call and reply.status == 404 and request.header(SESSION) is not None


@mutant("HTTP-009")
def takes_a_404_for_a_lost_session_at_calls_only() -> None:
    """After the 404 to another request, each such request fails until a call begins a new session."""

    def wrong(request: ProxyRequest, reply: HttpReply) -> HttpReply:
        is_missed = _forgot_the_session(request, reply) and request.rpc != "tools/call"
        return Reply(status=500) if is_missed else reply

    wire_http.change_replies(wrong)


@mutant("HTTP-071")
def begins_a_new_session_without_the_subscriptions() -> None:
    replace(Group.on_new_session, lambda self: None)


@mutant("HTTP-072")
def keeps_the_questions_of_a_lost_session() -> None:
    replace(Peer.leave_session, lambda self: None)
    replace(Outbox.leave_session, lambda self: None)


@mutant("HTTP-072")
def passes_no_question_with_the_id_0_on() -> None:
    """It takes the id for a missing one."""
    is_zero = re.compile(rb'"id": ?0[,}]')

    def wrong(request: ProxyRequest, event: bytes) -> bytes | None:
        return None if b'"method"' in event and is_zero.search(event) else event

    wire_http.change_events(wrong)


@mutant("HTTP-010")
def leaves_without_a_word() -> None:
    """The proxy sends no DELETE."""

    async def wrong(request: ProxyRequest, send: Send) -> AsyncIterator[HttpReply]:
        if request.method == "DELETE":
            yield Reply()
            return
        async with send(request) as reply:
            yield reply

    wire_http.around_requests(wrong)


@mutant("HTTP-010")
def ends_no_session_at_a_reload() -> None:
    """The proxy sends DELETE only when it ends."""
    reloads = changes_by_reloads()

    async def wrong(request: ProxyRequest, send: Send) -> AsyncIterator[HttpReply]:
        if request.method == "DELETE" and reloads:
            yield Reply()
            return
        async with send(request) as reply:
            yield reply

    wire_http.around_requests(wrong)


@mutant("HTTP-010")
def waits_for_the_goodbye_without_bound() -> None:
    """The proxy does not exit before the answer to its DELETE comes."""
    streamable.END_SESSION_TIMEOUT = 3600.0


@mutant("HTTP-020")
def posts_a_call_again_when_its_stream_broke() -> None:
    """The call runs twice."""
    posted: dict[object, ProxyRequest] = {}

    async def wrong(request: ProxyRequest, send: Send) -> AsyncIterator[HttpReply]:
        if request.rpc == "tools/call":
            posted[request.client] = request
        if request.header("Last-Event-ID") is not None and request.client in posted:
            async with send(posted[request.client]):
                pass
        async with send(request) as reply:
            yield reply

    wire_http.around_requests(wrong)


@mutant("HTTP-020")
def takes_a_stream_up_again_at_once() -> None:
    """The proxy ignores `retry`."""
    wire_http.change_events(lambda request, event: re.sub(rb"retry: ?\d+", b"retry: 0", event))


@mutant("HTTP-021")
def never_listens() -> None:
    """The reference promises to listen."""

    async def wrong(request: ProxyRequest, send: Send) -> AsyncIterator[HttpReply]:
        if _listens(request):
            yield Reply(status=405)
            return
        async with send(request) as reply:
            yield reply

    wire_http.around_requests(wrong)


@mutant("HTTP-031")
def is_lost_without_a_stream() -> None:
    """The group fails when the server answers GET with 405."""
    backoff.RESTART_DELAY = 30.0

    def wrong(request: ProxyRequest, reply: HttpReply) -> HttpReply:
        if _listens(request) and reply.status == 405:
            # Not at once: that would end the connection before the check has seen it work.
            asyncio.get_running_loop().call_later(3.0, break_connection, request)
        return reply

    wire_http.change_replies(wrong)


@mutant("HTTP-031")
def asks_for_a_stream_without_pause() -> None:
    async def wrong(request: ProxyRequest, send: Send) -> AsyncIterator[HttpReply]:
        while True:
            async with send(request) as reply:
                if not _listens(request) or reply.status != 405:
                    yield reply
                    return

    wire_http.around_requests(wrong)


@mutant("HTTP-064")
def listens_again_later_each_time() -> None:
    """A stream that served for a while counts as a failure."""
    set_constant(reply_stream, "NO_FAILURE_AFTER", 3600.0)


@mutant("HTTP-065")
def takes_an_answer_up_again_twice_at_most() -> None:
    resumed: Counter[object] = Counter()

    async def wrong(request: ProxyRequest, send: Send) -> AsyncIterator[HttpReply]:
        if request.header("Last-Event-ID") is not None:
            resumed[request.client] += 1
            if resumed[request.client] > 2:
                yield Reply(status=404)
                return
        async with send(request) as reply:
            yield reply

    wire_http.around_requests(wrong)


def _listens(request: ProxyRequest) -> bool:
    """Whether the request asks for a stream of the server's own, in Streamable HTTP."""
    is_resumption = request.header("Last-Event-ID") is not None
    return request.method == "GET" and request.header(VERSION) is not None and not is_resumption
