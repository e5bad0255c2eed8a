"""The starts of the implementation in one check: the environment of each, its processes, and its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from conformance.model.client_table import with_port
from conformance.workbench.census import Starts
from conformance.workbench.launched import launch
from conformance.workbench.outcome import ProgramStart, added_variables
from conformance.workbench.timeline import shorten

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from conformance.model.sut import Sut
    from conformance.workbench.census import Census, ProcessRef
    from conformance.workbench.launched import Launched, StdoutListener
    from conformance.workbench.outcome import OnStart
    from conformance.workbench.sandbox import Sandbox
    from conformance.workbench.start_options import StartOptions
    from conformance.workbench.timeline import Timeline

#: seconds for the children of the implementation to end by themselves after it has gone
_CHILDREN_EXIT = 0.5


class Programs:
    """Starts the implementation, and ends it together with its children."""

    def __init__(self, sut: Sut, sandbox: Sandbox, timeline: Timeline, on_start: OnStart) -> None:
        #: every start so far, in order
        self.launched: list[Launched] = []
        #: the processes that outlived their program, as text
        self.leftovers: list[str] = []
        self._sut = sut
        self._sandbox = sandbox
        self._timeline = timeline
        self._on_start = on_start
        self._starts = Starts(sandbox.programs)
        #: what the check added to the environment of each start
        self._environment: dict[str, dict[str, str]] = {}

    async def launch(
        self,
        actor: str,
        command: Sequence[str],
        options: StartOptions,
        browser: Mapping[str, str],
        listener: StdoutListener,
        port: int | None,
    ) -> tuple[Launched, Census]:
        """Start the implementation; the program, and the census of its processes. The caller also calls `finish`.

        `command` is the whole command line; `browser` are the variables of the fake browser.
        """
        token = f"{self._sandbox.token}.{len(self.launched) + 1}"
        variables = self._sut.profile.client.env
        own = dict(zip(variables, with_port(list(variables.values()), port), strict=True))
        environment = self._sandbox.environment(
            token, {**self._sut.environment, **own}, dict(browser), dict(options.env)
        )
        self._environment[actor] = dict(options.env)
        directory = options.cwd or self._sandbox.cwd
        launched = launch(
            command,
            environment,
            directory,
            actor=actor,
            timeline=self._timeline,
            listener=listener,
            umask=options.umask,
        )
        self.launched.append(launched)
        processes = self._starts.census(token, launched.pid)
        redact = self._timeline.redact
        start = ProgramStart(
            launched.pid,
            tuple(map(redact, command)),
            {name: redact(value) for name, value in environment.items()},
            directory,
            self._sandbox.root,
            lambda: launched.code is not None,
        )
        try:
            await self._on_start(start)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self.finish(launched, processes, within=0.0)
            raise
        return launched, processes

    async def finish(self, launched: Launched, processes: Census, within: float) -> None:
        """End a program, which has `within` seconds after the end of its stdin, and then its children."""
        processes.alive()  # remembers the children before their parents go and leave them as orphans
        try:
            client = self._sut.profile.client
            await launched.finish(within, client.end_signal if client.listens else None)
            with anyio.move_on_after(_CHILDREN_EXIT):
                while processes.alive():  # noqa: ASYNC110 - they are not our children, so no event tells of their end
                    await anyio.sleep(0.02)
            for process in await processes.end_all():
                self._timeline.record("runner", "ended-leftover", str(process))
                self.note_leftovers([process])
        finally:
            launched.release()

    def added_variables(self) -> list[str]:
        """What the check added to the environment, and the starts that got it if not all did."""
        return [self._timeline.redact(shorten(line)) for line in added_variables(self._environment)]

    def note_leftovers(self, processes: Iterable[ProcessRef]) -> None:
        """Note that these processes outlived their program."""
        self.leftovers += [self._timeline.redact(shorten(str(process))) for process in processes]
