"""One request of the client on its way to an upstream.

``Call`` keeps each value as the bytes that the client wrote. Of the metadata, only the members of one hop go: those of a modern request,
and the progress token (MCP 2026-07-28, basic, ``_meta``; basic/patterns/progress).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import msgspec
from msgspec import Raw

from dynamic_mcp.frontend.batch import Batch
from dynamic_mcp.frontend.storms import CallProgress
from dynamic_mcp.groups.group import Group
from dynamic_mcp.hooks import RequestSpan
from dynamic_mcp.protocol import era
from dynamic_mcp.protocol.ids import whole_number
from dynamic_mcp.protocol.jsonrpc import INVALID_PARAMS, NULL, Message, Refusal, decode_members
from dynamic_mcp.protocol.pending import ClientCall, Options
from dynamic_mcp.upstream.base import MIN_SPENT
from dynamic_mcp.wording import explain

_T = TypeVar("_T")

_ABSENT = Raw(b"")


class Incoming(msgspec.Struct):
    """A request as the client sent it."""

    id: bytes
    method: str
    params: Raw
    #: sends a line to the client at once; a batch collects the answers instead
    send: Callable[[bytes], None]
    batch: Batch | None = None
    modern: bool = False
    #: the client's capabilities (a JSON object) and log level, of the request if it is modern
    capabilities: bytes = b"{}"
    log_level: str | None = None
    #: the description of the client for the upstream (``client_info``), of the request if it is modern
    client_info: bytes = b""
    span: RequestSpan | None = None

    def answer(self, line: bytes) -> None:
        """Send the answer, or add it to the batch of the request."""
        if self.span is not None:
            self.span.finish(line)
        if self.batch is None:
            self.send(line)
        else:
            self.batch.answer(line)

    def abandon(self) -> None:
        """End the request without an answer, because the client cancelled it or is gone."""
        if self.span is not None:
            self.span.abandon()
        if self.batch is not None:
            self.batch.settle()


class ClientRelay(Protocol):
    """The relay of the client that made a call (``frontend.relay.Relay``)."""

    async def on_request(self, group: Group, message: Message, callers: Sequence[ClientCall]) -> bytes:
        """Let the client answer a request of the group's upstream. Raises ``jsonrpc.Refusal``."""
        ...


class CallClock(msgspec.Struct):
    """The time of one call. The first use starts it: a search, a listing, or else the request."""

    #: monotonic time of the start
    began: float | None = None
    #: seconds before the last request to the upstream
    spent: float = 0.0
    #: seconds that questions to the client took, which do not count
    asked: float = 0.0

    def left(self, timeout: float) -> float:
        """What is left of ``timeout`` seconds."""
        now = time.monotonic()
        if self.began is None:
            self.began = now
        return max(timeout - (now - self.began - self.asked), 0.0)


class Call:
    """A request of the client that the router does not answer itself."""

    def __init__(self, incoming: Incoming, relay: ClientRelay) -> None:
        """Raises Refusal if ``params`` or its ``_meta`` is not an object."""
        self.incoming = incoming
        #: monotonic time: ``get_running_loop`` takes a system call each time
        self.received = time.monotonic()
        self.has_begun = False
        #: whether the client waits no longer: it has the answer, or has cancelled the call
        self.is_over = False
        #: whether the call gets an error, because the proxy ends
        self.is_given_up = False
        #: the relay of its client
        self.relay = relay
        #: the group of the upstream, once known
        self.group: Group | None = None
        #: the group whose definitions the client wants, which are no result of its upstream
        self.awaited: Group | None = None
        #: whether the hooks watch this call, and so record a refusal themselves
        self.is_watched = False
        #: the members of params; their values are the client's bytes
        self.members = _object(incoming.params, "params")
        #: the answers to an earlier ``input_required``, and its state
        self.inputs = self.members.pop("inputResponses", _ABSENT)
        self.state = self.members.pop("requestState", _ABSENT)
        meta = _object(self.members.pop("_meta", _ABSENT), "_meta")
        token = meta.pop("progressToken", _ABSENT)
        #: the progress for the client, if it wants any
        self.progress = CallProgress(incoming.send, token) if _is_token(bytes(token)) else None
        self._meta = {name: raw for name, raw in meta.items() if name not in era.HOP_KEYS}
        self.clock = CallClock()

    @property
    def is_legacy_on_both_sides(self) -> bool:
        """Whether neither the client nor the upstream is modern, so that a result needs no translation."""
        upstream = None if self.group is None else self.group.upstream
        return not self.incoming.modern and upstream is not None and not upstream.modern

    def waits_for(self, group: Group) -> bool:
        """Whether the call needs the group, or one that the group replaced."""
        return any(needed is not None and needed.leads_to(group) for needed in (self.group, self.awaited))

    def read(self, name: str, kind: type[_T], default: _T | None = None) -> _T:
        """A member of params. Raises Refusal if it has another type, or is missing without a ``default``."""
        raw = self.members.get(name)
        if raw is None:
            if default is None:
                raise Refusal(INVALID_PARAMS, f"{self.incoming.method}: {name!r} is missing in params")
            return default
        return decode(self.incoming.method, raw, kind, name)

    def group_name(self) -> str | None:
        """The group to which the client restricts a request (a member that MCP does not define), or None."""
        raw = self.members.get("group", NULL)
        return None if bytes(raw) == NULL else decode(self.incoming.method, Raw(raw), str, "group")

    def params(self, members: dict[str, object]) -> bytes:
        """Params for the upstream: ``members``, which it changes, with the answers, the state and the metadata of the call."""
        if self.inputs:
            members["inputResponses"] = self.inputs
        if self.state:
            members["requestState"] = self.state
        if self._meta:
            members["_meta"] = self._meta
        return msgspec.json.encode(members)

    def options(self, timeout: float, at_least: float = 0.0) -> Options:
        """The options of the request to the upstream, in what is left of ``timeout`` seconds, but ``at_least`` this long."""
        left = max(self.clock.left(timeout), at_least)
        self.clock.spent = timeout - left if timeout - left >= MIN_SPENT else 0.0
        return Options(
            round(left, 2) if self.clock.spent else timeout,
            on_progress=None if self.progress is None else self.progress.pass_on,
            capabilities=self.incoming.capabilities,
            log_level=self.incoming.log_level,
            client_info=self.incoming.client_info,
            caller=self,
        )


def decode(method: str, raw: Raw, kind: type[_T], name: str) -> _T:
    """Decode the member ``name`` as ``kind``. Raises Refusal with the problem."""
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.ValidationError as error:
        raise Refusal(INVALID_PARAMS, f"{method}: {explain(error, name)}") from None


def cursor_of(params: Raw) -> Raw | None:
    """The cursor of a list request. Raises Refusal if the params are not an object."""
    cursor = _object(params, "params").get("cursor")
    return None if cursor is None or bytes(cursor) == NULL else cursor


def invalid_cursor() -> Refusal:
    """The refusal of a cursor that the proxy did not give."""
    return Refusal(INVALID_PARAMS, "invalid cursor: this server did not give it for this list")


def _is_token(raw: bytes) -> bool:
    """Whether this is a progress token: a text or a whole number. A notification with another token would be invalid."""
    return raw[:1] == b'"' or whole_number(raw) is not None


def _object(raw: Raw, what: str) -> dict[str, Raw]:
    if not raw:
        return {}
    try:
        return decode_members(raw) if bytes(raw) != NULL else {}
    except msgspec.DecodeError:
        raise Refusal(INVALID_PARAMS, f"{what} must be an object") from None
