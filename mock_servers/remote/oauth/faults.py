"""Faults of the authorization server: which request they affect, and how they fail or delay its response."""

import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

from mock_servers.oauth_script import Endpoint, Fault
from mock_servers.remote.exchange import HttpExchange, respond_json


class FaultCounter:
    """The faults of a script, and how many requests each has seen."""

    def __init__(self, faults: list[Fault]) -> None:
        self._faults = faults
        self._requests: Counter[int] = Counter()

    def next(self, endpoint: Endpoint, grant: str | None) -> tuple[float, Fault | None]:
        """The delay of the response to this request, and the fault that replaces the response, if any."""
        delay = 0.0
        for number, fault in enumerate(self._faults):
            if fault.at != endpoint or fault.grant not in (None, grant):
                continue
            self._requests[number] += 1
            if not fault.affects(self._requests[number]):
                continue
            delay = max(delay, fault.delay)
            if fault.cut or fault.status is not None:
                return delay, fault
        return delay, None


class DelayedExchange:
    """An exchange that sends its response only after `release`."""

    def __init__(self, exchange: HttpExchange) -> None:
        self._exchange = exchange
        self._response: tuple[int, bytes, dict[str, str]] = (500, b"", {})

    def __getattr__(self, name: str) -> Any:
        return getattr(self._exchange, name)

    def respond(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self._response = status, body, headers or {}

    def release(self) -> None:
        self._exchange.respond(*self._response)


def fail(exchange: HttpExchange, fault: Fault) -> None:
    """Send the response of the fault, or close the connection without one."""
    if fault.cut:
        exchange.cut()
    else:
        respond_json(exchange, fault.status or 500, fault.body, fault.headers)


def run_after(delay: float, work: Callable[[], None]) -> None:
    """Run `work` after `delay` seconds; without a delay, run it now and in this thread."""
    if not delay:
        work()
        return
    timer = threading.Timer(delay, work)
    timer.daemon = True
    timer.start()
