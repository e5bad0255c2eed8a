"""The handshake: it finds the era of the upstream, and negotiates a version.

The probe is ``server/discover`` (MCP 2026-07-28, basic/transports/stdio, "Backward Compatibility"). A discover result means modern.
Silence, errors and unreadable answers mean legacy, and ``initialize`` follows on the same connection. ``probe`` names the errors that end
the start instead, and ``stdio`` starts a child again that the probe has ended. The probe has its own short timeout, so that a silent legacy
server is usable soon.
"""

from __future__ import annotations

import re

import anyio
import msgspec
from msgspec import Raw

from dynamic_mcp import __version__
from dynamic_mcp.errors import (
    HttpStatus,
    SignInNeeded,
    StoreFailed,
    UpstreamFailed,
    UpstreamGone,
    UpstreamRefused,
    UpstreamTimeout,
)
from dynamic_mcp.log import log
from dynamic_mcp.protocol import era, jsonrpc, versions
from dynamic_mcp.protocol.nulls import without_nulls
from dynamic_mcp.protocol.peer import Peer
from dynamic_mcp.protocol.pending import Options
from dynamic_mcp.upstream.base import Events, Handshake

#: The requests of a handshake, and of a probe on an open connection. They belong to no session.
METHODS = frozenset({"initialize", "server/discover"})
#: The notification that ends the handshake.
INITIALIZED = "notifications/initialized"
#: Seconds that an upstream may take to answer the probe.
PROBE_BUDGET = 2.0
#: How a legacy server refuses a probe without JSON-RPC. Other statuses show no era.
_UNKNOWN_REQUEST = frozenset({400, 404, 405, 406, 415, 422})
_BAD_REQUEST = 400
#: The error codes with which a modern server refuses ``initialize``.
_MODERN_REFUSALS = frozenset({era.UNSUPPORTED_VERSION, era.HEADER_MISMATCH, jsonrpc.METHOD_NOT_FOUND})
_ABOUT_A_VERSION = re.compile(r"protocol.?version", re.IGNORECASE)
#: Seconds before the deadline of a start at which the offer of an older version ends.
_BEFORE_DEADLINE = 0.2
#: The largest answer in bytes. Each of its capabilities becomes an object, which takes thirty times as much.
MAX_HANDSHAKE = 1 << 20

#: What an upstream sees of a client that has not named itself.
_OWN_INFO = Raw(msgspec.json.encode({"name": "dynamic-mcp", "version": __version__}))


def with_request_meta(
    params: bytes, capabilities: bytes = b"{}", log_level: str | None = None, client_info: bytes = b""
) -> bytes:
    """``params`` with the ``_meta`` keys of a request to a modern upstream; other keys of ``_meta`` stay."""
    meta: dict[str, object] = {
        era.PROTOCOL_VERSION: era.MODERN,
        era.CLIENT_INFO: Raw(client_info) if client_info else _OWN_INFO,
        era.CLIENT_CAPABILITIES: Raw(capabilities),
    }
    if log_level is not None:
        meta[era.LOG_LEVEL] = log_level
    return jsonrpc.with_meta(params, meta)


def with_client_meta(params: bytes, options: Options, events: Events) -> bytes:
    """``with_request_meta`` for the client behind the request."""
    info = options.client_info or events.client_info()
    return with_request_meta(params, options.capabilities, options.log_level, info)


class SpeaksModern(UpstreamFailed):
    """A server refused ``initialize`` as modern servers do. It was too slow to answer the probe, or got none. The caller probes."""


class OlderNotTaken(UpstreamFailed):
    """A legacy server refused the newest version, and did not answer the offer of an older one.

    The failure shows the refusal. ``version`` is the older version, and ``has_ended`` tells whether the connection ended.
    """

    def __init__(self, message: str, last_output: str, version: str, *, has_ended: bool) -> None:
        super().__init__(message, last_output)
        self.version = version
        self.has_ended = has_ended


class NoCommonVersion(UpstreamFailed):
    """A modern server shares no version with the proxy."""


async def probe(peer: Peer, client_info: bytes = b"", timeout: float | None = None) -> Handshake | None:
    """The handshake of a modern upstream; None means that the upstream is a legacy one.

    ``client_info`` is the description of the proxy's client. ``timeout`` is in seconds, by default ``PROBE_BUDGET``.
    Raises NoCommonVersion, and from the connection UpstreamGone, SignInNeeded, StoreFailed, or HttpStatus if the server asks to wait.
    """
    try:
        return await _discover(peer, client_info, PROBE_BUDGET if timeout is None else timeout)
    except (UpstreamGone, SignInNeeded, StoreFailed, NoCommonVersion):
        raise
    except (UpstreamFailed, UpstreamTimeout, msgspec.DecodeError) as problem:
        if isinstance(problem, HttpStatus) and problem.retry_after:
            raise
        log.debug("no answer to server/discover, so initialize follows: %s", problem)
        return None


async def has_changed_era(peer: Peer, client_info: bytes, timeout: float, *, modern: bool) -> bool:
    """Whether a server that was of this era answers a probe as one of the other era, within ``timeout`` seconds.

    Silence, and the refusal of a gateway, show no era.
    """
    try:
        return modern is (await _discover(peer, client_info, timeout) is None)
    except HttpStatus as refusal:
        return modern and refusal.status in _UNKNOWN_REQUEST and not refusal.retry_after
    except (UpstreamFailed, UpstreamTimeout, msgspec.DecodeError) as problem:
        log.debug("the probe did not show the era: %s", problem)
        return False


