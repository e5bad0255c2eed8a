"""The running proxy: one task group that owns everything, and one way to end.

``serve`` returns when the client closed a stream or a signal came; by then every upstream is closed and no process of theirs is
alive. A second signal kills the groups that are still being asked politely.
"""

from __future__ import annotations

import signal

import anyio
from anyio.abc import TaskGroup, TaskStatus

from dynamic_mcp.config.model import Config
from dynamic_mcp.face.client import ClientLink
from dynamic_mcp.face.relay import Relay
from dynamic_mcp.face.server import Face
from dynamic_mcp.face.session import Session
from dynamic_mcp.groups import Group
from dynamic_mcp.log import log
from dynamic_mcp.process import child
from dynamic_mcp.process.guard import Guard

#: Seconds that the servers wait for the client's first message.
SILENT_CLIENT = 1.0


async def serve(config: Config, source: int, sink: int) -> int:
    """Serve one client on the two descriptors. The exit status: 0 after end of input, 128 + n after signal n."""
    for warning in config.warnings:
        log.warning("%s", warning)
    status = 0
    groups: list[Group] = []

    def pause(paused: bool) -> None:
        for group in groups:
            group.pause(paused)

    guard = Guard()
    link = ClientLink(source, sink, pause)
    session = Session(link.send)
    relay = Relay(session)
    groups += [Group(server, guard, relay) for server in config.servers]
    face = Face(groups, session, relay, link.send)

    async def watch_signals(*, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        nonlocal status
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            task_status.started()
            async for number in signals:
                if status:
                    for process in list(child.live):
                        process.kill()
                else:
                    status = 128 + number
                    link.ended()

    async def start_groups(running: TaskGroup) -> None:
        # What the client says first tells what upstreams may ask it for. One that says nothing gets its servers all the same.
        with anyio.move_on_after(SILENT_CLIENT):
            await session.awake.wait()
        for group in groups:
            running.start_soon(group.run)

    async with anyio.create_task_group() as watching:
        await watching.start(watch_signals)
        async with anyio.create_task_group() as running:
            await link.open(face.receive, face.receive_oversized)
            running.start_soon(start_groups, running)
            await link.wait_ended()
            await face.close()
            running.cancel_scope.cancel()
        await guard.close()
        await link.close()
        watching.cancel_scope.cancel()
    return status
