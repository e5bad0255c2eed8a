"""The running proxy: one task group that owns everything, and one way to end.

``serve`` returns when the client closed a stream or a signal came; by then every upstream is closed and no process of theirs is
alive. A second signal kills the groups that are still being asked politely.
"""

from __future__ import annotations

import signal

import anyio
from anyio.abc import TaskStatus

from dynamic_mcp.config.model import Config
from dynamic_mcp.face.client import ClientLink
from dynamic_mcp.face.server import Face
from dynamic_mcp.face.tools import Toolbox
from dynamic_mcp.groups import Group
from dynamic_mcp.log import log
from dynamic_mcp.process import child
from dynamic_mcp.process.guard import Guard


async def serve(config: Config, source: int, sink: int) -> int:
    """Serve one client on the two descriptors. The exit status: 0 after end of input, 128 + n after signal n."""
    for warning in config.warnings:
        log.warning("%s", warning)
    status = 0
    guard = Guard()
    groups = [Group(server, guard) for server in config.servers]

    def pause(paused: bool) -> None:
        for group in groups:
            group.pause(paused)

    link = ClientLink(source, sink, pause)
    face = Face(Toolbox(groups), link.send)

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

    async with anyio.create_task_group() as watching:
        await watching.start(watch_signals)
        async with anyio.create_task_group() as running:
            await link.open(face.receive, face.receive_oversized)
            for group in groups:
                running.start_soon(group.run)
            await link.wait_ended()
            await face.close()
            running.cancel_scope.cancel()
        await guard.close()
        await link.close()
        watching.cancel_scope.cancel()
    return status
