"""The supervisor: it owns the set of groups, and applies changes of the configuration.

An unchanged group stays untouched. A change of timeouts, features or description applies at once. For a change of the transport, a new
group starts beside the old one, which serves until the new one is ready or has failed. Then the old group finishes its calls, in a bounded
time (``Group.finish_calls``), and ends. A removed group ends at once, with every predecessor. Groups end in the background, each within a
bounded time (``process.child``).

The frontend shares ``groups``. The supervisor changes it in one turn of the event loop, inside ``changing``, which notifies the
client.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import anyio
import msgspec
from anyio.abc import TaskGroup, TaskStatus

from dynamic_mcp.config.diff import Diff
from dynamic_mcp.config.model import Config, Server
from dynamic_mcp.groups.group import Group


class RunningGroup:
    """A group, the scope that ends it, and the event of its end."""

    def __init__(self, group: Group) -> None:
        self.group = group
        self.scope = anyio.CancelScope()
        self.over = anyio.Event()

    async def run(self) -> None:
        try:
            with self.scope:
                await self.group.run()
        finally:
            self.over.set()


class Supervisor:
    """Starts, replaces and ends groups."""

    def __init__(
        self,
        config: Config,
        groups: dict[str, Group],
        make: Callable[[Server], Group],
        changing: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._groups = groups
        self._make = make
        self._changing = changing
        #: groups that will replace the group with their name
        self._replacements: dict[str, Group] = {}
        #: every group that runs, also before and after its time in ``groups``
        self._running: dict[Group, RunningGroup] = {}
        self._tasks: TaskGroup | None = None
        self._paused = False
        groups.update((server.name, make(server)) for server in config.servers)

    def set_paused(self, paused: bool) -> None:
        """Stop reading from the upstreams, because the client does not read; with False, read again."""
        self._paused = paused
        for group in self._running:
            group.set_paused(paused)

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Run the groups until cancelled. Afterwards every upstream is closed."""
        async with anyio.create_task_group() as self._tasks:
            for group in self._groups.values():
                self._start(group)
            task_status.started()
            await anyio.sleep_forever()

    def apply(self, config: Config, changes: Diff) -> None:
        """Use another configuration, with these changes. Only valid while ``run`` runs."""
        with self._changing():
            for server in changes.removed:
                self._remove(server.name)
            for server in changes.changed:
                self._change(server)
            for server in changes.added:
                self._groups[server.name] = group = self._make(server)
                self._start(group)
            ordered = [(server.name, self._groups[server.name]) for server in config.servers]
            self._groups.clear()
            self._groups.update(ordered)

    def _start(self, group: Group) -> None:
        assert self._tasks is not None
        group.set_paused(self._paused)
        self._running[group] = running = RunningGroup(group)
        self._tasks.start_soon(self._run, running)

    async def _run(self, running: RunningGroup) -> None:
        try:
            await running.run()
        finally:
            del self._running[running.group]

    def _remove(self, name: str) -> None:
        """End the group of this name, and with it a replacement that starts and predecessors that finish their calls."""
        del self._groups[name]
        self._replacements.pop(name, None)
        for group, running in self._running.items():
            if group.name == name:
                group.remove()
                running.scope.cancel()

    def _change(self, server: Server) -> None:
        group, replacement = self._groups[server.name], self._replacements.get(server.name)
        if replacement is not None and replacement.server.transport == server.transport:
            replacement.define(server)
        else:
            self._drop_replacement(server.name)
            if group.server.transport != server.transport:
                self._replace(group, server)
        group.define(msgspec.structs.replace(server, transport=group.server.transport))

    def _drop_replacement(self, name: str) -> None:
        if (replacement := self._replacements.pop(name, None)) is not None:
            replacement.remove()
            self._running[replacement].scope.cancel()

    def _replace(self, old: Group, server: Server) -> None:
        assert self._tasks is not None
        self._replacements[server.name] = new = self._make(server)
        self._start(new)
        self._tasks.start_soon(self._hand_over, old, new)

    async def _hand_over(self, old: Group, new: Group) -> None:
        running = self._running[old]
        if old.upstream is not None:
            new.begin()
            await new.wait_first_attempt()
        if self._replacements.get(new.name) is not new:
            return
        del self._replacements[new.name]
        with self._changing():
            self._groups[new.name] = new
            old.hand_over(new)
        await old.finish_calls()
        running.scope.cancel()
        await running.over.wait()
        # If both groups needed the same port, for example, the new one succeeds only now.
        new.retry_now()
