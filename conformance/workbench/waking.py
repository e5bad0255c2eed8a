"""Makes a proxy that starts servers on their first use, or again on their next one, start them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

import anyio

from conformance.errors import Violation
from conformance.workbench.deadlines import extended
from conformance.workbench.polling import INTERVAL
from conformance.workbench.shown import show

if TYPE_CHECKING:
    from collections.abc import Callable

    from conformance.workbench.proxy import Proxy

T = TypeVar("T")

#: seconds between two uses, because a use before the proxy has noticed a change of its configuration wakes the old server
_EVERY = 0.5


async def woken(proxy: Proxy, group: str, condition: Callable[[], T], *, within: float, what: str) -> T:
    """Use a group again and again until the condition, about its server, is true; the value.

    After `within` seconds raises `Violation` with `what` and the last value.
    """
    deadline = time.monotonic() + extended(within)
    next_use = 0.0
    while not (value := condition()):
        now = time.monotonic()
        if now >= deadline:
            raise Violation(what, f"after {within:g} s: {show(value)}")
        if now >= next_use:
            await proxy.wake(group)
            next_use = now + _EVERY
        await anyio.sleep(INTERVAL)
    return value
