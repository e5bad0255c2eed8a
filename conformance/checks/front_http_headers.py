"""FRONT: headers that a program must judge before it serves a request over Streamable HTTP: the origin, the version, the session.

The checks send requests of their own in a session of their own, beside the client. A refused call must not reach the upstream.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

from conformance.checks import check
from conformance.checks.front_modern import COMPLETE_META
from conformance.errors import NotApplicable
from conformance.model.registry import MODERN
from conformance.workbench.endpoint import INITIALIZE, Endpoint, needs_streamable_http
from conformance.workbench.transports.headers import SESSION, VERSION, modern_headers
from mock_servers.answers import VERSION_KEY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Mapping

    from conformance.workbench.endpoint import EndpointReply
    from conformance.workbench.mocks import StdioMockUpstream
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.transcript import Json
    from conformance.workbench.workbench import Workbench

#: other hosts, two of which begin as names of this machine do; `.example` is reserved (RFC 2606, section 3)
FOREIGN = ("attacker.example", "localhost.attacker.example", "127.0.0.1.attacker.example")
#: the first revision that names the status of a refused origin
FIRST_WITH_403 = "2025-11-25"
#: versions that no program speaks
TOO_NEW = "2099-01-01"
UNKNOWN_VERSIONS = ("1999-01-01", "not-a-version", TOO_NEW)
#: arguments by which the journal of the upstream tells calls apart
SERVED, REFUSED = "is served", "is refused"
#: for a method that the program offers to no one
NOT_OFFERED = 405
#: a notification that has no effect
CANCELLED: Json = {"method": "notifications/cancelled", "params": {"requestId": "no such request"}}


class RightRefusal(NamedTuple):
    """How a program may refuse a request."""

    name: str
    statuses: Collection[int]


BAD_REQUEST = RightRefusal("400", (400,))
FORBIDDEN = RightRefusal("403", (403,))
ANY_REFUSAL = RightRefusal("a refusal", range(400, 500))


class ProbedSession:
    """A session of the check, whose requests can have wrong headers."""

    def __init__(
        self, workbench: Workbench, proxy: Proxy, upstream: StdioMockUpstream, headers: dict[str, str]
    ) -> None:
        self.endpoint = Endpoint(workbench, proxy)
        #: the headers of a right request
        self.headers = headers
        #: the client beside it
        self.other = proxy
        self._workbench = workbench
        self._upstream = upstream

    async def call(self, headers: Mapping[str, str], argument: str = REFUSED) -> EndpointReply:
        """Call a tool with exactly these headers."""
        params = self.other.call_params(self._upstream.name, "echo", {"x": argument})
        return await self.endpoint.post({"id": 7, "method": "tools/call", "params": params}, headers)

    async def try_call(self, headers: Mapping[str, str]) -> tuple[bool, EndpointReply]:
        """Whether a call with these headers has a result, and reaches the upstream; and its reply."""
        before = len(self._came(SERVED))
        reply = await self.call(headers, SERVED)
        return reply.has_result and len(self._came(SERVED)) > before, reply

    def _came(self, argument: str) -> list[str]:
        """The calls with this argument that the upstream has read."""
        return [call.text for call in self._upstream.requests("tools/call") if argument in call.text]

    async def must_be_served(self) -> None:
        """Raise `Violation` unless a call with the right headers succeeds."""
        is_served, reply = await self.try_call(self.headers)
        self._workbench.expect(is_served, "a call with the right headers succeeds", str(reply))

    async def must_refuse(self, headers: Mapping[str, str], refusal: RightRefusal) -> None:
        """Raise `Violation` unless a call, a notification, GET and DELETE with these headers are refused."""
        replies = {
            "a call": await self.call(headers),
            "a notification": await self.endpoint.post(CANCELLED, headers),
            "GET": await self.endpoint.request("GET", headers),
            "DELETE": await self.endpoint.request("DELETE", headers),
        }
        for what, reply in replies.items():
            if reply.status != NOT_OFFERED or what not in ("GET", "DELETE"):
                self.must_be(refusal, what, reply)

    def must_be(self, refusal: RightRefusal, what: str, reply: EndpointReply) -> None:
        """Raise `Violation` unless the reply to what was sent is such a refusal."""
        self._workbench.expect(reply.status in refusal.statuses, f"{refusal.name} for {what}", str(reply))

    async def modern(self, version: str, headers: Mapping[str, str] | None = None) -> EndpointReply:
        """List the tools by a request of the modern era that names this version in its body and its headers."""
        meta = {**COMPLETE_META, VERSION_KEY: version}
        message: Json = {"id": 8, "method": "tools/list", "params": {"_meta": meta}}
        return await self.endpoint.post(message, {**modern_headers(message, {}), **(headers or {})})

    async def is_modern(self) -> bool:
        """Whether the program serves requests of 2026-07-28."""
        return (await self.modern(MODERN)).has_result

    async def must_be_untouched(self) -> None:
        """Raise `Violation` if a refused call has reached the upstream, or a refused request has ended the session."""
        with self._workbench.case("after the refusals"):
            await self.must_be_served()
        self.must_have_passed_nothing_on()

    def must_have_passed_nothing_on(self) -> None:
        """Raise `Violation` if a refused call has reached the upstream."""
        came = self._came(REFUSED)
        self._workbench.expect(not came, "no refused call reaches the upstream", came)


@asynccontextmanager
async def session_of_its_own(workbench: Workbench) -> AsyncIterator[ProbedSession]:
    """A session beside that of the client, in which a call succeeds. Raises `NotApplicable` for other transports."""
    needs_streamable_http(workbench)
    upstream = workbench.stdio("a")
    async with workbench.serving(upstream) as proxy:
        with workbench.precondition("a session of the check"):
            headers = await Endpoint(workbench, proxy).begin()
            session = ProbedSession(workbench, proxy, upstream, headers)
            await session.must_be_served()
        yield session


@check("FRONT-161", timeout=40)
async def requests_of_foreign_pages_are_refused(workbench: Workbench) -> None:
    async with session_of_its_own(workbench) as session:
        endpoint = session.endpoint
        # The later revisions name the status. The earlier ones only demand that the program validates the header.
        refusal = FORBIDDEN if endpoint.revision >= FIRST_WITH_403 else ANY_REFUSAL
        for origin in (f"{scheme}://{host}" for host in FOREIGN for scheme in ("http", "https")):
            with workbench.case(f"Origin: {origin}"):
                session.must_be(refusal, "`initialize`", await endpoint.post(INITIALIZE, {"Origin": origin}))
                await session.must_refuse({**session.headers, "Origin": origin}, refusal)
        with workbench.case(
            "a page whose name leads to this machine (Host and Origin are those of the page)"
        ):
            # The Host is wrong too, so the refusal can be one for that, such as 421.
            rebound = {"Host": FOREIGN[0], "Origin": f"http://{FOREIGN[0]}"}
            session.must_be(ANY_REFUSAL, "`initialize`", await endpoint.post(INITIALIZE, rebound))
            await session.must_refuse({**session.headers, **rebound}, ANY_REFUSAL)
        if await session.is_modern():
            for host in FOREIGN:
                with workbench.case(f"a request of {MODERN}, Origin: http://{host}"):
                    reply = await session.modern(MODERN, {"Origin": f"http://{host}"})
                    session.must_be(FORBIDDEN, "tools/list", reply)
        await session.must_be_untouched()


@check("FRONT-162", timeout=40)
async def unknown_versions_are_refused(workbench: Workbench) -> None:
    async with session_of_its_own(workbench) as session:
        if VERSION not in session.headers:
            revision = session.endpoint.revision
            raise NotApplicable(f"it speaks {revision}, and the header {VERSION} came with 2025-06-18")
        # In the modern era, a relay leaves the version to the server behind it, also one that is newer than both.
        is_relay = workbench.sut.profile.relay
        is_modern = not is_relay and await session.is_modern()
        for version in (one for one in UNKNOWN_VERSIONS if one != TOO_NEW or not is_relay):
            with workbench.case(f"{VERSION}: {version}"):
                await session.must_refuse({**session.headers, VERSION: version}, BAD_REQUEST)
                if is_modern:
                    reply = await session.modern(version)
                    session.must_be(BAD_REQUEST, "a request of the modern era", reply)
        await session.must_be_untouched()


@check("FRONT-163", timeout=40)
async def requests_without_the_session_are_refused(workbench: Workbench) -> None:
    async with session_of_its_own(workbench) as session:
        if SESSION not in session.headers:
            raise NotApplicable("it gives its sessions no ids")
        headers = {name: value for name, value in session.headers.items() if name != SESSION}
        is_served, _ = await session.try_call(headers)
        if is_served:
            raise NotApplicable("it serves a call without a session id, so it requires none")
        await session.must_refuse(headers, BAD_REQUEST)
        await session.must_be_untouched()
