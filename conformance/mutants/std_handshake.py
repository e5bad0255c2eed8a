"""Mistakes in beginning a connection to a stdio upstream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from conformance.mutants import mutant, replace
from dynamic_mcp.errors import UpstreamFailed, UpstreamGone, UpstreamRefused
from dynamic_mcp.protocol import jsonrpc
from dynamic_mcp.protocol.peer import Peer
from dynamic_mcp.upstream import handshake

if TYPE_CHECKING:
    from collections.abc import Callable


@mutant("STD-014")
def never_says_that_it_is_initialized() -> None:
    right = Peer.notify

    def wrong(self: Peer, method: str, params: bytes = b"") -> None:
        if method != "notifications/initialized":
            right(self, method, params)

    replace(right, wrong)


@mutant("STD-014")
def says_initialized_with_a_null_id() -> None:
    right = jsonrpc.notification

    def wrong(method: str, params: bytes = b"") -> bytes:
        line = right(method, params)
        return line.replace(b'"method"', b'"id":null,"method"', 1) if method.endswith("initialized") else line

    replace(right, wrong)


@mutant("STD-014")
def initializes_twice() -> None:
    right = handshake.initialize

    async def wrong(*arguments: Any) -> Any:
        await right(*arguments)
        return await right(*arguments)

    replace(right, wrong)


@mutant("STD-022", also={"STD-014": "the strict server refuses the probe with another code"})
def falls_back_only_when_the_method_is_unknown() -> None:
    def wrong(refusal: UpstreamRefused) -> Exception:
        code = msgspec.json.decode(refusal.error)["code"]
        return refusal if code == jsonrpc.METHOD_NOT_FOUND else UpstreamFailed("the probe was refused")

    _change_probe(on_refusal=wrong)


@mutant("STD-022", also=dict.fromkeys(("STD-008", "STD-009"), "its journal has two lives"))
def restarts_an_upstream_that_refuses_the_probe() -> None:
    _change_probe(on_refusal=lambda refusal: UpstreamGone("the probe was refused"))


@mutant("STD-022")
def waits_for_ever_for_an_answer_to_the_probe() -> None:
    _change_probe(budget=3600.0)


def _change_probe(
    *, budget: float | None = None, on_refusal: Callable[[UpstreamRefused], Exception] = lambda error: error
) -> None:
    """Give the probe another time to wait, or another way to take a refusal."""
    right = Peer.request

    async def wrong(self: Peer, method: str, params: bytes, timeout: float | None, *more: Any) -> bytes:
        is_probe = method == "server/discover"
        try:
            allowed = budget if is_probe and budget is not None else timeout
            return await right(self, method, params, allowed, *more)
        except UpstreamRefused as refusal:
            raise on_refusal(refusal) if is_probe else refusal from None

    replace(right, wrong)
