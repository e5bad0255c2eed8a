"""The workbench: everything a check may use, and the promise that nothing of it survives.

    async with open_workbench(sut, "CFG-002", keep=False) as bench:
        upstream = bench.stdio("a")
        async with bench.proxy(upstream) as proxy:
            await proxy.handshake()
            await proxy.ready(upstream)

When the context ends, however it ends, every process of the check is dead (see `census` for the limits),
`evidence` is complete and the sandbox is removed unless it is to be kept. The teardown is shielded from
cancellation and bounded.
"""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import anyio

from conformance.model.evidence import Event, Evidence
from conformance.workbench import save_styles, wiretypes
from conformance.workbench.browsers import Browser
from conformance.workbench.census import Census, adopt_orphans
from conformance.workbench.inbox import Inbox
from conformance.workbench.judgement import Judgement
from conformance.workbench.launched import Launched, StdoutListener, launch
from conformance.workbench.mocks import MockUpstream, StdioMockUpstream
from conformance.workbench.outcome import OnStart, ProgramStart, StartOutcome, go_on
from conformance.workbench.protected import ProtectedMockUpstream
from conformance.workbench.proxy import Proxy
from conformance.workbench.remotes import RemoteMockUpstream, RemoteProcess, start_remote
from conformance.workbench.sandbox import Sandbox
from conformance.workbench.timeline import Timeline, shorten
from mock_servers.browser import User
from mock_servers.commands import LOOPBACK
from mock_servers.oauth_script import CLIENT, OAuth
from mock_servers.script import Script

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from conformance.model.sut import Sut
    from mock_servers.commands import RemoteKind
    from mock_servers.journal import Entry

#: how long children may take to end by themselves after the implementation has gone
_CHILDREN_EXIT = 0.5
_TEARDOWN = 60.0


