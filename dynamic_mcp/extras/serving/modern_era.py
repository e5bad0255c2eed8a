"""Answers HTTP requests of MCP 2026-07-28 (basic/transports/streamable-http).

There are no sessions: each POST is a client of its own in the core, so two of them may use the same id. Their calls that wait for answers
of the user are common, because a later POST continues such a call by its state. The end of the connection cancels a request.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import anyio
import msgspec

from dynamic_mcp.extras.serving.delivery import AnswerCheck, deliver
from dynamic_mcp.extras.serving.limits import ServingLimits
from dynamic_mcp.extras.serving.mirrored import check_mirrored
from dynamic_mcp.extras.serving.posted import EVENTS, Accepted, Posted, accepted
from dynamic_mcp.extras.serving.refused import MODERN_STATUS, RefusedRequest, respond
from dynamic_mcp.extras.serving.stream import Stream, answer_post, while_there
from dynamic_mcp.extras.serving.versions import serves_modern, supported
from dynamic_mcp.frontend.clients import Client, Clients, TooManyClients
from dynamic_mcp.frontend.subscriptions import ListenFilter
from dynamic_mcp.log import log
from dynamic_mcp.protocol import era, jsonrpc
from dynamic_mcp.protocol.jsonrpc import INTERNAL_ERROR, INVALID_PARAMS, Message

if TYPE_CHECKING:
    from starlette.datastructures import Headers
    from starlette.types import Receive, Send

LISTEN = "subscriptions/listen"
#: The lists whose changes a listener can subscribe to.
_LISTS = {
    "tools": ("tools/list",),
    "resources": ("resources/list", "resources/templates/list"),
    "prompts": ("prompts/list",),
}


def is_modern(posted: Posted, headers: Headers) -> bool:
    """Whether a POST belongs to this era, by its message or its headers."""
    return headers.get(era.VERSION_HEADER) == era.MODERN or posted.meta is not None


class ModernEra:
    """One endpoint for all clients."""

    def __init__(self, clients: Clients, limits: ServingLimits) -> None:
        self._clients = clients
        self._limits = limits
        self._open: set[Client] = set()

    async def post(self, posted: Posted, headers: Headers, origin: str, receive: Receive, send: Send) -> None:
        """Answer a POST. Raises RefusedRequest, and ClientGone if the client goes first."""
        message = _message_of(posted)
        self._check(message, posted, headers)
        if not message.id:
            # Every request has a connection of its own, so a notification concerns none.
            await respond(send, 202)
            return
        takes = accepted(headers)
        if message.method == LISTEN and not takes.events:
            raise RefusedRequest(406, f"Accept must contain {EVENTS} for {LISTEN}", id=bytes(message.id))
        outlet = _RequestOutlet(self._limits)
        try:
            client = self._clients.open(outlet.stream.put, outlet=outlet, has_session=False)
        except TooManyClients as error:
            headers_ = {"Retry-After": "1"}
            raise RefusedRequest(
                503, str(error), INTERNAL_ERROR, id=bytes(message.id), headers=headers_
            ) from None
        client.origin = origin
        outlet.client = client
        self._open.add(client)
        del message
        try:
            await self._answer(client, posted, takes, outlet, receive, send)
        finally:
            self._open.discard(client)
            await client.close()

    async def _answer(
        self,
        client: Client,
        posted: Posted,
        takes: Accepted,
        outlet: _RequestOutlet,
        receive: Receive,
        send: Send,
    ) -> None:
        check, stream = AnswerCheck(posted), outlet.stream

        def reply(line: bytes) -> None:
            is_answer = check.is_answer(line)
            if is_answer or takes.events:
                stream.put(line)
            if is_answer:
                stream.end()

        await deliver(client, posted.line, reply)
        if posted.single is not None and posted.single.method == LISTEN:
            _note_lists(client, posted.single)
        posted.release()
        answering = answer_post(stream, send, {}, self._limits, takes, _status_of)
        await while_there(receive, answering, outlet.was_cut)

    async def close(self) -> None:
        """Answer the requests in flight, within some seconds, and end every other one."""
        await asyncio.gather(*(client.finish(anyio.sleep_forever()) for client in self._open))
        self._clients.exchanges.close()

    def _check(self, message: Message, posted: Posted, headers: Headers) -> None:
        """Raises RefusedRequest for a message that its headers or the envelope do not allow."""
        meta = posted.meta
        if meta is None and message.id:
            text = f'_meta must hold "{era.PROTOCOL_VERSION}", as the {era.VERSION_HEADER} header does'
            raise RefusedRequest(400, text, INVALID_PARAMS, id=bytes(message.id))
        check_mirrored(headers, message, meta)
        if not serves_modern(self._clients.config):
            text = 'a server has "shared": false, and needs a session; begin with initialize'
            requested = era.MODERN if meta is None else meta.version[:40]
            data = {"supported": supported(self._clients.config), "requested": requested}
            raise RefusedRequest(
                400, text, era.UNSUPPORTED_VERSION, id=bytes(message.id) or jsonrpc.NULL, data=data
            )


class _RequestOutlet:
    """The way to the client of one request (``frontend.backlog.Outlet``)."""

    def __init__(self, limits: ServingLimits) -> None:
        self.stream = Stream("", on_change=self._on_change)
        #: set once the connection of a client that does not read has to end
        self.was_cut = asyncio.Event()
        self.client: Client | None = None
        self._limits = limits

    def unread(self) -> int:
        return self.stream.unread

    def stuck(self) -> int:
        return self.stream.stuck

    def cut(self, reason: str) -> None:
        assert self.client is not None
        log.warning("client %d %s, so its request ends", self.client.number, reason)
        self.stream.clear()
        self.was_cut.set()

    def _on_change(self, added: int) -> None:
        if self.client is None:
            return
        is_paused = self.stream.unread > self._limits.unread
        self.client.set_paused(is_paused)
        if added > 0 and is_paused:
            self.client.note_waiting()


def _message_of(posted: Posted) -> Message:
    """The message of a POST. Raises RefusedRequest for anything but one request or notification."""
    if posted.problems:
        problem = posted.problems[0]
        raise RefusedRequest(400, problem.reason, problem.code, id=problem.id)
    if posted.single is None:
        raise RefusedRequest(400, f"batches exist in protocol version 2025-03-26 only, this is {era.MODERN}")
    if posted.single.method is None:
        raise RefusedRequest(
            400, "a client answers questions in its next request, and never in a message of its own"
        )
    return posted.single


def _status_of(line: bytes) -> int:
    """The HTTP status of an answer."""
    code = _code_of(line) if b'"error":' in line[:_HEAD] else None
    return 200 if code is None else MODERN_STATUS.get(code, 200)


#: Bytes in which an answer says whether it is an error; ids are shorter.
_HEAD = 4096


class _Error(msgspec.Struct):
    code: int = 0


class _ErrorAnswer(msgspec.Struct):
    error: _Error | None = None


def _code_of(line: bytes) -> int | None:
    try:
        error = msgspec.json.decode(line, type=_ErrorAnswer).error
    except msgspec.DecodeError:
        return None
    return None if error is None else error.code


class _ListenParams(msgspec.Struct):
    notifications: ListenFilter = msgspec.field(default_factory=ListenFilter)


def _note_lists(client: Client, message: Message) -> None:
    """Let the core make the lists of a listener, because it announces only changes of lists that a client has.

    The client got these lists in other POSTs.
    """
    try:
        wanted = msgspec.json.decode(message.params, type=_ListenParams).notifications
    except msgspec.DecodeError:
        return
    meta = {era.PROTOCOL_VERSION: era.MODERN, era.CLIENT_CAPABILITIES: {}}
    params = msgspec.json.encode({"_meta": meta})
    for name, methods in _LISTS.items():
        for method in methods if getattr(wanted, name) else ():
            id = msgspec.json.encode(f"dynamic-mcp-{method}-{bytes(message.id).decode()}")
            client.router.receive(jsonrpc.request(id, method, params), lambda line: None)
