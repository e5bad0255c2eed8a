"""Takes the HTTP requests: one endpoint for MCP of both eras, and one for ``dynamic-mcp status``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.datastructures import Headers

from dynamic_mcp.extras.serving import ENDPOINT, STATUS
from dynamic_mcp.extras.serving.connections import reset
from dynamic_mcp.extras.serving.gate import Gate
from dynamic_mcp.extras.serving.http_rules import check_framing, origin_form
from dynamic_mcp.extras.serving.legacy_era import LegacyEra
from dynamic_mcp.extras.serving.limits import ServingLimits
from dynamic_mcp.extras.serving.modern_era import ModernEra, is_modern
from dynamic_mcp.extras.serving.posted import Bodies, ClientGone, check_headers, parsed
from dynamic_mcp.extras.serving.refused import RefusedRequest, respond
from dynamic_mcp.extras.serving.sessions import Sessions
from dynamic_mcp.extras.sharing.shape import Report
from dynamic_mcp.frontend.clients import Clients
from dynamic_mcp.log import report_bug
from dynamic_mcp.protocol import era
from dynamic_mcp.protocol.jsonrpc import INTERNAL_ERROR

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send


class App:
    """An ASGI application. ``report`` describes the process."""

    def __init__(
        self, clients: Clients, gate: Gate, report: Callable[[], Report], limits: ServingLimits
    ) -> None:
        self.sessions = Sessions(clients, limits)
        self.modern = ModernEra(clients, limits)
        self._legacy = LegacyEra(self.sessions, limits)
        self._bodies = Bodies(limits)
        self._gate = gate
        self._report = report

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        has_begun = False

        async def sending(message: Any) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            try:
                await self._answer(scope, receive, sending)
            except (ClientGone, RefusedRequest):
                raise
            except Exception as error:
                reason = report_bug("an HTTP request", error)
                raise RefusedRequest(500, reason, INTERNAL_ERROR) from None
        except ClientGone:
            # A client that does not read is still there.
            reset(scope)
        except RefusedRequest as refused:
            if has_begun:
                reset(scope)
            else:
                await respond(send, refused.status, refused.body, refused.headers)

    async def close(self) -> None:
        """Answer the requests in flight, within some seconds, and end everything else."""
        await self.modern.close()
        await self.sessions.close()

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope = origin_form(scope)
        headers = Headers(scope=scope)
        self._gate.check(headers)
        check_framing(headers)
        path, method = scope["path"].rstrip("/"), scope["method"]
        if path == STATUS:
            if method != "GET":
                raise RefusedRequest(405, "the status is for GET only", headers={"Allow": "GET"})
            await respond(send, 200, msgspec.json.encode(self._report()))
            return
        if path != ENDPOINT:
            raise RefusedRequest(404, f"the endpoint is {ENDPOINT}", headers={"Connection": "close"})
        is_modern_header = headers.get(era.VERSION_HEADER) == era.MODERN
        origin = "http {}:{}".format(*(scope.get("client") or ("?", 0)))
        match method:
            case "POST":
                await self._post(headers, origin, receive, send)
            case "GET" if not is_modern_header:
                await self._legacy.get(headers, receive, send)
            case "DELETE" if not is_modern_header:
                await self._legacy.delete(headers, send)
            case _:
                allowed = "POST" if is_modern_header else "DELETE, GET, POST"
                raise RefusedRequest(
                    405, f"{ENDPOINT} takes {allowed}", headers={"Allow": allowed, "Connection": "close"}
                )

    async def _post(self, headers: Headers, origin: str, receive: Receive, send: Send) -> None:
        check_headers(headers)
        async with self._bodies.reading(headers, receive) as line:
            posted = await parsed(line)
        del line
        if is_modern(posted, headers):
            await self.modern.post(posted, headers, origin, receive, send)
        else:
            await self._legacy.post(posted, headers, origin, receive, send)