class Workbench(Judgement):
    """Made by `open_workbench`, one for each check."""

    def __init__(self, sut: Sut, sandbox: Sandbox, on_start: OnStart = go_on) -> None:
        self.sut = sut
        self._on_start = on_start
        self.sandbox = sandbox
        self.census = Census(sandbox.token, sandbox.root)
        self.evidence = Evidence()
        #: what the implementation said of itself, once it has
        self.version = ""
        self._timeline = Timeline()
        self._upstreams: dict[Path, MockUpstream] = {}
        self._remotes: list[RemoteProcess] = []
        self._browsers: list[Browser] = []
        self._launched: list[Launched] = []
        self._leftovers: list[str] = []
        self._configs = 0
        self._folders = 0

    # Upstreams and configurations

    def stdio(
        self,
        name: str,
        script: Script | None = None,
        *,
        description: str | None = None,
        args: Sequence[str] = (),
        **fields: Any,
    ) -> StdioMockUpstream:
        """A scripted stdio upstream; `args` go after `--`, `fields` (env, enabled, timeout, ...) into its
        entry.
        """
        script = script or Script()
        folder = self._mock_folder(script)
        if description is not None:
            fields["description"] = description
        fields = {**self.required_fields("stdio"), **fields}
        upstream = StdioMockUpstream(name, script, folder, tuple(args), fields=fields)
        self._upstreams[folder] = upstream
        return upstream

    async def http(
        self,
        name: str,
        script: Script | None = None,
        *,
        kind: RemoteKind = "http",
        port: int = 0,
        host: str = LOOPBACK,
        tls: tuple[Path, Path] | None = None,
        **fields: Any,
    ) -> RemoteMockUpstream:
        """A scripted Streamable HTTP upstream, running when this returns; `fields` (headers, timeout, ...) go
        into its entry. `host` is one of the machine's addresses, `tls` the files of a certificate chain and its key.
        """
        script = script or Script()
        folder = self._mock_folder(script)
        process, facts = await self._start(kind, name, folder, port, host, tls)
        fields = {**self.required_fields(kind), **fields}
        upstream = RemoteMockUpstream(name, script, folder, kind, facts["url"], process, fields=fields)
        self._upstreams[folder] = upstream
        return upstream

    async def oauth(
        self,
        name: str,
        oauth: OAuth | None = None,
        script: Script | None = None,
        *,
        kind: Literal["oauth", "sse"] = "oauth",
        port: int = 0,
        tls: tuple[Path, Path] | None = None,
        **fields: Any,
    ) -> ProtectedMockUpstream:
        """A scripted upstream that wants a bearer, with its authorization server, both running, `tls` as in `http`. Its
        entry has a client id that the server knows, unless `fields` say otherwise; None leaves it out. Where the
        implementation can only register itself, the server offers that instead.
        """
        oauth = oauth or OAuth()
        if self.sut.profile.registers and "oauth_client_id" not in fields:
            oauth, fields = replace(oauth, registration=True), {"oauth_client_id": None, **fields}
        script = replace(script or Script(), oauth=oauth)
        folder = self._mock_folder(script)
        process, facts = await self._start(kind, name, folder, port, LOOPBACK, tls)
        fields = {**self.required_fields(kind), "oauth_client_id": CLIENT, **fields}
        named = {key: value for key, value in fields.items() if value is not None}
        place = facts["url"], process, facts["issuer"]
        upstream = ProtectedMockUpstream(name, script, folder, kind, *place, fields=named)
        self._upstreams[folder] = upstream
        return upstream

    def required_fields(self, kind: RemoteKind | Literal["stdio"]) -> Mapping[str, Any]:
        """What the implementation wants to see in an entry of this kind, by its profile."""
        transport = "http" if kind == "oauth" else kind
        return self.sut.profile.entries.get(transport, {})

    async def _start(
        self, kind: RemoteKind, name: str, folder: Path, port: int, host: str, tls: tuple[Path, Path] | None
    ) -> tuple[RemoteProcess, dict[str, str]]:
        environment = self.sandbox.environment(self.sandbox.token)
        process, facts = await start_remote(
            kind, name, folder, environment, self._timeline, self.census, port=port, host=host, tls=tls
        )
        self._remotes.append(process)
        return process, facts

    def browser(self, *users: User, works: bool = True) -> Browser:
        """The browser of every proxy that is started from now on, and who sits before it at its first page, the
        second, ...; the last one stays, and none means somebody who approves. `works=False`: each opener fails.
        """
        folder = self.sandbox.mocks / f"browser-{len(self._browsers) + 1}"
        folder.mkdir()
        browser = Browser(folder, self.sandbox.token, users, works=works)
        self._browsers.append(browser)
        return browser

    async def sse(self, name: str, script: Script | None = None, **fields: Any) -> RemoteMockUpstream:
        """A scripted HTTP+SSE upstream; its entry has `type: "sse"`. Otherwise as `http`."""
        return await self.http(name, script, kind="sse", **fields)

    async def collector(self, name: str = "collector", *, host: str = LOOPBACK) -> RemoteMockUpstream:
        """Another origin, where nothing should arrive: `.http` says what did."""
        return await self.http(name, kind="collector", host=host)

    def _mock_folder(self, script: Script) -> Path:
        self._folders += 1  # not the number of upstreams: several may be on their way
        folder = self.sandbox.mocks / f"{self._folders}"
        folder.mkdir()
        script.save(folder / "script.json")
        return folder

    def config(
        self,
        *upstreams: MockUpstream,
        extra: Mapping[str, Any] | None = None,
        name: str = "config.json",
        folder: Path | None = None,
    ) -> Path:
        """Write a configuration with these upstreams, `extra` at its root, into a new folder or the given
        one.
        """
        return self.config_text(_configuration(*upstreams, extra=extra), name=name, folder=folder)

    def save(
        self,
        config: Path,
        *upstreams: MockUpstream,
        extra: Mapping[str, Any] | None = None,
        how: Callable[[Path, bytes], None] = save_styles.in_place,
    ) -> None:
        """Change a configuration that is in use to one with these upstreams, and with `extra` at its root."""
        how(config, _configuration(*upstreams, extra=extra).encode())

    def config_text(
        self, text: str | bytes, *, name: str = "config.json", folder: Path | None = None
    ) -> Path:
        """Write exactly this as a configuration."""
        if folder is None:
            self._configs += 1
            folder = self.sandbox.configs / f"{self._configs}"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    # The implementation

    @asynccontextmanager
    async def proxy(
        self,
        *upstreams: MockUpstream,
        config: Path | None = None,
        args: Sequence[str] | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        umask: int = -1,
        exit_within: float = 5.0,
        wire_types: bool = True,
    ) -> AsyncIterator[Proxy]:
        """Start the implementation with these upstreams, a configuration file, or `args` in place of its
        path.

        At the end of the block its stdin is closed; the proxy has `exit_within` seconds to end before the workbench ends it.
        Raises `ImplementationCrashed` when it had gone before although the check did not end it, and `Violation`
        when one of its messages is not of the protocol; `wire_types=False` is for upstreams that are scripted
        to make it pass on such messages.
        """
        if config is None and args is None:
            config = self.config(*upstreams)
        if wire_types and wiretypes.official_types() is None:
            self.note("mcp-types is not installed: the shapes of messages are not judged")
        actor = f"proxy-{len(self._launched) + 1}" if self._launched else "proxy"
        inbox = Inbox(self._timeline, actor)
        launched, processes = await self._launch(actor, config, args, env, cwd, umask, inbox)
        proxy = Proxy(
            launched,
            inbox,
            self._timeline,
            processes,
            self.sut.profile,
            self._tool_names,
            self.sut.max_wait,
        )
        try:
            yield proxy
            proxy.must_still_serve()
        finally:
            self.version = self.version or proxy.version
            with anyio.CancelScope(shield=True):
                await self._finish(launched, processes, min(exit_within, self.sut.max_wait))
        if wire_types:
            wiretypes.judge(inbox.transcript)

    @asynccontextmanager
    async def serving(self, *upstreams: MockUpstream, **start: Any) -> AsyncIterator[Proxy]:
        """A proxy as `proxy` starts it, after the handshake and with the tools of every upstream at hand."""
        async with self.proxy(*upstreams, **start) as proxy:
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
        within: float = 5.0,
    ) -> StartOutcome:
        """Start the implementation without a client, stdin open, and wait for its end; after `within` it is
        ended.
        """
        actor = f"run-{len(self._launched) + 1}"
        launched, processes = await self._launch(actor, config, args, env, cwd, -1, StdoutListener())
        try:
            code = await launched.wait(within)
            stdout, stderr = bytes(launched.stdout.data), launched.stderr.data.decode(errors="replace")
            return StartOutcome(code, stdout, stderr, launched.lifetime)
        finally:
            with anyio.CancelScope(shield=True):
                await self._finish(launched, processes, within=0.0)

    async def _launch(
        self,
        actor: str,
        config: Path | None,
        args: Sequence[str] | None,
        env: Mapping[str, str] | None,
        cwd: Path | None,
        umask: int,
        listener: StdoutListener,
    ) -> tuple[Launched, Census]:
        token = f"{self.sandbox.token}.{len(self._launched) + 1}"
        browser = self._browsers[-1].environment if self._browsers else {}
        command = [*self.sut.command_for(config), *(args or ())]
        environment = self.sandbox.environment(token, self.sut.environment, browser, dict(env or {}))
        directory = cwd or self.sandbox.cwd
        launched = launch(
            command,
            env=environment,
            cwd=directory,
            actor=actor,
            timeline=self._timeline,
            listener=listener,
            umask=umask,
        )
        self._launched.append(launched)
        processes = Census(token)
        redact = self._timeline.redact
        start = ProgramStart(
            launched.pid,
            tuple(map(redact, command)),
            {name: redact(value) for name, value in environment.items()},
            directory,
            self.sandbox.root,
            lambda: launched.code is not None,
        )
        try:
            await self._on_start(start)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self._finish(launched, processes, within=0.0)
            raise
        return launched, processes

    async def _finish(self, launched: Launched, processes: Census, within: float) -> None:
        processes.alive()  # remember who is there before parents go and leave orphans
        try:
            await launched.finish(within)
            with anyio.move_on_after(_CHILDREN_EXIT):
                while processes.alive():  # noqa: ASYNC110 - they are not our children, nothing tells us
                    await anyio.sleep(0.02)
            for process in await processes.end_all():
                self._timeline.record("runner", "ended-leftover", str(process))
                self._leftovers.append(self._timeline.redact(shorten(str(process))))
        finally:
            launched.release()

    def _tool_names(self, name: str) -> list[str]:
        """The tools of the upstream that was made last under this name."""
        named = [upstream for upstream in self._upstreams.values() if upstream.name == name]
        return named[-1].tool_names if named else []

    # What goes into the report

    def note(self, text: str) -> None:
        """Add a remark to the evidence."""
        self._timeline.record("check", "note", text)

    def secret(self, value: str) -> None:
        """Keep this value out of all evidence."""
        self._timeline.secret(value)

    @property
    def stderr(self) -> str:
        """What every start of the implementation has written to stderr, secrets included: not for evidence."""
        return "".join(launched.stderr.data.decode(errors="replace") for launched in self._launched)

    # The end

    async def close(self, keep: bool) -> None:
        """End every process, take the evidence, remove the sandbox."""
        try:
            for browser in self._browsers:
                browser.stop()
            for remote in self._remotes:
                await remote.stop()
            leftovers = await self.census.end_all()
            self.census.collect_dead({pid for upstream in self._upstreams.values() for pid in upstream.pids})
            self._leftovers += [self._timeline.redact(shorten(str(process))) for process in leftovers]
        finally:
            self.evidence = self._take_evidence(keep)
            if not keep:
                self.sandbox.remove()

    def _take_evidence(self, keep: bool) -> Evidence:
        journals = [
            *((f"upstream {upstream.name}", upstream.entries) for upstream in self._upstreams.values()),
            *(("browser", browser.entries) for browser in self._browsers),
        ]
        seen = [event for actor, entries in journals for event in self._events_of(actor, entries)]
        stdout = b"".join(bytes(launched.stdout.data[-65536:]) for launched in self._launched)
        stderr = b"".join(bytes(launched.stderr.data[-65536:]) for launched in self._launched)
        return Evidence(
            events=self._timeline.events(seen),
            stdout_tail=self._timeline.tail(stdout),
            stderr_tail=self._timeline.tail(stderr),
            leftovers=self._leftovers,
            sandbox=str(self.sandbox.root) if keep else None,
        )

    def _events_of(self, actor: str, entries: Sequence[Entry]) -> Iterator[Event]:
        for entry in entries[:500]:
            # The environment is long, and its values may be anybody's secrets.
            data = {key: value for key, value in entry.data.items() if key not in ("env", "fds", "limits")}
            text = (entry.text if entry.event in ("line", "sent") else "") or (
                json.dumps(data, ensure_ascii=False) if data else ""
            )
            at_ms = round((entry.t - self._timeline.origin) * 1000, 1)
            shown = shorten(self._timeline.redact(f"pid {entry.pid} {text}"))
            yield Event(at_ms, actor, entry.event, shown)


def _configuration(*upstreams: MockUpstream, extra: Mapping[str, Any] | None = None) -> str:
    servers = {upstream.name: upstream.entry for upstream in upstreams}
    return json.dumps({"mcpServers": servers, **(extra or {})}, indent=1, ensure_ascii=False)


@asynccontextmanager
async def open_workbench(
    sut: Sut, check_id: str, *, keep: bool, on_start: OnStart = go_on
) -> AsyncIterator[Workbench]:
    """A workbench in a new sandbox; `keep` leaves the sandbox on disk and names it in the evidence. `on_start` is
    awaited after each start of the implementation, before anything is sent to it.
    """
    adopt_orphans()
    wiretypes.official_types()  # here, because loading them in the middle of a check would spoil its times
    workbench = Workbench(sut, Sandbox.create(check_id.lower()), on_start)
    try:
        yield workbench
    finally:
        with anyio.CancelScope(shield=True), anyio.fail_after(_TEARDOWN):
            await workbench.close(keep)
