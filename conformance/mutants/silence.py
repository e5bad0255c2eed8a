"""Mistakes with servers that are dead or unreachable although their connection is open, and with a client that answers nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.mutants import mutant, replace, set_constant, wire
from conformance.mutants.wire import INTERNAL_ERROR, refusal
from dynamic_mcp.errors import UpstreamTimeout
from dynamic_mcp.frontend import running
from dynamic_mcp.frontend.tool_surface import CALL
from dynamic_mcp.process.child import Child
from dynamic_mcp.protocol import liveness, pending
from dynamic_mcp.protocol.liveness import LivenessCheck
from dynamic_mcp.upstream.http.connection import HttpUpstream
from dynamic_mcp.upstream.http.legacy_sse import SseUpstream
from dynamic_mcp.upstream.http.streamable import StreamableHttpUpstream
from dynamic_mcp.upstream.vital_signs import ChildWatch

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from conformance.mutants.wire import Changed, Message, Way


@mutant(
    "STD-035",
    also={"SSE-012": "the mistake is in what all transports share", "OPS-026": "the same"},
)
def keeps_a_server_that_stopped_answering() -> None:
    replace(LivenessCheck.unanswered, lambda self, began: None)


@mutant("STD-031")
def gives_up_a_server_after_one_timeout() -> None:
    liveness.ROUNDS, liveness.QUESTION_TIMEOUT, liveness.MIN_SILENCE = 1, 0.1, 0.0


@mutant("STD-031")
def never_asks_a_server_before_it_gives_it_up() -> None:
    right = LivenessCheck.__init__

    async def no_question(timeout: float) -> None:
        raise UpstreamTimeout("not asked")

    def wrong(
        self: LivenessCheck, ask: Callable[[float], Awaitable[object]] | None, end: Callable[[str], None]
    ) -> None:
        right(self, None if ask is None else no_question, end)

    replace(right, wrong)


@mutant("STD-032")
def waits_for_the_end_of_file_of_a_dead_child() -> None:
    async def wrong(self: ChildWatch, timeout: float) -> None:
        return None

    replace(ChildWatch.ask, wrong)


@mutant("STD-033")
def takes_the_exit_of_a_launcher_for_the_end_of_its_server() -> None:
    replace(Child.has_failed, property(lambda self: True))


@mutant("STD-034")
def writes_to_a_closed_stdin_for_ever() -> None:
    replace(ChildWatch.input_lost, lambda self: None)


@mutant("SSE-012")
def counts_an_accepted_post_as_an_answer() -> None:
    _trust(SseUpstream)


@mutant("OPS-026")
def trusts_a_url_that_answers_nothing() -> None:
    _trust(StreamableHttpUpstream)


def _trust(kind: type[HttpUpstream]) -> None:
    """Take any upstream of this kind for alive."""
    # Private, because the transport is known nowhere else.
    right = HttpUpstream._ask

    async def wrong(self: HttpUpstream, timeout: float) -> None:
        if not isinstance(self, kind):
            await right(self, timeout)

    replace(right, wrong)


@mutant("FRONT-050")
def stops_the_clock_of_a_call_for_the_roots() -> None:
    set_constant(pending, "ASKS_THE_USER", pending.ASKS_THE_USER | {"roots/list"})


@mutant("FRONT-050")
def fails_each_call_of_a_client_with_roots() -> None:
    """No call waits too long, because none reaches a server."""
    with_roots: set[Way] = set()

    def wrong(message: Message, way: Way) -> Changed:
        params = message.get("params") or {}
        if message.get("method") == "initialize" and "roots" in params["capabilities"]:
            with_roots.add(way)
        if way not in with_roots or message.get("method") != "tools/call" or params["name"] != CALL:
            return message
        way.back.send(refusal(message, INTERNAL_ERROR, "boom"))
        return None

    wire.from_client(wrong)


@mutant("OPS-025", also={"OPS-047": "the call to the good server fails"})
def gives_up_the_last_requests_at_the_end_of_input() -> None:
    running.LAST_ANSWERS = running.LAST_PIPED_ANSWERS = 0.0
