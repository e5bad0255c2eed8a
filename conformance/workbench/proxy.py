"""The proxy under test, as a check sees it: one process, or one process for each upstream.

`SingleProxy` is the first, `ProxySet` the second. In the legacy era a check begins with `handshake`. `handshake`, `groups`, `ready` and
`tools_of` are prerequisites: their failure is `Untestable`, because it proves nothing about the requirement. `call` and `items` raise
`Violation` like every request.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from conformance.model.registry import NEWEST_LEGACY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from conformance.errors import Violation
    from conformance.workbench.census import Census, ProcessRef
    from conformance.workbench.client import Era
    from conformance.workbench.client_answers import ClientAnswers
    from conformance.workbench.inbox import Answer, CallResult, RequestId
    from conformance.workbench.launched import Launched
    from conformance.workbench.mocks import MockUpstream
    from conformance.workbench.transcript import Json, Transcript
    from conformance.workbench.transports.bodies import BodyReply


@dataclass(frozen=True)
class RunningProgram:
    """The running program behind a client, for another client of it (`conformance.workbench.several_clients`)."""

    launched: Launched
    processes: Census
    config: Path | None
    upstreams: Sequence[MockUpstream]


class Processes(Protocol):
    """The program and every process that it started."""

    def alive(self) -> list[ProcessRef]:
        """The living ones."""
        ...


class Proxy(Protocol):
    """A started proxy and its client. What only one process has is `NotApplicable` for several."""

    era: Era
    #: the client's capabilities, for the handshake and every modern request
    capabilities: Json
    #: its `clientInfo`
    info: object
    modern: bool

    @property
    def greeting(self) -> Answer | None:
        """The answer to `initialize`, after `handshake`."""
        ...

    @property
    def version(self) -> str:
        """The version in its answer to `initialize`; empty without one."""
        ...

    def of(self, group: str) -> Proxy:
        """The proxy that serves a group: this one, unless each upstream has a process of its own."""
        ...

    # Prerequisites

    async def handshake(self, version: str = NEWEST_LEGACY, within: float | None = None) -> Answer:
        """Send `initialize` and `notifications/initialized`, by default within the time that the profile allows.

        Raises `Untestable` unless the proxy answers with a result. A program with one upstream that it has tried can fail
        with it (`conformance.workbench.refusal`).
        """
        ...

    async def groups(self, *among: str, within: float = 5.0) -> list[str]:
        """The groups that the proxy offers now. Some proxies show no names of groups; then those of `among` that it offers."""
        ...

    async def listing_tool(self, within: float = 5.0) -> Json:
        """The definition of the listing tool. Raises `NotApplicable` if the face has none."""
        ...

    async def ready(self, *upstreams: MockUpstream | str, within: float = 15.0) -> None:
        """Wait until the proxy lists the tools of each upstream; this also makes a lazy proxy connect.

        The journal of the upstream must show a connection, now or earlier, because a proxy may keep a listing. For a name, the
        journal of any upstream with that name counts. Raises `Untestable` with the last listing, or with what the journal lacks.
        """
        ...

    async def tools_of(self, group: str, within: float = 15.0, **selection: Any) -> Answer:
        """The answer that lists the tools of a group, right or wrong; `selection` are further arguments."""
        ...

    async def failure_of(self, group: str) -> str | None:
        """What the proxy says instead of the tools of a group, and else instead of a result of one; None if it gives both."""
        ...

    async def definitions_of(self, group: str, name: str) -> list[Json]:
        """The definitions of a tool in the answer for its group; if that has names only, in the answer for the name.

        Empty if the proxy does not show the tool.
        """
        ...

    async def missing_definitions(self, upstream: MockUpstream) -> list[str]:
        """The names of the upstream's tools that the proxy shows no definition of."""
        ...

    async def wake(self, group: str) -> None:
        """Request the tools of a group and do not wait, so that a lazy proxy connects to its upstream."""
        ...

    # Using

    async def call(
        self, group: str, tool: str, args: Json | None = None, *, within: float = 10.0
    ) -> CallResult:
        """Call a tool of a group."""
        ...

    async def begin_call(self, group: str, tool: str, args: Json | None = None) -> None:
        """Call a tool and do not wait; an answer arrives in `received`."""
        ...

    def call_params(self, group: str, tool: str, args: Json | None = None) -> Json:
        """The params of `tools/call` for this tool of a group."""
        ...

    async def request(
        self,
        method: str,
        params: Json | None = None,
        *,
        era: Era | None = None,
        id: RequestId | None = None,
        within: float = 5.0,
    ) -> Answer:
        """Send a request, with a new id unless `id` is given, and wait `within` seconds for its answer.

        Raises `Violation` too for a success that should come from an upstream and does not. That concerns calls of tools, and
        the resources and prompts (`conformance.workbench.arrivals`).
        """
        ...

    async def request_everywhere(self, method: str, params: Json | None = None) -> list[Answer]:
        """The answer of each process of the program to a request that is about no group."""
        ...

    async def begin(self, method: str, params: Json | None, *, id: str | int, era: Era | None = None) -> None:
        """Send a request with this id and do not wait; the workbench judges the answer in `received` when it ends the proxy."""
        ...

    async def notify(self, method: str, params: Json | None = None, *, era: Era | None = None) -> None:
        """Send a notification."""
        ...

    async def items(
        self, method: str, member: str, params: Json | None = None, *, within: float = 10.0
    ) -> list[Json]:
        """All items of a list method, from all pages. Raises `Violation` for an error, a wrong shape or an endless list."""
        ...

    async def pages(self, method: str, member: str) -> Answer:
        """The items of a list method from all pages, as one answer. Raises as `items`."""
        ...

    def scripted(self, member: str) -> list[Json]:
        """The entries that its upstreams have for this member of a list answer, as their scripts begin."""
        ...

    def name_by_pattern(self, method: str, group: str, own: str) -> str | None:
        """The name or URI that the profile's pattern gives an item of this list method; None without a pattern."""
        ...

    def answering(self, results: Mapping[str, Json]) -> AbstractAsyncContextManager[None]:
        """Inside the block, answer every request of the program: with the result for its method, else with "Method not found".

        The client also answers requests that arrived before the block. The string "$message" in a result stands for the
        `message` of the request.
        """
        ...

    # Sending anything to one process

    async def send(self, message: Json, within: float = 5.0) -> None:
        """Send any message unchanged."""
        ...

    async def send_raw(self, data: bytes, within: float = 5.0) -> None:
        """Write exactly these bytes to stdin."""
        ...

    async def exchange(self, line: str, id: RequestId, what: str, *, within: float = 5.0) -> Answer:
        """Send exactly this line, a request with this id, and wait for its answer. `what` names the request in messages."""
        ...

    @property
    def takes_bodies(self) -> bool:
        """Whether the client can POST a body of any kind: the program listens for Streamable HTTP."""
        ...

    async def post_body(self, body: bytes, within: float = 5.0) -> BodyReply:
        """The response to a POST with exactly this body. Raises `NotApplicable` where no POST has a response of its own."""
        ...

    # Watching

    @property
    def received(self) -> list[Json]:
        """Every message that no request waits for: notifications, requests, unrequested answers."""
        ...

    @property
    def junk(self) -> list[str]:
        """Lines on stdout that are not JSON objects."""
        ...

    @property
    def stdout(self) -> bytes:
        """Everything on stdout so far."""
        ...

    @property
    def stdout_lines(self) -> list[str]:
        """The complete lines so far."""
        ...

    @property
    def output(self) -> str:
        """Everything that the client has received: stdout, or the messages that came over HTTP."""
        ...

    @property
    def stderr(self) -> str:
        """What it writes for people: on stderr, and also on stdout if no messages are there."""
        ...

    @property
    def transcript(self) -> Transcript:
        """Every line of both sides with its time."""
        ...

    @property
    def processes(self) -> Processes:
        """The program itself and every process that it started."""
        ...

    # The one process, its connection and its client

    @property
    def pid(self) -> int: ...

    @property
    def port(self) -> int | None:
        """The port on which it listens for its client; None on stdio."""
        ...

    @property
    def pipes(self) -> set[str]:
        """The names of its stdin and stdout pipes in /proc."""
        ...

    @property
    def is_refused(self) -> bool:
        """Whether the program has tried its one upstream and not finished the handshake (`conformance.workbench.refusal`)."""
        ...

    @property
    def program(self) -> RunningProgram | None:
        """The program, once the workbench has started it."""
        ...

    @property
    def answers(self) -> ClientAnswers:
        """The client's answers to the requests of the program."""
        ...

    @property
    def deviations(self) -> Sequence[Violation]:
        """What its transport does not allow and the client can live with; the workbench judges everything else."""
        ...

    # Ending

    def signal(self, number: int, *, whole_group: bool = False) -> None:
        """Send a signal to the program alone or, like Ctrl-C in a terminal, to its whole process group."""
        ...

    async def end(self) -> None:
        """End the session and the program as a client does: the end of stdin, or DELETE and the signal of the profile."""
        ...

    async def vanish(self) -> None:
        """Be gone as after a crash: SIGKILL for the start of this client, or every connection breaks and no DELETE ends the session."""
        ...

    async def leave(self) -> None:
        """End the session. A program that listens goes on."""
        ...

    def ignore_output(self) -> None:
        """Leave unread what the program sends to this client, up to the end."""
        ...

    def close_stdin(self) -> None: ...

    def close_stdout(self) -> None:
        """Close the reading end: the next write of the program fails."""
        ...

    def ignore_stderr(self) -> None:
        """Leave unread what the program writes to stderr, up to its end."""
        ...

    def close_stderr(self) -> None:
        """Close the reading end of stderr: the next write of the program there fails."""
        ...

    async def wait_exit(self, within: float = 5.0) -> int | None:
        """The exit status, negative for a signal, or None if the program still runs after `within` seconds."""
        ...

    def may_end_by_itself(self) -> None:
        """Accept an exit by itself from now on, but no death by a signal that the runner did not send."""
        ...

    def how_it_ended(self) -> str: ...

    def must_still_serve(self) -> None:
        """Raise `ImplementationCrashed` if the program has gone although the check did not end it."""
        ...
