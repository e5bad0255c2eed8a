"""The workbench: everything that a check may use, and the guarantee that nothing of it outlives the check.

    async with open_workbench(sut, "CFG-002", keep=False) as workbench:
        upstream = workbench.stdio("a")
        async with workbench.proxy(upstream) as proxy:
            await proxy.handshake()
            await proxy.ready(upstream)

When the context has ended, also by an exception, every process of the check is dead (see `census` for the limits) and `evidence` is
complete. The sandbox is gone unless the caller keeps it. The teardown is bounded and shielded from cancellation.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import anyio

from conformance.errors import HarnessError
from conformance.model.client_table import with_port
from conformance.model.evidence import Evidence
from conformance.model.profile import PROMISES
from conformance.model.profile_file import DEFAULT_STARTS_WITHIN
from conformance.model.registry import REVISIONS
from conformance.workbench import wiretypes
from conformance.workbench.arrivals import Arrivals
from conformance.workbench.browsers import Browser
from conformance.workbench.census import Census, adopt_orphans
from conformance.workbench.command_lines import KNOWN, command_for, wrapped
from conformance.workbench.inbox import Inbox
from conformance.workbench.judgement import Judgement
from conformance.workbench.launched import StdoutListener
from conformance.workbench.launcher import random_name
from conformance.workbench.outcome import OnStart, StartOutcome, continue_at_once
from conformance.workbench.programs import Programs
from conformance.workbench.protected import ProtectedMockUpstream
from conformance.workbench.proxy import RunningProgram
from conformance.workbench.proxy_set import one_each
from conformance.workbench.remotes import RemoteMockUpstream
from conformance.workbench.sandbox import Sandbox
from conformance.workbench.session_judgement import judge_session
from conformance.workbench.single_proxy import SingleProxy
from conformance.workbench.start_options import StartOptions
from conformance.workbench.timeline import Timeline
from conformance.workbench.transports.choice import client_transport
from conformance.workbench.transports.ports import free_port, give_back
from conformance.workbench.upstream_factory import UpstreamFactory

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from pathlib import Path
    from typing import Unpack

    from conformance.model.sut import Sut
    from conformance.workbench.launched import Launched
    from conformance.workbench.mocks import MockUpstream
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.start_options import StartArguments
    from conformance.workbench.transports.base import ClientTransport
    from mock_servers.browser import User
    from mock_servers.script import Era

_TEARDOWN = 60.0


class Workbench(Judgement, UpstreamFactory):
    """The workbench of one check, made by `open_workbench`."""

    def __init__(self, sut: Sut, sandbox: Sandbox, on_start: OnStart = continue_at_once) -> None:
        super().__init__(sut.profile, sandbox, Census(sandbox.token, sandbox.root), Timeline())
        self.sut = sut
        self.evidence = Evidence()
        #: the version of the implementation, once it has told one
        self.version = ""
        #: whether the implementation sent a message to a client; None if the check never connected one
        self.answered: bool | None = None
        self._browsers: list[Browser] = []
        self._programs = Programs(sut, sandbox, self._timeline, on_start)

    def browser(self, *users: User, works: bool = True) -> Browser:
        """The browser of every proxy that the check starts from now on.

        The first of `users` sits at the first page that it opens, the second at the second, and so on; the last one stays. Without
        any, the user approves. With `works=False` every program that should open a page fails.
        """
        folder = self.sandbox.mocks / random_name()
        folder.mkdir()
        browser = Browser(folder, self.sandbox.token, users, works=works)
        self._browsers.append(browser)
        return browser

    def promises(self, name: str) -> bool:
        """Whether the profile has this one of `conformance.model.profile.PROMISES`, so that the check demands more than the source."""
        if name not in PROMISES:
            raise HarnessError(f"{name!r} is not one of the promises")
        return name in self.sut.profile.promises

    def has(self, family: str) -> bool:
        """Whether the implementation has the features of a family of requirements, as far as its profile says."""
        return family not in self.sut.profile.absent

    @property
    def reloads(self) -> bool:
        """Whether the implementation reads a changed configuration while it runs, as far as its profile says."""
        return self.has("RLD") and self.sut.profile.config.reload

    def can_set(self, member: str) -> bool:
        """Whether a server entry of the implementation has a place for a member, such as `timeout`."""
        profile = self.sut.profile
        return member not in profile.config.drop and (profile.single is None or member in KNOWN)

    def eras(self) -> tuple[Era, ...]:
        """The eras of the servers that a legacy client of the implementation can use, as far as its profile says."""
        profile = self.sut.profile
        return (
            ("legacy",) if profile.relay or profile.speaks(REVISIONS[-1]) is False else ("legacy", "modern")
        )

    @property
    def contacted_no_remote(self) -> bool:
        """Whether the check has servers behind a URL, and the implementation connected to none of them so far."""
        remotes = [upstream for upstream in self.upstreams if isinstance(upstream, RemoteMockUpstream)]
        return bool(remotes) and not any(remote.was_contacted for remote in remotes)

    @property
    def began_no_sign_in(self) -> bool:
        """Whether the check has servers that require a sign-in, and the implementation only saw their refusals so far."""
        protected = [upstream for upstream in self.upstreams if isinstance(upstream, ProtectedMockUpstream)]
        return bool(protected) and not any(one.elsewhere or one.bearers for one in protected)

    # The implementation

    @asynccontextmanager
    async def proxy(
        self, *upstreams: MockUpstream, **arguments: Unpack[StartArguments]
    ) -> AsyncIterator[Proxy]:
        """Start the implementation with these upstreams, with a configuration file, or with `args` instead of the file's path.

        `StartOptions` describes the other arguments. At the end of the block the workbench closes its stdin and, after `exit_within`
        seconds, ends it. Raises `ImplementationCrashed` when it was gone before although the check did not end it. Raises `Violation`
        for a message that the protocol does not allow, for a second answer to a request, and for an answer to none.
        """
        options = self._with_config(StartOptions(**arguments), *upstreams)
        served = upstreams or self.configured_in(options.config)
        if self.sut.profile.upstreams == "one" and len(served) > 1:
            self.must_have_no_settings(options.config)
            own = replace(options, config=None)
            async with one_each(
                lambda one: self._one_program((one,), self._with_config(own, one)), served
            ) as several:
                yield several
        else:
            async with self._one_program(served, options) as one:
                yield one

    def _with_config(self, options: StartOptions, *upstreams: MockUpstream) -> StartOptions:
        """The options with a configuration of these upstreams, unless they name a configuration or the arguments in its place."""
        needs_config = options.config is None and options.args is None
        return replace(options, config=self.config(*upstreams)) if needs_config else options

    @asynccontextmanager
    async def _one_program(
        self, upstreams: Sequence[MockUpstream], options: StartOptions
    ) -> AsyncIterator[SingleProxy]:
        """One running program that serves these upstreams, and its client."""
        if options.wire_types and wiretypes.official_types() is None:
            self.note("mcp-types is not installed: the shapes of messages are not judged")
        number = len(self._programs.launched) + 1
        actor = f"proxy-{number}" if number > 1 else "proxy"
        inbox = self.inbox(actor)
        port = free_port() if self.sut.profile.client.listens else None
        listener = inbox if port is None else StdoutListener()
        launched, processes = await self._launch(actor, options, listener, port)
        program = RunningProgram(launched, processes, options.config, upstreams)
        proxy, transport = self.client_of(program, inbox, port)
        try:
            async with proxy.answers.running(proxy):
                yield proxy
            proxy.must_still_serve()
            proxy.must_have_passed_on_begun_requests()
        finally:
            self._note_answers(proxy, inbox)
            with anyio.CancelScope(shield=True):
                await transport.close()
                await self._programs.finish(launched, processes, min(options.exit_within, self.sut.max_wait))
            give_back(port)
        judge_session(transport, inbox, options)

    def _note_answers(self, proxy: Proxy, inbox: Inbox) -> None:
        """Keep what the evidence says about all programs of the check: the version, and whether one of them sent a message."""
        self.version = self.version or proxy.version
        heard = any(line.messages for line in inbox.transcript.lines if not line.sent)
        self.answered = bool(self.answered) or heard

    def client_of(
        self, program: RunningProgram, inbox: Inbox, port: int | None
    ) -> tuple[SingleProxy, ClientTransport]:
        """A client of a running program, and its transport."""
        transport = client_transport(self.sut.profile, port, program.launched, inbox, self._timeline)
        proxy = SingleProxy(
            program.launched,
            inbox,
            self._timeline,
            program.processes,
            self.sut.profile,
            Arrivals(lambda: self.upstreams),
            self.sut.max_wait,
            transport,
            alone=len(program.upstreams) == 1,
            only=program.upstreams if self.sut.profile.upstreams == "one" else (),
        )
        proxy.program = program
        return proxy, transport

    def inbox(self, actor: str) -> Inbox:
        """An inbox for a client of the program that the evidence calls `actor`."""
        return Inbox(self._timeline, actor)

    @asynccontextmanager
    async def serving(
        self, *upstreams: MockUpstream, **arguments: Unpack[StartArguments]
    ) -> AsyncIterator[Proxy]:
        """Like `proxy`, after the handshake and with the tools of every upstream listed."""
        async with self.proxy(*upstreams, **arguments) as proxy:
            await proxy.handshake()
            await proxy.ready(*upstreams)
            yield proxy

    async def run_to_exit(
        self,
        *,
        args: Sequence[str] | None = None,
        config: Path | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        within: float | None = None,
    ) -> StartOutcome:
        """Start the implementation without a client and with stdin open, wait for its exit, and end it after `within` seconds.

        By default it gets five seconds, or as many as its profile allows for a start.
        """
        if within is None:
            within = max(DEFAULT_STARTS_WITHIN, self.sut.profile.starts_within)
        actor = f"run-{len(self._programs.launched) + 1}"
        port = free_port() if self.sut.profile.client.listens else None
        options = StartOptions(config=config, args=args, env=env or {}, cwd=cwd)
        launched, processes = await self._launch(actor, options, StdoutListener(), port)
        try:
            code = await launched.wait(within)
            stdout, stderr = bytes(launched.stdout.data), launched.stderr.data.decode(errors="replace")
            return StartOutcome(code, stdout, stderr, launched.lifetime, has_messages=port is None)
        finally:
            with anyio.CancelScope(shield=True):
                await self._programs.finish(launched, processes, within=0.0)
            give_back(port)

    async def _launch(
        self, actor: str, options: StartOptions, listener: StdoutListener, port: int | None
    ) -> tuple[Launched, Census]:
        await self.start_served()
        browser = self._browsers[-1].environment if self._browsers else {}
        config = options.config
        given = self.single_upstream(config) if self.sut.profile.single and config else None
        command = with_port([*command_for(self.sut, config, given), *(options.args or ())], port)
        command = wrapped(command, options.terminal, options.open_files, has_stderr=options.has_stderr)
        return await self._programs.launch(actor, command, options, browser, listener, port)

    # Evidence

    def note(self, text: str) -> None:
        """Add a remark to the evidence."""
        self._timeline.record("check", "note", text)

    def secret(self, value: str) -> None:
        """Keep this value out of all evidence."""
        self._timeline.secret(value)

    @property
    def stderr(self) -> str:
        """Everything that the starts of the implementation wrote to stderr. Not for evidence: it may hold secrets."""
        return "".join(launched.stderr.data.decode(errors="replace") for launched in self._programs.launched)

    async def close(self, keep: bool) -> None:
        """End every process, take the evidence, remove the sandbox."""
        try:
            for browser in self._browsers:
                browser.stop()
            await self._stop_remotes()
            self._programs.note_leftovers(await self.census.end_all())
            self.census.collect_dead(self.child_pids())
        finally:
            self.evidence = self._take_evidence(keep)
            if not keep:
                self.sandbox.remove()

    def _take_evidence(self, keep: bool) -> Evidence:
        journals = [
            *((f"upstream {upstream.name}", upstream.entries) for upstream in self._upstreams.values()),
            *(("browser", browser.entries) for browser in self._browsers),
        ]
        seen = [event for actor, entries in journals for event in self._timeline.journal(actor, entries)]
        launched = self._programs.launched
        stdout = b"".join(bytes(one.stdout.data[-65536:]) for one in launched)
        stderr = b"".join(bytes(one.stderr.data[-65536:]) for one in launched)
        return Evidence(
            events=self._timeline.events(seen),
            stdout_tail=self._timeline.tail(stdout),
            stderr_tail=self._timeline.tail(stderr),
            environment=self._programs.added_variables(),
            leftovers=self._programs.leftovers,
            sandbox=str(self.sandbox.root) if keep else None,
        )


@asynccontextmanager
async def open_workbench(
    sut: Sut, check_id: str, *, keep: bool, on_start: OnStart = continue_at_once
) -> AsyncIterator[Workbench]:
    """A workbench in a new sandbox. With `keep` the sandbox stays on disk, with an empty file named after the check, and the evidence
    names it.

    The workbench awaits `on_start` after each start of the implementation, before it sends anything.
    """
    adopt_orphans()
    wiretypes.official_types()  # here, because loading them in the middle of a check would distort its times
    workbench = Workbench(sut, Sandbox.create(), on_start)
    try:
        yield workbench
    finally:
        with anyio.CancelScope(shield=True), anyio.fail_after(_TEARDOWN):
            await workbench.close(keep)
            if keep:
                (workbench.sandbox.root / check_id).touch()
