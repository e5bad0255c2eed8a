"""One request of the client on its way to an upstream: what came with it, and what of that goes on.

Everything that the client wrote travels as the bytes it wrote, except what belongs to its own hop: the metadata of a modern request and
the progress token, which every hop has of its own (MCP 2026-07-28, basic, ``_meta``; progress).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec
from msgspec import Raw

from dynamic_mcp.frontend.batch import Batch
from dynamic_mcp.groups.group import Group
from dynamic_mcp.hooks import RequestSpan
from dynamic_mcp.protocol import era
from dynamic_mcp.protocol.jsonrpc import INVALID_PARAMS, NULL, Refusal
from dynamic_mcp.upstream.base import Options
from dynamic_mcp.wording import explain

#: Takes progress: the client's token, and the members of the notification's params.
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
    span: RequestSpan | None = None

    def answer(self, line: bytes) -> None:
        """Send the answer, or give it to the batch that the request came in."""
        if self.span is not None:
            self.span.answered(line)
        if self.batch is None:
            self.send(line)
        else:
            self.batch.answer(line)

    def abandon(self) -> None:
        """Give no answer: the client cancelled the request, or is gone."""
        if self.span is not None:
            self.span.abandoned()
        if self.batch is not None:
            self.batch.closed()


class Call:
    """A request of the client that an upstream has to answer."""

    def __init__(self, incoming: Incoming, on_progress: OnProgress) -> None:
        """Raises Refusal when ``params`` or its ``_meta`` is not an object."""
        self.incoming = incoming
        self.has_begun = False
        #: the upstream's group, once it is known
        self.group: Group | None = None
        #: whether the hooks watch this call, so that a refusal of it is recorded there
        self.is_watched = False
        #: the params, decoded once; their values are the client's bytes
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
        """Whether neither the client nor the upstream is modern, so that a result needs no translation."""
        upstream = None if self.group is None else self.group.upstream
        return not self.incoming.modern and upstream is not None and not upstream.modern

    def read(self, name: str, kind: type[_T], default: _T | None = None) -> _T:
        """A member of params. Raises Refusal when it has another type, or is missing and there is no ``default``."""
        raw = self.members.get(name)
        if raw is None:
            if default is None:
                raise Refusal(INVALID_PARAMS, f"{self.incoming.method}: {name!r} is missing in params")
            return default
        return decode(self.incoming.method, raw, kind, name)

    def group_name(self) -> str | None:
        """The group that the client restricts a request to (a member beside those of MCP), if it does."""
        raw = self.members.get("group", NULL)
        return None if bytes(raw) == NULL else decode(self.incoming.method, Raw(raw), str, "group")

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


def decode(method: str, raw: Raw, kind: type[_T], name: str) -> _T:
    """The JSON value of the member ``name`` as ``kind``. Raises Refusal, which says what is wrong with it."""
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.ValidationError as error:
        raise Refusal(INVALID_PARAMS, f"{method}: {explain(error, name)}") from None


def refuse_cursor(params: Raw) -> None:
    """Every list of the proxy is one page, so no cursor can be its own. Raises Refusal."""
    cursor = _object(params, "params").get("cursor", NULL)
    if bytes(cursor) != NULL:
        raise Refusal(INVALID_PARAMS, "the cursor is not one of this server")


def _object(raw: Raw, what: str) -> dict[str, Raw]:
    if not raw:
        return {}
    try:
        return _decode_members(raw) if bytes(raw) != NULL else {}
    except msgspec.DecodeError:
        raise Refusal(INVALID_PARAMS, f"{what} must be an object") from None
