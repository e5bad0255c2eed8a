"""Mistakes in starting, ending, retrying, limiting, and in telling about it."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
import traceback
from typing import TYPE_CHECKING, Any

import anyio

from conformance.mutants import mutant, replace, set_constant, wire
from conformance.mutants.guard import remove_the_guard
from dynamic_mcp import log, server
from dynamic_mcp.config.load import load
from dynamic_mcp.config.model import StdioTransport
from dynamic_mcp.errors import ConfigError, UpstreamError, UpstreamFailed
from dynamic_mcp.frontend import tools
from dynamic_mcp.frontend.client import ClientLink
from dynamic_mcp.frontend.router import Router
from dynamic_mcp.frontend.server import Frontend
from dynamic_mcp.groups import backoff, state
from dynamic_mcp.groups.group import Group
from dynamic_mcp.groups.listing import PROMPTS, RESOURCES, TOOLS
from dynamic_mcp.process import child
from dynamic_mcp.upstream.http.connector import HttpConnector
from dynamic_mcp.upstream.stdio import StdioUpstream

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator, Mapping
    from pathlib import Path

    from dynamic_mcp.config.model import Config
    from dynamic_mcp.frontend.router import Send
    from dynamic_mcp.groups.listing import Kind
    from dynamic_mcp.upstream.base import Events, Upstream


@mutant("OPS-001")
def a_missing_file_is_a_success() -> None:
    """The exit status is 0."""

    def wrong(path: Path, environment: Mapping[str, str]) -> Config:
        if not path.exists():
            print(f"{path} does not exist", file=sys.stderr)
            sys.exit(0)
        return load(path, environment)

    replace(load, wrong)


@mutant("OPS-001", crashes=True)
def explains_with_a_stack_trace_and_the_environment() -> None:
    """The trace contains secrets."""

    def wrong(path: Path, environment: Mapping[str, str]) -> Config:
        try:
            return load(path, environment)
        except ConfigError:
            traceback.print_exc()
            print(dict(environment), file=sys.stderr)
            raise

    replace(load, wrong)


@mutant("OPS-002")
def does_not_handle_sigterm() -> None:
    """dmcp 1.5.0 behaves like this: it dies by the signal, and a lingering child continues with parent 1."""
    right = ClientLink.open

    async def wrong(self: ClientLink, *args: Any) -> None:
        # The signals are already handled when the client's side opens.
        asyncio.get_running_loop().remove_signal_handler(signal.SIGTERM)
        await right(self, *args)

    replace(right, wrong)
    remove_the_guard()


@mutant("OPS-020")
def a_second_signal_changes_nothing() -> None:
    class Unlisted(set[child.Child]):
        def __iter__(self) -> Iterator[child.Child]:
            return iter(())

    replace(child.live, Unlisted())
    # A group that ends by itself would look like the effect of the second signal, and a busy check waits long.
    child.TERM_GRACE = 30.0


@mutant("OPS-003", also=dict.fromkeys(("OPS-046", "OPS-047"), "it waits for the call that hangs"))
def waits_for_the_running_call_at_the_end() -> None:
    client = wire.from_client.watch()

    async def wrong(self: Frontend, gone: Coroutine[Any, Any, None]) -> None:
        gone.close()
        while any(way.asked for way in client.ways):  # noqa: ASYNC110
            await anyio.sleep(0.05)

    replace(Frontend.finish, wrong)


@mutant("OPS-003")
def ends_with_status_1() -> None:
    """The reference promises status 0."""
    right = server.serve

    async def wrong(*args: Any) -> int:
        await right(*args)
        return 1

    replace(right, wrong)


@mutant("OPS-003", also={"OPS-002": "a signal ends it in the same way"})
def goes_on_when_the_client_is_gone() -> None:
    replace(ClientLink.end, lambda self: None)


@mutant("OPS-004")
def connects_one_upstream_at_a_time() -> None:
    """dmcp 1.5.0 behaves like this: it holds a write lock for each attempt, and the client waits too."""
    right = StdioUpstream.open
    lock = anyio.Lock()

    async def wrong(self: StdioUpstream, *args: Any, **kwargs: Any) -> None:
        async with lock:
            await right(self, *args, **kwargs)

    replace(right, wrong)


@mutant("OPS-004")
def lets_the_client_wait_for_the_upstreams() -> None:
    known: list[Group] = []
    waiting: list[asyncio.Future[None]] = []
    begin, right = Group.run, Router.receive

    async def run(self: Group) -> None:
        known.append(self)
        await begin(self)

    async def wait(self: Router, line: bytes, reply: Send | None) -> None:
        with anyio.move_on_after(2 * server.SILENT_CLIENT):
            while not known:  # noqa: ASYNC110
                await anyio.sleep(0.05)
        for one in known:
            await one.wait_first_attempt()
        right(self, line, reply)

    def wrong(self: Router, line: bytes, reply: Send | None = None) -> None:
        waiting.append(asyncio.ensure_future(wait(self, line, reply)))

    replace(begin, run)
    replace(right, wrong)


@mutant("OPS-005")
def waits_for_a_silent_upstream_for_ever() -> None:
    set_constant(state, "START_WAIT", 3600.0)


@mutant("OPS-005")
def waits_for_a_silent_server_for_ever() -> None:
    right = Group.live

    async def wrong(self: Group) -> tuple[Group, Upstream]:
        if not isinstance(self.server.transport, StdioTransport):
            await self.wait_first_attempt()
        return await right(self)

    replace(right, wrong)


@mutant("OPS-005")
def loses_patience_after_a_second() -> None:
    set_constant(state, "START_WAIT", 1.0)


@mutant("OPS-006")
def does_not_retry_before_half_a_minute() -> None:
    """dmcp 1.5.0 does not retry at all (observed for 50 s): its retry succeeds at once, because the group is recorded as failed."""
    set_constant(backoff, "RETRY_DELAYS", ())


@mutant("OPS-006")
def retries_in_a_tight_loop() -> None:
    set_constant(backoff, "RETRY_DELAYS", (0.05, 0.05, 0.05))


@mutant("OPS-006")
def connects_to_a_server_only_once() -> None:
    right = HttpConnector.connect
    connected: set[HttpConnector] = set()

    def wrong(self: HttpConnector, events: Events) -> Upstream:
        if self in connected:
            raise UpstreamFailed("the server could not be reached")
        connected.add(self)
        return right(self, events)

    replace(right, wrong)


@mutant("OPS-007")
def gives_up_after_the_initial_retries() -> None:
    set_constant(backoff, "RETRY_FOREVER", 3600.0)


@mutant("OPS-007")
def retries_every_five_seconds() -> None:
    set_constant(backoff, "RETRY_FOREVER", 5.0)


@mutant("OPS-008")
def has_one_limit_for_all_calls() -> None:
    right = Group.timeout
    replace(right, lambda self, kind: 30.0 if kind is TOOLS else right(self, kind))


@mutant("OPS-008")
def ignores_the_timeouts_of_a_server_behind_a_url() -> None:
    right = Group.timeout

    def wrong(self: Group, kind: Kind) -> float:
        return right(self, kind) if isinstance(self.server.transport, StdioTransport) else 30.0

    replace(right, wrong)


@mutant("OPS-008")
def does_not_say_that_time_ran_out() -> None:
    def wrong(error: UpstreamError) -> bytes:
        return tools.failure("The call failed.")

    replace(tools.explain_failure, wrong)


@mutant("OPS-008")
def gives_reads_as_much_time_as_calls() -> None:
    right = Group.timeout
    replace(right, lambda self, kind: right(self, TOOLS if kind is RESOURCES else kind))


@mutant("OPS-008")
def gives_prompts_the_time_of_resources() -> None:
    right = Group.timeout
    replace(right, lambda self, kind: right(self, RESOURCES if kind is PROMPTS else kind))


@mutant("OPS-009")
def logs_nothing() -> None:
    """dmcp 1.5.0 behaves like this: it writes 0 bytes to stderr."""

    def wrong(*args: Any) -> None:
        log.log.addHandler(logging.NullHandler())
        log.log.propagate = False

    replace(log.configure, wrong)


@mutant("OPS-009")
def has_no_details() -> None:
    replace(log.level_from, lambda environment: logging.WARNING)


@mutant("OPS-009", also={"RLD-005": "nothing reports the file there either"})
def takes_a_bad_file_for_a_detail() -> None:
    def wrong(record: logging.LogRecord) -> bool:
        if "not reloaded" in record.msg:
            record.levelno, record.levelname = logging.DEBUG, "DEBUG"
        return log.log.isEnabledFor(record.levelno)

    log.log.addFilter(wrong)


@mutant("RLD-005")
def repeats_the_report_of_a_bad_file() -> None:
    def wrong(record: logging.LogRecord) -> bool:
        if "not reloaded" in record.msg and "repeated" not in vars(record):
            vars(record)["repeated"] = True
            log.log.handle(record)
        return True

    log.log.addFilter(wrong)


@mutant("OPS-009")
def logs_to_stdout_too() -> None:
    right = log.configure

    def wrong(*args: Any) -> None:
        right(*args)
        log.log.addHandler(logging.StreamHandler(os.fdopen(os.dup(1), "w")))

    replace(right, wrong)


@mutant("OPS-010")
def does_not_reap_its_children() -> None:
    kept = []

    async def wrong(self: child.Child) -> None:
        # `subprocess` reaps a process that nothing refers to.
        kept.append(self)
        self.kill()
        await self.wait_left()
        child.live.discard(self)

    replace(child.Child.terminate, wrong)


@mutant("OPS-010")
def loses_a_descriptor_with_every_upstream() -> None:
    right = StdioUpstream.close

    async def wrong(self: StdioUpstream) -> None:
        os.dup(2)
        await right(self)

    replace(right, wrong)


@mutant("OPS-010")
def keeps_a_port_open() -> None:
    right = server.serve

    async def wrong(*args: Any) -> int:
        with socket.create_server(("127.0.0.1", 0)):
            return await right(*args)

    replace(right, wrong)
