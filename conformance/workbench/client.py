"""A raw MCP client of a program, on its stdin and stdout or over HTTP.

The client validates nothing, so that a check can send and observe any message. The answer to a request is the message with
its id and a `result` or an `error`. In the modern era every request carries its own `_meta`. A missing answer is a
`Violation`; a program that is gone while it should serve is `ImplementationCrashed`.

What only a program on stdio has raises `NotApplicable` for one that listens: bytes on stdin, lines on stdout, and their ends. `end` and
`output` exist on every transport.

Limits: outside of `answering`, the client answers only `ping` and `roots/list` of the program (`conformance.workbench.client_answers`).
It reads the first 64 MiB of stdout.
"""

from __future__ import annotations

import json
import signal
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Literal

import anyio

from conformance.errors import ImplementationCrashed, NotApplicable, Violation
from conformance.model.registry import MODERN
from conformance.workbench.client_answers import ClientAnswers
from conformance.workbench.deadlines import extended
from conformance.workbench.inbox import Answer, Inbox, RequestId
from conformance.workbench.launched import Launched, describe_end
from conformance.workbench.request_lines import bytes_of, described, line_of
from conformance.workbench.timeline import Timeline, shorten
from conformance.workbench.transports.base import ClientTransport, Failure, StdioClientTransport, needs_stdio
from conformance.workbench.transports.bodies import BodyReply, TakesBodies
from conformance.workbench.waits import waiting_for

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from conformance.workbench.census import Census
    from conformance.workbench.transcript import Json, Transcript

Era = Literal["legacy", "modern"]

CLIENT_INFO = {"name": "conformance", "version": "1.0.0"}
#: the first id of the client's own; smaller ids are for checks that choose their ids
_FIRST_ID = 1001
#: seconds for a program to exit after the end of its stdout, so that the message can say how it ended
_LAST_MOMENT = 1.0


