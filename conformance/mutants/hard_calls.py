"""Mistakes in letting calls through to a server."""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING, Any

import msgspec

from conformance.mutants import instances, mutant, replace, set_constant
from dynamic_mcp.errors import CallRefused, UpstreamError
from dynamic_mcp.extras.policy import arguments
from dynamic_mcp.extras.policy.enforcer import PolicyEnforcer
from dynamic_mcp.extras.policy.limits import Limits
from dynamic_mcp.groups.connection_record import ConnectionRecord
from dynamic_mcp.groups.group import Group

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from msgspec import Raw

    from dynamic_mcp.config.model import CallRules
    from dynamic_mcp.groups.listing import Kind
    from dynamic_mcp.process.guard import Guard
    from dynamic_mcp.protocol.pending import Options

    Send = Callable[[Options], Awaitable[bytes]]


@mutant("HARD-004", also=dict.fromkeys(("HARD-006", "HARD-012"), "a call that is refused has been made"))
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
        rate = rules.rate_limit
        # A minute, so that the period of the first server is not over on a busy machine.
        longer = None if rate is None else msgspec.structs.replace(rate, per=60.0)
        return shared.setdefault(rules, Limits(msgspec.structs.replace(rules, rate_limit=longer)))

    replace(Limits, wrong)


@mutant(
    "HARD-004",
    also=dict.fromkeys(("HARD-006", "HARD-012"), "a refusal because of the arguments loses its text too"),
)
def drops_what_is_beyond_the_rate() -> None:
    right = PolicyEnforcer.call

    async def wrong(self: PolicyEnforcer, *args: Any) -> bytes:
        try:
            return await right(self, *args)
        except CallRefused:
            raise UpstreamError("too many calls") from None

    replace(right, wrong)


@mutant("HARD-004")
def never_forgets_a_call() -> None:
    def change(rules: CallRules) -> CallRules:
        rate = rules.rate_limit
        longer = None if rate is None else msgspec.structs.replace(rate, per=1e9)
        return msgspec.structs.replace(rules, rate_limit=longer)

    _change_rules(change)


@mutant("HARD-004")
def has_no_limit_on_calls_at_once() -> None:
    _change_rules(lambda rules: msgspec.structs.replace(rules, max_concurrent_calls=None))


def _change_rules(change: Callable[[CallRules], CallRules]) -> None:
    """Let ``change`` alter the rules of each server before they are enforced."""
    right = PolicyEnforcer.__init__

    def wrong(self: PolicyEnforcer, server: str, rules: CallRules, guard: Guard) -> None:
        right(self, server, change(rules), guard)

    replace(right, wrong)


@mutant("HARD-004")
def counts_the_calls_of_each_tool_alone() -> None:
    right = PolicyEnforcer.call
    limits: dict[tuple[PolicyEnforcer, str], Limits] = {}

    async def wrong(self: PolicyEnforcer, tool: str, *more: Any) -> bytes:
        # Private, because only the enforcer knows its rules.
        self._limits = limits.setdefault((self, tool), Limits(self._rules))
        return await right(self, tool, *more)

    replace(right, wrong)


@mutant("HARD-004")
def forgets_the_calls_from_before_a_crash() -> None:
    enforcers, right = instances(PolicyEnforcer), ConnectionRecord.ready

    def wrong(self: ConnectionRecord) -> None:
        right(self)
        for enforcer in enforcers:
            # Private, because only the enforcer knows its rules.
            enforcer._limits = Limits(enforcer._rules)

    replace(right, wrong)


@mutant("HARD-004")
def does_not_say_when_to_call_again() -> None:
    """The error has the period of the limit, which is a time too."""
    right = PolicyEnforcer.call

    async def wrong(self: PolicyEnforcer, *args: Any) -> bytes:
        try:
            return await right(self, *args)
        except CallRefused as error:
            raise CallRefused(re.sub("; try again.*", "", str(error))) from None

    replace(right, wrong)


@mutant("HARD-006", also={"HARD-012": "a repeated member is not found either"})
def validates_nothing() -> None:
    async def wrong(*args: object) -> None:
        pass

    replace(arguments.ArgumentCheck.check, wrong)


@mutant(
    "HARD-006", also={"HARD-004": "what is too much is made too", "HARD-012": "a refused call is made too"}
)
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
def validates_with_the_first_schema_of_a_tool() -> None:
    right = arguments.ArgumentCheck.check
    first: dict[tuple[arguments.ArgumentCheck, str], Raw] = {}

    async def wrong(self: arguments.ArgumentCheck, name: str, definition: Raw, args: bytes) -> None:
        await right(self, name, first.setdefault((self, name), definition), args)

    replace(right, wrong)


@mutant("HARD-006")
def serialises_the_arguments_anew() -> None:
    """Numbers change."""
    right = Group.request

    async def wrong(self: Group, method: str, params: bytes, options: Options, *kind: Kind) -> bytes:
        value = json.loads(params or b"{}", parse_float=lambda text: min(float(text), 1e300))
        return await right(self, method, json.dumps(value).encode(), options, *kind)

    replace(right, wrong)


def change_the_checker(*statements: str) -> None:
    """Start the checker after these statements, which find it as ``c`` and its library as ``j``."""
    program = "; ".join(
        ["import dynamic_mcp.extras.policy.checker as c, jsonschema_rs as j", *statements, "c.main()"]
    )
    set_constant(arguments, "COMMAND", (sys.executable, "-c", program))


@mutant("HARD-006")
def knows_draft_7_only() -> None:
    """The proxy rejects keywords of JSON Schema 2020-12."""
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
    change_the_checker(
        "right = c.check",
        "c.check = lambda **asked: {'problems': [{'path': [], 'text': found['broken']}]} "
        "if 'broken' in (found := right(**asked)) else found",
    )


@mutant("HARD-006")
def a_check_takes_as_long_as_it_takes() -> None:
    change_the_checker("c.MAX_TIME = 3600.0")
    arguments.CHECK_TIMEOUT = 3600.0


@mutant("HARD-012")
def accepts_a_member_twice() -> None:
    change_the_checker("c.repeated_members = lambda text: []")


@mutant("HARD-012")
def sees_repeated_members_of_the_outermost_object_only() -> None:
    change_the_checker(
        "right = c.repeated_members",
        "c.repeated_members = lambda text: [path for path in right(text) if len(path) == 1]",
    )
