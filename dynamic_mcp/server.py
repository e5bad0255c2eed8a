"""The running proxy: one task group that owns everything, and one way to end.

``serve`` returns when the client closed a stream or a signal came; by then every upstream is closed and no process of theirs is
alive. A second signal kills the groups that are still being asked politely.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import anyio
from anyio.abc import TaskGroup, TaskStatus

from dynamic_mcp import __version__
from dynamic_mcp.config.model import Config, Server
from dynamic_mcp.extras import tuning
from dynamic_mcp.extras.audit import trail
from dynamic_mcp.extras.early_answers import EarlyAnswers
from dynamic_mcp.extras.tracing import base
from dynamic_mcp.frontend.client import ClientLink
from dynamic_mcp.frontend.relay import Relay
from dynamic_mcp.frontend.server import Frontend
from dynamic_mcp.frontend.session import ClientSession
from dynamic_mcp.groups.group import Group
from dynamic_mcp.groups.reload import Reload
from dynamic_mcp.groups.supervisor import Supervisor
from dynamic_mcp.log import log
from dynamic_mcp.process import child
from dynamic_mcp.process.guard import Guard

#: Seconds that the servers wait for the client's first message.
SILENT_CLIENT = 1.0

_ENDING = (signal.SIGINT, signal.SIGTERM)
_RELOADING = (signal.SIGHUP,) if sys.platform != "win32" else ()


async def serve(
    path: Path, config: Config, source: int, sink: int, doorstep: EarlyAnswers | None = None
) -> int:
    """Serve one client on the two descriptors, at first with ``config``, then with what the file at ``path`` says.

    ``doorstep`` is who has spoken to the client until now. The exit status: 0 after end of input, 128 + n after signal n.
    """
    trail.configure(config.audit)
    began = time.monotonic()
    trail.record("start", version=__version__, config=str(path))
    for warning in filter(None, (*config.warnings, config.exposed)):
        log.warning("%s", warning)
    tuning.prepare()
    status = 0
    groups: dict[str, Group] = {}

    def make_group(server: Server) -> Group:
        return Group(server, guard, relay, traces)

    traces = base.start(os.environ)
    guard = Guard()
    link = ClientLink(source, sink, lambda paused: supervisor.pause(paused), doorstep)
    session = ClientSession(link.send)
    relay = Relay(session, groups)
    face = Frontend(groups, session, relay, link.send, traces)
    supervisor = Supervisor(config, groups, make_group, face.changing)
    reload = Reload(path, config, supervisor)

    async def watch_signals(*, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        nonlocal status
        with anyio.open_signal_receiver(*_ENDING, *_RELOADING) as signals:
            task_status.started()
            async for number in signals:
                if number in _RELOADING:
                    reload.force()
                elif status:
                    for process in list(child.live):
                        process.kill()
                else:
                    status = 128 + number
                    link.ended()

    async def start_groups(running: TaskGroup) -> None:
        # What the client says first tells what upstreams may ask it for. One that says nothing gets its servers all the same.
        with anyio.move_on_after(SILENT_CLIENT):
            await session.awake.wait()
        await running.start(supervisor.run)
        running.start_soon(reload.run)

    async with anyio.create_task_group() as watching:
        await watching.start(watch_signals)
        async with anyio.create_task_group() as running:
            await link.open(face.receive, face.receive_oversized)
            running.start_soon(start_groups, running)
            await link.wait_ended()
            await face.close()
            if traces is not None:
                watching.start_soon(traces.close)
            running.cancel_scope.cancel()
        await guard.close()
        await link.close()
        watching.cancel_scope.cancel()
    trail.record("stop", began=began, status=status)
    return status