async def _discover(peer: Peer, client_info: bytes, timeout: float) -> Handshake | None:
    """The answer of a modern upstream to ``server/discover``; None for one of a legacy upstream.

    Raises NoCommonVersion, msgspec.DecodeError, UpstreamFailed and UpstreamTimeout.
    """
    params = with_request_meta(b"", client_info=client_info)
    for _ in range(2):
        try:
            answer = await peer.request("server/discover", params, Options(timeout))
            found = _read(answer, "server/discover")
        except UpstreamRefused as refusal:
            supported = _supported_by(refusal)
            if supported is None:
                return None
            if era.MODERN not in supported:
                if not supported or not era.KNOWN.isdisjoint(supported):
                    return None
                raise NoCommonVersion(f"it speaks only {', '.join(supported)[:80]}") from None
            # The upstream lists the version that it refused: probe it again.
        else:
            return found if era.MODERN in found.supported else None
    raise NoCommonVersion(f"it refuses protocol version {era.MODERN}, which it lists as supported")


def _read(answer: bytes, method: str) -> Handshake:
    """Decode an answer. Raises UpstreamFailed beyond ``MAX_HANDSHAKE``, and msgspec.DecodeError."""
    if len(answer) > MAX_HANDSHAKE:
        raise UpstreamFailed(f"its answer to {method} is larger than {jsonrpc.format_size(MAX_HANDSHAKE)}")
    try:
        return msgspec.json.decode(answer, type=Handshake)
    except msgspec.ValidationError:
        # A member may be null, which means that it is missing.
        return msgspec.json.decode(without_nulls(answer, 1), type=Handshake)


class _VersionData(msgspec.Struct):
    supported: list[str] = []


class _Refusal(msgspec.Struct):
    data: _VersionData


def _supported_by(refusal: UpstreamRefused) -> list[str] | None:
    """The supported versions in a modern upstream's refusal; None for another error, which means a legacy upstream."""
    if refusal.code != era.UNSUPPORTED_VERSION or len(refusal.error) > MAX_HANDSHAKE:
        return None
    try:
        return msgspec.json.decode(refusal.error, type=_Refusal).data.supported
    except msgspec.DecodeError:
        return None


async def initialize(
    peer: Peer, timeout: float, capabilities: bytes, client_info: bytes = b"", only: str = ""
) -> Handshake:
    """The first half of the legacy handshake; the caller sends ``INITIALIZED``, the second half.

    ``capabilities`` and ``client_info`` are those of the proxy's client. A server that refuses the newest version gets one older version,
    unless ``only`` is the one version to offer.

    Raises SpeaksModern if the upstream may be modern, OlderNotTaken, and another UpstreamError if it refuses, or offers an unknown version.
    """

    async def offer(version: str, timeout: float) -> bytes:
        params = {
            "protocolVersion": version,
            "capabilities": Raw(capabilities),
            "clientInfo": Raw(client_info) if client_info else _OWN_INFO,
        }
        return await peer.request("initialize", msgspec.json.encode(params), Options(timeout))

    async def offer_again(version: str, refusal: UpstreamRefused | HttpStatus) -> bytes:
        log.debug("it refuses protocol version %s, so %s follows", versions.LATEST_LEGACY, version)
        # The refusal is a better reason than the end of the time for a start.
        left = anyio.current_effective_deadline() - anyio.current_time() - _BEFORE_DEADLINE
        try:
            return await offer(version, max(0.0, round(min(timeout, left), 1)))
        except (UpstreamGone, UpstreamTimeout) as problem:
            refused = refusal.as_failure("initialize") if isinstance(refusal, UpstreamRefused) else refusal
            raise OlderNotTaken(
                f"{refused}; with protocol version {version}, {problem}",
                refused.last_output,
                version,
                has_ended=isinstance(problem, UpstreamGone),
            ) from None

    try:
        try:
            answer = await offer(only or versions.LATEST_LEGACY, timeout)
        except (UpstreamRefused, HttpStatus) as refusal:
            older = None if only else _older_version(refusal)
            if older is None:
                raise
            answer = await offer_again(older, refusal)
    except UpstreamRefused as refusal:
        failure = refusal.as_failure("initialize")
        if refusal.code in _MODERN_REFUSALS:
            raise SpeaksModern(str(failure), failure.last_output) from None
        raise failure from None
    try:
        agreed = _read(answer, "initialize")
    except msgspec.DecodeError:
        raise UpstreamFailed("its answer to initialize is not an initialize result") from None
    if agreed.version not in versions.LEGACY_VERSIONS:
        raise UpstreamFailed(
            f"it offers protocol version {agreed.version[:20]!r}, which is not supported here"
        )
    return agreed


def _older_version(refusal: UpstreamRefused | HttpStatus) -> str | None:
    """The version to offer to a server that refuses the newest one: the newest that it names, or the oldest if it names none.

    None if the refusal has another reason, or may be that of a modern server (MCP 2025-11-25, basic/lifecycle, "Error Handling").
    """
    if isinstance(refusal, HttpStatus):
        if refusal.status != _BAD_REQUEST or refusal.retry_after:
            return None
        text = refusal.last_output
    else:
        text = refusal.error[:MAX_HANDSHAKE].decode(errors="replace")
    if era.MODERN in text:
        return None
    *older, refused = versions.LEGACY_VERSIONS
    for version in reversed(older):
        if version in text:
            return version
    is_modern = isinstance(refusal, UpstreamRefused) and refusal.code in _MODERN_REFUSALS
    return older[0] if not is_modern and (refused in text or _ABOUT_A_VERSION.search(text)) else None
