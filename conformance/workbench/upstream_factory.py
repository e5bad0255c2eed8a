"""Makes the scripted upstreams of one check, and the configurations that name them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, cast

from conformance.errors import NotApplicable
from conformance.workbench import configurations, save_styles
from conformance.workbench.deadlines import extended
from conformance.workbench.launcher import random_name, write_launcher
from conformance.workbench.mocks import MockUpstream, StdioMockUpstream
from conformance.workbench.protected import ProtectedMockUpstream
from conformance.workbench.remotes import RemoteMockUpstream, RemoteProcess, start_remote
from conformance.workbench.served import ServedUpstream, must_be_no_process, must_mean_the_same
from conformance.workbench.transports.ports import free_port, give_back
from mock_servers.commands import LOOPBACK
from mock_servers.lifecycle import MAX_LIFE
from mock_servers.oauth_script import CLIENT, OAuth
from mock_servers.script import Script

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from conformance.model.profile import Profile
    from conformance.workbench.census import Census
    from conformance.workbench.sandbox import Sandbox
    from conformance.workbench.timeline import Timeline
    from mock_servers.commands import RemoteKind


class UpstreamFactory:
    """The upstreams and configurations of one workbench, in its sandbox.

    `fields` are members of the server entry (env, headers, timeout, ...); they replace those that the profile of the
    implementation requires.
    """

    def __init__(self, profile: Profile, sandbox: Sandbox, census: Census, timeline: Timeline) -> None:
        self.sandbox = sandbox
        self.census = census
        self._profile = profile
        self._timeline = timeline
        self._upstreams: dict[Path, MockUpstream] = {}
        self._remotes: list[RemoteProcess] = []
        #: by folder: the port of an upstream that starts with the program
        self._waiting: dict[Path, int] = {}
        self._served_ports: list[int] = []
        #: by configuration file: the upstreams in it
        self._configured: dict[Path, tuple[MockUpstream, ...]] = {}
        #: the configuration files with more than servers
        self._with_settings: set[Path] = set()

    # Upstreams

    def stdio(
        self,
        name: str,
        script: Script | None = None,
        *,
        description: str | None = None,
        args: Sequence[str] = (),
        **fields: Any,
    ) -> StdioMockUpstream:
        """A scripted stdio upstream. Its command line ends with `args`.

        A program without stdio servers gets the same script over HTTP. Raises `NotApplicable` if that means something else.
        """
        script = script or Script()
        if "STD" in self._profile.absent and self.has_remotes:
            if description is not None:
                fields["description"] = description
            return self._served(name, script, {"args": args} if args else {}, fields)
        folder = self._mock_folder(script)
        if description is not None:
            fields["description"] = description
        fields = {**self.required_fields("stdio"), **fields}
        program = write_launcher(self.sandbox.programs, folder, max_life=extended(MAX_LIFE))
        upstream = StdioMockUpstream(name, script, folder, program, tuple(args), fields=fields)
        self._upstreams[folder] = upstream
        return upstream

    def _served(
        self, name: str, script: Script, process: Mapping[str, Any], fields: Mapping[str, Any]
    ) -> StdioMockUpstream:
        must_be_no_process({**process, **fields})
        must_mean_the_same(script)
        kind = self.remote_kind
        folder = self._mock_folder(script)
        port = free_port()
        url = f"http://{LOOPBACK}:{port}{script.http.path}"
        waiting = RemoteProcess(None)
        upstream = ServedUpstream(
            name, script, folder, kind, url, waiting, fields={**self.required_fields(kind), **fields}
        )
        self._upstreams[folder] = upstream
        self._waiting[folder] = port
        # A check uses it as a stdio upstream; what only that one has raises `NotApplicable`.
        return cast("StdioMockUpstream", upstream)

    async def start_served(self) -> None:
        """Start the upstreams that a program without stdio servers gets over HTTP, if they do not run yet."""
        while self._waiting:
            folder, port = self._waiting.popitem()
            upstream = self._upstreams[folder]
            assert isinstance(upstream, ServedUpstream)
            started, _ = await self._start(upstream.kind, upstream.name, folder, port, LOOPBACK, None)
            upstream.process.take_over(started)
            self._served_ports.append(port)

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
        """A scripted Streamable HTTP upstream, already listening.

        `host` is an address of this machine; `tls` are the files of a certificate chain and its key. Raises `NotApplicable` if the
        profile declares the transport absent.
        """
        self._must_have(kind.upper())
        script = script or Script()
        folder = self._mock_folder(script)
        process, facts = await self._start(kind, name, folder, port, host, tls)
        fields = {**self.required_fields(kind), **fields}
        upstream = RemoteMockUpstream(name, script, folder, kind, facts["url"], process, fields=fields)
        self._upstreams[folder] = upstream
        return upstream

    @property
    def has_remotes(self) -> bool:
        """Whether the implementation has servers behind a URL, as far as its profile says."""
        return not {"HTTP", "SSE"} <= self._profile.absent.keys()

    @property
    def remote_kind(self) -> Literal["http", "sse"]:
        """The transport of a server behind a URL, where the check leaves it open: HTTP+SSE only if Streamable HTTP is absent."""
        return "sse" if "HTTP" in self._profile.absent and "SSE" not in self._profile.absent else "http"

    async def remote(
        self,
        name: str,
        script: Script | None = None,
        *,
        tls: tuple[Path, Path] | None = None,
        **fields: Any,
    ) -> RemoteMockUpstream:
        """A scripted upstream behind a URL, with a transport that the implementation has. Otherwise like `http`."""
        return await self.http(name, script, kind=self.remote_kind, tls=tls, **fields)

    async def oauth(
        self,
        name: str,
        oauth: OAuth | None = None,
        script: Script | None = None,
        *,
        kind: Literal["oauth", "sse"] | None = None,
        port: int = 0,
        host: str = LOOPBACK,
        tls: tuple[Path, Path] | None = None,
        **fields: Any,
    ) -> ProtectedMockUpstream:
        """A scripted upstream that requires a bearer token, and its authorization server, both already listening at `host`.

        Without `oauth`, the script says how they behave.

        Without `kind`, its transport is one that the implementation has.

        Its entry names a client id that the server knows; `oauth_client_id=None` leaves the id out. For an implementation that
        can only register itself, the entry has no client id and the server offers registration. Raises `NotApplicable` if the
        profile declares sign-ins or the transport absent.
        """
        self._must_have("OAUTH")
        kind = kind or ("sse" if self.remote_kind == "sse" else "oauth")
        self._must_have(kind.upper())
        oauth = oauth or (script.oauth if script is not None else None) or OAuth()
        if self._profile.registers and "oauth_client_id" not in fields:
            oauth, fields = replace(oauth, registration=True), {"oauth_client_id": None, **fields}
        script = replace(script or Script(), oauth=oauth)
        folder = self._mock_folder(script)
        process, facts = await self._start(kind, name, folder, port, host, tls)
        fields = {**self.required_fields(kind), "oauth_client_id": CLIENT, **fields}
        present = {key: value for key, value in fields.items() if value is not None}
        place = facts["url"], process, facts["issuer"]
        upstream = ProtectedMockUpstream(name, script, folder, kind, *place, fields=present)
        self._upstreams[folder] = upstream
        return upstream

    async def sse(self, name: str, script: Script | None = None, **fields: Any) -> RemoteMockUpstream:
        """A scripted HTTP+SSE upstream, whose entry has `type: "sse"`. Otherwise like `http`."""
        return await self.http(name, script, kind="sse", **fields)

    async def collector(self, name: str = "collector", *, host: str = LOOPBACK) -> RemoteMockUpstream:
        """Another origin, which no request should reach; `.http` lists the requests that do."""
        return await self.http(name, kind="collector", host=host)

    def required_fields(self, kind: RemoteKind | Literal["stdio"]) -> Mapping[str, Any]:
        """The members that the implementation requires in an entry of this kind, by its profile."""
        transport = "http" if kind == "oauth" else kind
        return self._profile.entries.get(transport, {})

    def _must_have(self, family: str) -> None:
        reason = self._profile.absent.get(family)
        if reason is not None:
            raise NotApplicable(
                f"the check needs the family {family}, which the profile declares absent: {reason}"
            )

    async def _start(
        self, kind: RemoteKind, name: str, folder: Path, port: int, host: str, tls: tuple[Path, Path] | None
    ) -> tuple[RemoteProcess, dict[str, str]]:
        environment = self.sandbox.environment(self.sandbox.token)
        process, facts = await start_remote(
            kind, name, folder, environment, self._timeline, self.census, port=port, host=host, tls=tls
        )
        self._remotes.append(process)
        return process, facts

    def _mock_folder(self, script: Script) -> Path:
        folder = self.sandbox.mocks / random_name()
        folder.mkdir()
        replace(script, receipts=True).save(folder / "script.json")
        return folder

    @property
    def upstreams(self) -> list[MockUpstream]:
        """Every upstream so far, the newest last. Several may have the same name."""
        return [*self._upstreams.values()]

    def child_pids(self) -> set[int]:
        """The pids that the journals name."""
        upstreams = [one for one in self._upstreams.values() if not isinstance(one, ServedUpstream)]
        return {pid for upstream in upstreams for pid in upstream.pids}

    async def _stop_remotes(self) -> None:
        for remote in self._remotes:
            await remote.stop()
        for port in (*self._waiting.values(), *self._served_ports):
            give_back(port)

    # Configurations

    def config(
        self,
        *upstreams: MockUpstream,
        extra: Mapping[str, Any] | None = None,
        name: str = "config.json",
        folder: Path | None = None,
    ) -> Path:
        """Write a configuration with these upstreams, and `extra` at its root, into a new folder or into `folder`."""
        path = self._write(self._configuration(*upstreams, extra=extra), name, folder)
        self._note(path, upstreams, extra)
        return path

    def save(
        self,
        config: Path,
        *upstreams: MockUpstream,
        extra: Mapping[str, Any] | None = None,
        how: Callable[[Path, bytes], None] = save_styles.in_place,
    ) -> None:
        """Replace the content of a configuration that a proxy may be using; arguments as in `config`."""
        self._must_read_again(config)
        self._note(config, upstreams, extra)
        how(config, self._configuration(*upstreams, extra=extra).encode())

    def configured_in(self, config: Path | None) -> tuple[MockUpstream, ...]:
        """The upstreams in a configuration, as `config` or `save` wrote it last."""
        return self._configured.get(config, ()) if config is not None else ()

    def config_text(
        self, text: str | bytes, *, name: str = "config.json", folder: Path | None = None
    ) -> Path:
        """Write exactly this text as a configuration; a program with another form of it gets the same in that form."""
        if folder is not None:
            self._must_read_again(folder / name)
        return self._write(configurations.translated(self._profile.config, text), name, folder)

    def must_have_no_settings(self, config: Path | None) -> None:
        """Raise `NotApplicable` for a configuration with more than servers, of which each process would get a part."""
        if config in self._with_settings:
            raise NotApplicable("the check has settings for several upstreams, and the program serves one")

    def single_upstream(self, config: Path) -> MockUpstream:
        """The upstream in a configuration, for a program that has no such file. Raises `NotApplicable` unless it is one."""
        upstreams = self.configured_in(config)
        if len(upstreams) != 1 or config in self._with_settings:
            raise NotApplicable(
                "the check needs a configuration file, and the program gets one upstream on its command line"
            )
        return upstreams[0]

    def _write(self, text: str | bytes, name: str, folder: Path | None) -> Path:
        if folder is None:
            folder = self.sandbox.configs / random_name()
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / name
        if self._profile.config.format == "yaml":
            path = path.with_suffix(".yaml")
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    def _configuration(self, *upstreams: MockUpstream, extra: Mapping[str, Any] | None = None) -> str:
        servers = {upstream.name: upstream.entry for upstream in upstreams}
        if self._profile.single is not None:
            return json.dumps(
                servers
            )  # no program reads it; the words of the command line decide what is possible
        return configurations.rendered(self._profile.config, servers, extra)

    def _must_read_again(self, config: Path) -> None:
        if config in self._configured and not self._profile.config.reload:
            raise NotApplicable("the check changes the configuration, and the program does not read it again")

    def _note(self, path: Path, upstreams: tuple[MockUpstream, ...], extra: Mapping[str, Any] | None) -> None:
        self._configured[path] = upstreams
        if extra:
            self._with_settings.add(path)