class McpClient:
    """A client and the program that it started."""

    def __init__(
        self,
        launched: Launched,
        inbox: Inbox,
        timeline: Timeline,
        processes: Census,
        transport: ClientTransport | None = None,
    ) -> None:
        """Without a `transport`, the program speaks MCP on its stdin and stdout."""
        self.era: Era = "legacy"
        #: the client's capabilities, for the handshake and every modern request
        self.capabilities: Json = {}
        #: its `clientInfo`
        self.info: object = CLIENT_INFO
        #: its answers to the requests of the program
        self.answers = ClientAnswers()
        #: the program itself and every process that it started
        self.processes = processes
        self._launched = launched
        self._transport = transport or StdioClientTransport(launched)
        self._inbox = inbox
        self._timeline = timeline
        self._last_id = _FIRST_ID - 1
        self._may_end = False
        self._reads = True

    @property
    def pid(self) -> int:
        return self._launched.pid

    @property
    def port(self) -> int | None:
        """The port on which it listens for its client; None on stdio."""
        return self._transport.port

    @property
    def deviations(self) -> Sequence[Violation]:
        """What its transport does not allow and the client can live with; the workbench judges everything else."""
        return self._transport.deviations

    @property
    def pipes(self) -> set[str]:
        """The names of its stdin and stdout pipes in /proc."""
        return self._launched.pipes

    @property
    def modern(self) -> bool:
        return self.era == "modern"

    @modern.setter
    def modern(self, modern: bool) -> None:
        self.era = "modern" if modern else "legacy"

    @property
    def stdout(self) -> bytes:
        needs_stdio(self._transport, "messages on stdout")
        return bytes(self._launched.stdout.data)

    @property
    def output(self) -> str:
        """Everything that the client has received: stdout, or the messages that came over HTTP."""
        if self._transport.on_stdio:
            return self.stdout.decode(errors="replace")
        return "".join(f"{line.text}\n" for line in self.transcript.lines if not line.sent)

    @property
    def stdout_lines(self) -> list[str]:
        """The complete lines so far."""
        return self.stdout.decode(errors="replace").split("\n")[:-1]

    @property
    def stderr(self) -> str:
        """What it writes for people: on stderr, and also on stdout if no messages are there."""
        captures = (
            [self._launched.stderr]
            if self._transport.on_stdio
            else [self._launched.stderr, self._launched.stdout]
        )
        return "".join(capture.data.decode(errors="replace") for capture in captures)

    @property
    def received(self) -> list[Json]:
        """Every message that no request waits for: notifications, requests, unrequested answers."""
        return self._inbox.received

    @property
    def transcript(self) -> Transcript:
        """Every line of both sides with its time."""
        return self._inbox.transcript

    @property
    def junk(self) -> list[str]:
        """Lines on stdout that are not JSON objects."""
        return self._inbox.junk

    # Sending

    async def send_raw(self, data: bytes, within: float = 5.0) -> None:
        """Write exactly these bytes to stdin."""
        needs_stdio(self._transport, "stdin for bytes of any kind")
        await self._send(data, within)

    @property
    def takes_bodies(self) -> bool:
        """Whether the client can POST a body of any kind: the program listens for Streamable HTTP."""
        return isinstance(self._transport, TakesBodies)

    async def post_body(self, body: bytes, within: float = 5.0) -> BodyReply:
        """The response to a POST with exactly this body. Raises `NotApplicable` where no POST has a response of its own."""
        if not isinstance(self._transport, TakesBodies):
            raise NotApplicable(f"over {self._transport.name}, no POST has a response of its own")
        self._timeline.record("client", "in", body.decode(errors="replace"), peer=self._launched.actor)
        return await self._transport.post_body(body, extended(within))

    async def _send(self, data: bytes, within: float) -> None:
        text = data.decode(errors="replace").rstrip("\n")
        self._timeline.record("client", "in", text, peer=self._launched.actor)
        self.transcript.sent(data)
        await self._transport.send(data, within)

    async def notify(self, method: str, params: Json | None = None, *, era: Era | None = None) -> None:
        await self.send(self._envelope(method, params, era))

    async def request(
        self,
        method: str,
        params: Json | None = None,
        *,
        era: Era | None = None,
        id: RequestId | None = None,
        within: float = 5.0,
    ) -> Answer:
        """Send a request, with a new id unless `id` is given, and wait `within` seconds for its answer."""
        request_id = self._next_id() if id is None else id
        line = line_of({"id": request_id, **self._envelope(method, params, era)})
        return await self.exchange(line, request_id, described(method, params), within=within)

    async def exchange(self, line: str, id: RequestId, what: str, *, within: float = 5.0) -> Answer:
        """Send exactly this line, a request with this id, and wait for its answer. `what` names the request in messages."""
        since = time.monotonic()
        arrived, answers = self._inbox.expect(id)
        try:
            with waiting_for(f"an answer to {what}"), anyio.move_on_after(extended(within)):
                await self._send(bytes_of(line), extended(within))
                if not self._inbox.ended.is_set():
                    await arrived.wait()
        except Violation:
            if self._launched.code is None:
                raise
        finally:
            self._inbox.forget(id)
        if answers:
            return answers[0]
        raise await self._no_answer(what, within, since, self._transport.failure(id))

    def _next_id(self) -> int:
        self._last_id += 1
        return self._last_id

    async def begin(self, method: str, params: Json | None, *, id: str | int, era: Era | None = None) -> None:
        """Send a request with this id and do not wait; the answer arrives in `received`."""
        await self.send({"id": id, **self._envelope(method, params, era)})

    async def send(self, message: Json, within: float = 5.0) -> None:
        """Send any message unchanged."""
        await self._send(bytes_of(line_of(message)), within)

    def _envelope(self, method: str, params: Json | None, era: Era | None) -> Json:
        if (era or self.era) == "legacy":
            return {"method": method} if params is None else {"method": method, "params": params}
        meta = {
            "io.modelcontextprotocol/protocolVersion": MODERN,
            "io.modelcontextprotocol/clientInfo": self.info,
            "io.modelcontextprotocol/clientCapabilities": self.capabilities,
            **(params or {}).get("_meta", {}),
        }
        return {"method": method, "params": {**(params or {}), "_meta": meta}}

    async def _no_answer(
        self, method: str, within: float, since: float, failure: Failure | None
    ) -> Violation:
        expected = f"an answer to {method} within {within:g} s"
        if self._launched.stdout.overflowed or self._inbox.flooded:
            return Violation(
                expected, f"a flood of {self._launched.stdout.size} bytes on stdout", timed=False
            )
        if failure is not None and failure.lost:
            await self._launched.wait(_LAST_MOMENT)
        if failure is not None and self._launched.code is None:
            return Violation(expected, failure.why, timed=failure.timed)
        if self._inbox.ended.is_set() or self._launched.code is not None:
            await self._launched.wait(_LAST_MOMENT)
            return ImplementationCrashed(expected, self.how_it_ended())
        junk = f"; not JSON on stdout: {self.junk[-1]!r}" if self.junk else ""
        return Violation(expected, f"none{junk}{self._errors_without_an_id(since)}", timed=True)

    def _errors_without_an_id(self, since: float) -> str:
        """The first error for no request after a time, which can be the answer to a request that the program cannot read."""
        for heard in self.transcript.heard():
            if heard.t >= since and "error" in heard.message and heard.message.get("id") is None:
                return f"; an error without the id of a request: {shorten(json.dumps(heard.message))}"
        return ""

    # Answering

    @asynccontextmanager
    async def answering(self, results: Mapping[str, Json]) -> AsyncIterator[None]:
        """Inside the block, answer every request of the program: with the result for its method, else with "Method not found".

        The client also answers requests that arrived before the block. The string "$message" in a result stands for the
        `message` of the request.
        """
        with self.answers.with_results(results):
            async with self.answers.running(self):
                yield

    # Ending

    def signal(self, number: int, *, whole_group: bool = False) -> None:
        """Send a signal to the program alone or, like Ctrl-C in a terminal, to its whole process group."""
        self._may_end = True
        self._launched.signal(number, whole_group=whole_group)

    async def end(self) -> None:
        """End the session and the program as a client does: the end of stdin, or DELETE and the signal of the profile."""
        self._may_end = True
        self.transcript.sent_all()
        await self._transport.end()

    async def vanish(self) -> None:
        """Be gone as after a crash: SIGKILL for the start of this client, or every connection breaks and no DELETE ends the session."""
        self._may_end = True
        self.transcript.sent_all()
        await self._transport.vanish()

    async def leave(self) -> None:
        """End the session. A program that listens goes on."""
        self._may_end = True
        self.transcript.sent_all()
        if self._transport.on_stdio:
            self._launched.close_stdin()
        await self._transport.close()

    def ignore_output(self) -> None:
        """Leave unread what the program sends to this client, up to the end."""
        self._transport.ignore()

    def close_stdin(self) -> None:
        needs_stdio(self._transport, "end of stdin")
        self._may_end = True
        self.transcript.sent_all()
        self._launched.close_stdin()

    def close_stdout(self) -> None:
        """Close the reading end: the next write of the program fails."""
        needs_stdio(self._transport, "stdout that the client reads")
        self._may_end = True
        self._reads = False
        self._launched.close_stdout()

    def ignore_stderr(self) -> None:
        """Leave unread what the program writes to stderr, up to its end."""
        self._launched.ignore_stderr()

    def close_stderr(self) -> None:
        """Close the reading end of stderr: the next write of the program there fails."""
        self._launched.close_stderr()

    async def wait_exit(self, within: float = 5.0) -> int | None:
        """The exit status, negative for a signal, or None if the program still runs after `within` seconds."""
        self._may_end = True
        return await self._launched.wait(within)

    def may_end_by_itself(self) -> None:
        """Accept an exit by itself from now on, but no death by a signal that the runner did not send."""
        self._may_end = True

    def how_it_ended(self) -> str:
        return describe_end(self._launched.code)

    def must_still_serve(self) -> None:
        """Raise `ImplementationCrashed` if the program has gone although the check did not end it."""
        code = self._launched.code
        if code is not None and (not self._may_end or self._died_by_itself() is not None):
            seen = f"{self.how_it_ended()} after {self._launched.lifetime:.1f} s"
            raise ImplementationCrashed("serves until the end of its stdin, or a signal", seen)

    def _died_by_itself(self) -> int | None:
        """The signal that killed the program, if the runner did not cause it."""
        code = self._launched.code
        if code is None or code >= 0 or self._launched.sent_signals:
            return None
        return None if not self._reads and -code == signal.SIGPIPE else -code
