"""Mistakes in what children are given, may use, and are started by."""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING, Any

import msgspec

from conformance.mutants import mutant, replace, set_constant
from dynamic_mcp.config.model import CallRules, ResourceLimits, StdioTransport
from dynamic_mcp.errors import UpstreamFailed
from dynamic_mcp.extras import hardening
from dynamic_mcp.extras.hardening import environment, limits
from dynamic_mcp.groups.supervisor import Supervisor
from dynamic_mcp.process.child import Child, Launch
from dynamic_mcp.upstream.stdio import StdioUpstream

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from dynamic_mcp.config.diff import Diff
    from dynamic_mcp.config.model import Config, Server


@mutant("HARD-007")
def ignores_the_list_of_variables() -> None:
    replace(environment.inherited, lambda allowed, given: dict(given))


@mutant("HARD-007")
def leaves_the_child_without_a_path() -> None:
    set_constant(environment, "NEEDED", ())


@mutant("HARD-007")
def takes_each_name_for_a_beginning() -> None:
    right = environment.inherited

    def wrong(allowed: Sequence[str] | None, given: Mapping[str, str]) -> dict[str, str]:
        return right(allowed if allowed is None else [f"{name}*" for name in allowed], given)

    replace(right, wrong)


@mutant("HARD-007")
def applies_the_list_to_the_configured_variables_too() -> None:
    def wrong(transport: StdioTransport) -> StdioTransport:
        if transport.environment is None:
            return transport
        kept = tuple(pair for pair in transport.env if pair[0] in transport.environment)
        return msgspec.structs.replace(transport, env=kept)

    _change_launches(wrong)


@mutant("HARD-007")
def limits_the_environment_of_the_first_start_only() -> None:
    _change_later_starts(environment=None)


@mutant(
    "HARD-007",
    also=dict.fromkeys(
        ("HARD-003", "HARD-004", "HARD-006", "HARD-008", "HARD-010"), "a save adds a server there too"
    ),
)
def forgets_the_security_of_servers_that_a_save_adds() -> None:
    right = Supervisor.apply

    def lax(server: Server) -> Server:
        off: dict[str, Any] = {"require_https": False}
        if isinstance(server.transport, StdioTransport):
            off = {"environment": None, "limits": ResourceLimits(), "prefix": ()}
        transport = msgspec.structs.replace(server.transport, **off)
        return msgspec.structs.replace(server, transport=transport, policy=CallRules())

    def wrong(self: Supervisor, config: Config, changes: Diff) -> None:
        right(self, config, msgspec.structs.replace(changes, added=tuple(map(lax, changes.added))))

    replace(right, wrong)


@mutant("HARD-008")
def limits_itself() -> None:
    """The limits hold for the proxy."""
    right = limits.setter

    def wrong(wanted: ResourceLimits) -> Callable[[], None] | None:
        if wanted.open_files is not None:
            _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted.open_files, hard))
        return right(wanted)

    replace(right, wrong)


@mutant("HARD-008")
def sets_no_limits() -> None:
    replace(limits.setter, lambda wanted: None)


@mutant("HARD-008")
def does_not_say_that_a_limit_killed_the_child() -> None:
    replace(limits.explained, lambda status, limits: status)


@mutant("HARD-010")
def falls_back_to_the_bare_command() -> None:
    """The server starts without the prefix."""
    right = Child.__init__

    def wrong(self: Child, launch: Launch, *rest: Any) -> None:
        try:
            right(self, launch, *rest)
        except FileNotFoundError:
            right(self, msgspec.structs.replace(launch, argv=launch.argv[1:]), *rest)

    replace(right, wrong)


@mutant("HARD-010")
def uses_the_prefix_for_the_first_start_only() -> None:
    _change_later_starts(prefix=())


@mutant("HARD-010")
def joins_the_prefix_and_the_command_for_a_shell() -> None:
    def wrong(transport: StdioTransport) -> StdioTransport:
        if not transport.prefix:
            return transport
        line = " ".join([*transport.prefix, transport.command, *transport.args])
        return msgspec.structs.replace(transport, prefix=(), command="sh", args=("-c", line))

    _change_launches(wrong)


@mutant("HARD-010")
def does_not_say_that_the_prefix_is_missing() -> None:
    right = StdioUpstream.open

    async def wrong(self: StdioUpstream, timeout: float, **more: Any) -> None:
        try:
            await right(self, timeout, **more)
        except UpstreamFailed:
            raise UpstreamFailed("the server could not be started") from None

    replace(right, wrong)


def _change_later_starts(**changed: Any) -> None:
    """Start a child with other settings than those of its first start."""
    started = set()

    def wrong(transport: StdioTransport) -> StdioTransport:
        again = transport in started
        started.add(transport)
        return msgspec.structs.replace(transport, **changed) if again else transport

    _change_launches(wrong)


def _change_launches(change: Callable[[StdioTransport], StdioTransport]) -> None:
    """Let ``change`` alter the definition of each child before it is launched."""
    right = hardening.launch
    replace(right, lambda transport: right(change(transport)))
