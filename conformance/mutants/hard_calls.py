"""Mistakes in letting calls through to a server."""

from __future__ import annotations

import json
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec

from conformance.mutants import mutant, replace, wire
from dynamic_mcp.errors import CallRefused, UpstreamError
from dynamic_mcp.extras.policy import arguments
from dynamic_mcp.extras.policy.enforcer import PolicyEnforcer
from dynamic_mcp.extras.policy.limits import Limits
from dynamic_mcp.groups.group import Group

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from msgspec import Raw

    from dynamic_mcp.config.model import CallRules
    from dynamic_mcp.upstream.base import Options

    Send = Callable[[Options], Awaitable[bytes]]


@mutant("HARD-004", also={"HARD-006": "a call that is refused has been made"})
def counts_at_the_clients_side_only() -> None:
    right = PolicyEnforcer.call

    async def wrong(
        self: PolicyEnforcer, tool: str, definition: Raw, args: bytes, options: Options, send: Send
    ) -> bytes:
        try:
            return await right(self, tool, definition, args, options, send)
        except CallRefused:
            await send(options)
            raise

    replace(right, wrong)


@mutant("HARD-004")
def counts_all_servers_together() -> None:
    shared: dict[CallRules, Limits] = {}

    def wrong(rules: CallRules) -> Limits:
        return shared[rules] if rules in shared else shared.setdefault(rules, Limits(rules))

    replace(Limits, wrong)


@mutant("HARD-004")
def drops_what_is_beyond_the_rate() -> None:
    right = Limits.slot

    @asynccontextmanager
    async def wrong(self: Limits, timeout: float) -> AsyncIterator[float]:
        try:
            async with right(self, timeout) as waited:
                yield waited
        except CallRefused:
            raise UpstreamError("too many calls") from None

    replace(right, wrong)


@mutant("HARD-004")
def never_forgets_a_call() -> None:
    def wrong(rules: CallRules) -> CallRules:
        rate = rules.rate_limit
        return msgspec.structs.replace(
            rules, rate_limit=None if rate is None else msgspec.structs.replace(rate, per=1e9)
        )

    _change_limits(wrong)


@mutant("HARD-004")
def has_no_limit_on_calls_at_once() -> None:
    _change_limits(lambda rules: msgspec.structs.replace(rules, max_concurrent_calls=None))


def _change_limits(change: Callable[[CallRules], CallRules]) -> None:
    right = Limits.__init__
    replace(right, lambda self, rules: right(self, change(rules)))


@mutant("HARD-006")
def validates_nothing() -> None:
    async def wrong(*args: object) -> None:
        pass

    replace(arguments.ArgumentCheck.check, wrong)


@mutant("HARD-006", also={"HARD-004": "what is too much is made too"})
def makes_the_call_and_then_validates() -> None:
    right = PolicyEnforcer.call

    async def wrong(
        self: PolicyEnforcer, tool: str, definition: Raw, args: bytes, options: Options, send: Send
    ) -> bytes:
        result = await send(options)
        await right(self, tool, definition, args, options, send)
        return result

    replace(right, wrong)


@mutant("HARD-006")
def serialises_the_arguments_anew() -> None:
    right = Group.request

    async def wrong(self: Group, method: str, params: bytes, options: Options) -> bytes:
        value = json.loads(params or b"{}", parse_float=lambda text: min(float(text), 1e300))
        return await right(self, method, json.dumps(value).encode(), options)

    replace(right, wrong)


def change_the_checker(*statements: str) -> None:
    """Start the checker after these statements, which find it as ``c`` and its library as ``j``."""
    program = "; ".join(
        ["import dynamic_mcp.extras.policy.checker as c, jsonschema_rs as j", *statements, "c.main()"]
    )
    replace(arguments.COMMAND, (sys.executable, "-c", program))


@mutant("HARD-006")
def knows_draft_7_only() -> None:
    change_the_checker(
        "c.validator_for = lambda library, schema: j.Draft7Validator("
        "{k: v for k, v in schema.items() if k != '$schema'} if isinstance(schema, dict) else schema, offline=True)"
    )


@mutant("HARD-006")
def fetches_what_a_schema_refers_to() -> None:
    change_the_checker("c.validator_for = lambda library, schema: library.validator_for(schema)")


@mutant("HARD-006")
def checks_numbers_as_floats() -> None:
    change_the_checker("c.read = lambda text: c.json.loads(text, parse_int=float)")


@mutant("HARD-006")
def a_broken_schema_stops_every_call() -> None:
    def wrong(verdict: Any) -> Any:
        broken = verdict.get("broken")
        return {"problems": [{"path": [], "text": broken}]} if broken else verdict

    # The checker is a child like any upstream.
    wire.from_stdio_upstreams(wire.results_of("check", wrong))


@mutant("HARD-006")
def a_check_takes_as_long_as_it_takes() -> None:
    # Private: the time limit of the operating system is set in a process of its own.
    change_the_checker("c._limit = lambda seconds: None")
    replace(arguments.PATIENCE, 3600.0)
