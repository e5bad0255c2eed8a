"""Legitimate designs: when servers start, and when they start again."""

from __future__ import annotations

import math
import resource
import time
from typing import Any
from weakref import WeakKeyDictionary

import anyio

from conformance.mutants import legitimate, mutant, replace
from dynamic_mcp.groups.backoff import Backoff
from dynamic_mcp.groups.group import Group
from dynamic_mcp.groups.owner import UpstreamOwner

_ABOUT_STARTS = (
    "STD-006",
    "STD-017",
    "CFG-015",
    "HTTP-015",
    "OPS-010",
    "RLD-003",
    "RLD-004",
    "SEC-011",
    "SSE-008",
    "SSE-013",
)


@legitimate(*_ABOUT_STARTS)
def starts_servers_on_first_use() -> None:
    """The first request about a group starts its server, also a request for a list of all groups."""
    used: WeakKeyDictionary[Group, anyio.Event] = WeakKeyDictionary()
    run, live, wait_first_attempt, inherit = Group.run, Group.live, Group.wait_first_attempt, Group.inherit

    def use_of(group: Group) -> anyio.Event:
        return used.setdefault(group, anyio.Event())

    async def run_once_used(self: Group) -> None:
        await use_of(self).wait()
        await run(self)

    async def use(self: Group) -> Any:
        use_of(self).set()
        return await live(self)

    async def wait_if_used(self: Group) -> None:
        if use_of(self).is_set():
            await wait_first_attempt(self)

    def inherit_as_use(self: Group, subscriptions: Any, policy: Any) -> None:
        inherit(self, subscriptions, policy)
        if subscriptions.holders:
            use_of(self).set()

    replace(run, run_once_used)
    replace(live, use)
    replace(wait_first_attempt, wait_if_used)
    replace(inherit, inherit_as_use)


@legitimate(*_ABOUT_STARTS)
def restarts_servers_on_next_use() -> None:
    """Only a request about a group starts its server again, after any end or failed start."""
    # Private, because the reference starts servers again by itself, so that a call need not ask for it.
    live, after_failure, sign_in = Group.live, Backoff.after_failure, UpstreamOwner.sign_in

    async def use(self: Group) -> Any:
        with self._state.backoff(self._owner.retry, at_once=True):
            self._state.try_again()
        return await live(self)

    def wait_for_use(self: Backoff) -> None:
        self.next = math.inf

    async def with_its_delays(self: UpstreamOwner, need: Any, backoff: Backoff) -> bool:
        replace(wait_for_use, after_failure)
        try:
            return await sign_in(self, need, backoff)
        finally:
            replace(after_failure, wait_for_use)

    replace(live, use)
    replace(Backoff.after_crash, lambda self: self.after_failure())
    replace(after_failure, wait_for_use)
    replace(sign_in, with_its_delays)


@legitimate("FRONT-001", "OPS")
def takes_two_seconds_to_start() -> None:
    """A heavy runtime."""
    time.sleep(2)


@legitimate("STD-001", "STD-003", "STD-005", "HARD-008", "GUARD", "OPS-036")
def raises_the_limit_of_open_files_for_its_children_too() -> None:
    """As the runtime of Go 1.19 does. OPS-036 is no MUST."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@mutant("OPS-004")
def starts_no_server_before_its_use() -> None:
    """A legitimate design, but not for a proxy that promises `eager-start`."""
    starts_servers_on_first_use()


@mutant("STD-017")
def starts_no_server_again_before_its_use() -> None:
    """A legitimate design, but not for a proxy that promises `eager-restart`."""
    restarts_servers_on_next_use()
