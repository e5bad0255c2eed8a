"""Further clients of one program: sessions at its URL, or further starts of a program whose starts share their servers.

    async with workbench.serving(upstream) as first, another_client(workbench, first) as second:
        await second.handshake()

Limit: a further start on stdio is one of the same command with the same configuration file, HOME, working directory and environment.
"""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import anyio

from conformance.errors import HarnessError, NotApplicable
from conformance.workbench.session_judgement import judge_session
from conformance.workbench.start_options import StartOptions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from conformance.workbench.mocks import MockUpstream
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.transcript import Json
    from conformance.workbench.workbench import Workbench


@asynccontextmanager
async def another_client(
    workbench: Workbench, first: Proxy, *, wire_types: bool = True
) -> AsyncIterator[Proxy]:
    """Another client of the program of `first`, before its handshake. At the end of the block its session ends.

    `wire_types` is that of `Workbench.proxy`. Raises `NotApplicable` for a program that has one client, and `Violation` as that
    method does.
    """
    program = first.program
    if program is None:
        raise HarnessError("the client has no program yet")
    client = workbench.sut.profile.client
    if not client.has_several:
        raise NotApplicable("the program has one client")
    if not client.listens:
        async with workbench.proxy(config=program.config, wire_types=wire_types) as another:
            yield another
        return
    inbox = workbench.inbox(f"{program.launched.actor}-session")
    another, transport = workbench.client_of(program, inbox, first.port)
    try:
        async with another.answers.running(another):
            yield another
        another.must_have_passed_on_begun_requests()
    finally:
        with anyio.CancelScope(shield=True):
            await transport.close()
    judge_session(transport, inbox, StartOptions(wire_types=wire_types))


@asynccontextmanager
async def clients_of_one_program(
    workbench: Workbench,
    *upstreams: MockUpstream,
    number: int = 2,
    capabilities: Json | None = None,
    at_once: bool = False,
) -> AsyncIterator[list[Proxy]]:
    """So many clients with these capabilities, after their handshakes and with the tools of every upstream listed.

    The second one comes when the first one is served, unless all come `at_once`.
    """

    async def greet(*those: Proxy) -> None:
        for client in those:
            client.capabilities = capabilities or {}
            await client.handshake()
            await client.ready(*upstreams)

    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(workbench.proxy(*upstreams))
        if not at_once:
            await greet(first)
        further = [another_client(workbench, first) for _ in range(number - 1)]
        others = [await stack.enter_async_context(one) for one in further]
        await greet(*([first, *others] if at_once else others))
        yield [first, *others]
