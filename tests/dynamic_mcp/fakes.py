"""Fakes: an upstream, groups that use it, and a client of a frontend with these groups."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any, cast

from anyio.abc import TaskGroup
from msgspec import Raw

from dynamic_mcp.config.model import Features, Server, StdioTransport, Timeouts
from dynamic_mcp.errors import SignInNeeded, UpstreamGone
from dynamic_mcp.frontend.relay import Relay
from dynamic_mcp.frontend.server import Frontend
from dynamic_mcp.frontend.session import ClientSession
from dynamic_mcp.frontend.tool_surface import CALL
from dynamic_mcp.groups.group import Group
from dynamic_mcp.groups.listing import Freshness, Kind, Listing
from dynamic_mcp.hooks import Hooks
from dynamic_mcp.protocol import era
from dynamic_mcp.protocol.pending import Options
from dynamic_mcp.upstream.base import Events, Handshake, Upstream
from tests.dynamic_mcp.helpers import eventually

#: the `_meta` of a modern request
REQUEST_META: dict[str, object] = {era.PROTOCOL_VERSION: era.MODERN, era.CLIENT_CAPABILITIES: {}}


def server(name: str, description: str = "A server", *, tools: bool = True) -> Server:
    """A configured stdio server; nothing starts it."""
    transport = StdioTransport("false", (), ())
    return Server(name, description, transport, Features(tools=tools), Timeouts(tools=5.0))


class FakeUpstream:
    """A connected upstream that records the requests. It answers with ``answer``, or never if that is None."""

    def __init__(self, *, modern: bool = False) -> None:
        self.modern = modern
        self.delivers_notifications = True
        self.agreed = Handshake({"tools": Raw(b"{}")})
        self.requests: list[tuple[str, bytes]] = []
        self.last_options: Options | None = None
        self.answer: bytes | Exception | None = b'{"content":[]}'
        self.cancelled = 0

    @property
    def last_params(self) -> dict[str, object]:
        """The ``params`` of the latest request."""
        value = json.loads(self.requests[-1][1])
        assert isinstance(value, dict)
        return value

    async def request(self, method: str, params: bytes, options: Options) -> bytes:
        self.requests.append((method, params))
        self.last_options = options
        if options.on_id is not None:
            options.on_id(len(self.requests))
        if isinstance(self.answer, Exception):
            raise self.answer
        if self.answer is not None:
            return self.answer
        try:
            never: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
            return await never
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    async def open(self, timeout: float, *, skip_probe: bool = False) -> None:
        return None

    def learn_tool(self, name: str, definition: Raw) -> str:
        return ""

    def notify(self, method: str, params: bytes = b"") -> None:
        return None

    async def wait_lost(self) -> UpstreamGone:
        never: asyncio.Future[UpstreamGone] = asyncio.get_running_loop().create_future()
        return await never

    def stderr_tail(self) -> str:
        return ""

    def set_paused(self, paused: bool) -> None:
        return None

    async def close(self) -> None:
        return None


class NoConnector:
    """Makes no connection."""

    def connect(self, events: Events) -> Upstream:
        raise AssertionError("nothing connects this group")

    def turn(self, is_wanted: Callable[[], bool]) -> AbstractAsyncContextManager[None]:
        return nullcontext()

    signs_in_at_start = True

    async def sign_in(self, need: SignInNeeded) -> None:
        raise need

    async def signed_in_elsewhere(self) -> None:
        await asyncio.get_running_loop().create_future()

    def sign_in_help(self, *, pending: bool = False) -> str:
        return ""

    async def close(self) -> None:
        return None


class NamedCall:
    """A call that needs a request."""

    is_over = False

    def __init__(self, name: object) -> None:
        self.name = name


class LooseTasks:
    """A task group that ends with the loop."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def start_soon(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Start work."""
        self._tasks.add(asyncio.get_running_loop().create_task(work()))


def silent_relay() -> Relay:
    """The relay of a client that drops what it gets."""
    return Relay(ClientSession(lambda line: None), {})


class FakeGroup(Group):
    """A group with a given upstream; None means that the group has failed."""

    def __init__(
        self,
        server: Server,
        upstream: Upstream | None = None,
        tools: dict[str, bytes] | None = None,
        hooks: Hooks | None = None,
    ) -> None:
        super().__init__(server, NoConnector(), silent_relay(), hooks or Hooks())
        if upstream is None:
            # Without a warning, because tests read the log.
            self._state.set_failed("it is broken", level=logging.DEBUG)
        else:
            self._state.set_ready(upstream)
        self._has_begun = False
        self._tools = {"echo": b'{"name":"echo"}'} if tools is None else tools

    async def live(self) -> tuple[Group, Upstream]:
        group, upstream = await super().live()
        if not self._has_begun:
            self._has_begun = True
            self._subscriptions.begin(upstream, cast("TaskGroup", LooseTasks()))
        return group, upstream

    async def listing(
        self, kind: Kind, timeout: float | None = None, freshness: Freshness = Freshness.KNOWN
    ) -> Listing:
        await self.connected()
        return Listing({name: Raw(text) for name, text in self._tools.items()})


def named(*groups: Group) -> dict[str, Group]:
    """The groups by their names."""
    return {group.name: group for group in groups}


class Client:
    """A client of a frontend with three groups: `files` works, `broken` has failed, `off` has no tools."""

    def __init__(self, upstream: FakeUpstream | None = None, hooks: Hooks | None = None) -> None:
        self.upstream = upstream or FakeUpstream()
        self.hooks = hooks or Hooks()
        files = server("files", "Reads files")
        self.groups = [
            FakeGroup(files, self.hooks.connection(self.upstream, files), hooks=self.hooks),
            FakeGroup(server("broken", "Is broken"), None, hooks=self.hooks),
            FakeGroup(server("off", "Has no tools", tools=False), self.upstream, hooks=self.hooks),
        ]
        self.lines: list[bytes] = []
        self.frontend = self.frontend_over(*self.groups)

    def frontend_over(self, *groups: Group) -> Frontend:
        """A frontend that answers this client."""
        self.session = session = ClientSession(self.lines.append)
        live = named(*groups)
        self.relay = Relay(session, live)
        return Frontend(live, session, self.relay, self.lines.append, self.hooks)

    def send(self, message: dict[str, Any] | bytes) -> None:
        line = message if isinstance(message, bytes) else json.dumps({"jsonrpc": "2.0", **message}).encode()
        self.frontend.router.receive(line)

    async def answers(self, count: int) -> list[dict[str, Any]]:
        await eventually(lambda: len(self.lines) >= count, f"{count} answers")
        return [json.loads(line) for line in self.lines]

    async def ask(self, method: str, params: object = None, *, modern: bool = False) -> dict[str, Any]:
        """Send one request; its answer, which must be the only one."""
        message: dict[str, Any] = {"id": "q", "method": method}
        if modern:
            params = {"_meta": REQUEST_META, **(params if isinstance(params, dict) else {})}
        if params is not None:
            message["params"] = params
        before = len(self.lines)
        self.send(message)
        answer = (await self.answers(before + 1))[-1]
        assert len(self.lines) == before + 1
        assert answer["id"] == "q"
        return answer

    async def tool(self, tool: str, arguments: dict[str, object], *, modern: bool = False) -> dict[str, Any]:
        """Call one of the two tools."""
        return await self.ask("tools/call", {"name": tool, "arguments": arguments}, modern=modern)

    async def echo(self, *, modern: bool = False) -> dict[str, Any]:
        """Call the tool of the group that works."""
        return await self.tool(CALL, {"group": "files", "name": "echo"}, modern=modern)
