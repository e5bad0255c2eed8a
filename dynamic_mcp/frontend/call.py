"""One request of the client on its way to an upstream: what came with it, and what is passed on of that.

Everything the client wrote travels as the bytes it wrote, except what belongs to its own hop: the stamp of a modern request and the
progress token, which every hop has of its own (MCP basic, ``_meta``; progress).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import msgspec
from msgspec import Raw

from dynamic_mcp.frontend.batch import Batch
from dynamic_mcp.groups.group import Group
from dynamic_mcp.protocol import era
from dynamic_mcp.protocol.jsonrpc import INVALID_PARAMS, Refusal
from dynamic_mcp.upstream.base import Options

if TYPE_CHECKING:
    from dynamic_mcp.extras.tracing.base import Span

#: Hears of progress: the client's token, and the members of the notification's params.
OnProgress = Callable[[Raw, dict[str, Raw]], None]

_T = TypeVar("_T")

_decode_members = msgspec.json.Decoder(dict[str, Raw]).decode


class Incoming(msgspec.Struct):
    """A request as the client sent it."""

    id: bytes
    method: str
    params: Raw
    #: takes a line for the client, now; and the line of the answer, which a batch collects
    send: Callable[[bytes], None]
    batch: Batch | None = None
    modern: bool = False
    #: what the client can be asked for (a JSON object), and the log level it wants, where a modern request says so
    capabilities: bytes = b"{}"
    log_level: str | None = None
    #: where requests are traced
    span: Span | None = None

    def answer(self, line: bytes) -> None:
        """Send the answer, or leave it to the batch that the request came in."""
        if self.span is not None:
            self.span.answered(line)
        if self.batch is None:
            self.send(line)
        else:
            self.batch.answer(line)

    def abandon(self) -> None:
        """There will be no answer."""
        if self.span is not None:
            self.span.abandoned()
        if self.batch is not None:
            self.batch.closed()


class Call:
    """A request of the client that an upstream has to answer."""

    def __init__(self, incoming: Incoming, on_progress: OnProgress) -> None:
        """Raises Refusal when ``params`` or its ``_meta`` is no object."""
        self.incoming = incoming
        self.has_begun = False
        #: the upstream that the request went to, once that is known
        self.group: Group | None = None
        #: what came of it, where it never reached the upstream; and whether that goes to the audit log elsewhere
        self.outcome: str | None = None
        self.is_recorded = False
        self.members = _object(incoming.params, "params")
        #: answers to the questions of an earlier ``input_required``, and the state that came with them
        self.inputs = self.members.pop("inputResponses", Raw(b""))
        self.state = self.members.pop("requestState", Raw(b""))
        meta = _object(self.members.pop("_meta", Raw(b"")), "_meta")
        self._token = meta.pop("progressToken", None)
        self._meta = {name: raw for name, raw in meta.items() if name not in era.HOP_KEYS}
        self._on_progress = on_progress

    @property
    def is_legacy_on_both_sides(self) -> bool:
        """Whether neither the client nor the upstream is modern, so that a result goes through as it is."""
        upstream = None if self.group is None else self.group.upstream
        return not self.incoming.modern and upstream is not None and not upstream.modern

    def read(self, kind: type[_T]) -> _T:
        """The params as ``kind``. Raises Refusal, naming what is wrong."""
        try:
            return msgspec.json.decode(self.incoming.params or b"{}", type=kind)
        except msgspec.ValidationError as error:
            raise Refusal(INVALID_PARAMS, f"{self.incoming.method}: {error}") from None

    def params(self, members: dict[str, Raw]) -> bytes:
        """Params for the upstream: ``members``, and what has to go with them."""
        beside = {"inputResponses": self.inputs, "requestState": self.state, "_meta": self._meta}
        return msgspec.json.encode(members | {name: value for name, value in beside.items() if value})

    def options(self, timeout: float) -> Options:
        """How the request to the upstream is made; ``timeout`` in seconds."""
        token = self._token
        return Options(
            timeout,
            on_progress=None if token is None else lambda params: self._on_progress(token, params),
            capabilities=self.incoming.capabilities,
            log_level=self.incoming.log_level,
        )


class _Cursor(msgspec.Struct):
    cursor: Raw = Raw(b"")


def refuse_cursor(params: Raw) -> None:
    """Every list here is one page, so no cursor can be ours. Raises Refusal."""
    try:
        cursor = msgspec.json.decode(params or b"{}", type=_Cursor).cursor
    except msgspec.ValidationError:
        raise Refusal(INVALID_PARAMS, "params must be an object") from None
    if cursor and bytes(cursor) != b"null":
        raise Refusal(INVALID_PARAMS, "the cursor is not one of this server")


def _object(raw: Raw, what: str) -> dict[str, Raw]:
    if not raw:
        return {}
    try:
        return _decode_members(raw) if bytes(raw) != b"null" else {}
    except msgspec.DecodeError:
        raise Refusal(INVALID_PARAMS, f"{what} must be an object") from None
