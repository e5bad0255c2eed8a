"""Pages for the user, shown by the client: elicitation in URL mode.

MCP 2025-11-25, client/elicitation, "URL Mode", and MCP 2026-07-28, client/elicitation. A user who does not see the machine of the proxy
can sign in like this. A legacy client gets a request. A modern client gets a question in the result of a call that waits for the group.
"""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

import msgspec

from dynamic_mcp.errors import UpstreamFailed
from dynamic_mcp.frontend.attribution import attributed
from dynamic_mcp.frontend.exchange import Exchanges
from dynamic_mcp.frontend.session import ClientSession
from dynamic_mcp.groups.group import Group
from dynamic_mcp.protocol.jsonrpc import Refusal
from dynamic_mcp.sign_in_page import SignInPage
from dynamic_mcp.tasks import TaskSet

_ELICIT = "elicitation/create"
_COMPLETE = "notifications/elicitation/complete"


class _Answer(msgspec.Struct):
    action: str = ""


class Pages:
    """Shows the pages of sign-ins."""

    def __init__(self, session: ClientSession, exchanges: Exchanges) -> None:
        self._session = session
        self._exchanges = exchanges
        self._tasks = TaskSet()

    def close(self) -> None:
        """Stop waiting for the ends of sign-ins."""
        self._tasks.cancel()

    def can_show(self, group: Group) -> bool:
        """Whether the client can be asked now."""
        return self._session.shows_pages or self._exchanges.find_for_page(group) is not None

    async def show(self, group: Group, page: SignInPage) -> bool:
        """Ask the client to show the page; whether the user agreed, or the sign-in is over. Raises UpstreamError."""
        asking = asyncio.ensure_future(self._ask(group, page))
        over = asyncio.ensure_future(page.over.wait())
        try:
            await asyncio.wait({asking, over}, return_when=asyncio.FIRST_COMPLETED)
            return not asking.done() or await asking
        except Refusal:
            raise UpstreamFailed("the user was not asked") from None
        finally:
            # A question about a page that is gone must not stay open.
            asking.cancel()
            over.cancel()

    async def _ask(self, group: Group, page: SignInPage) -> bool:
        members = {
            "mode": "url",
            "message": f"Sign in at {urlsplit(page.address).hostname} to use this server.",
            "url": page.address,
        }
        exchange = self._exchanges.find_for_page(group)
        if exchange is not None:
            params = attributed(group.name, _ELICIT, msgspec.json.encode(members))
            return _agreed(await exchange.ask(_ELICIT, params))
        import secrets

        id = f"sign-in-{secrets.token_urlsafe(12)}"
        members["elicitationId"] = id
        params = attributed(group.name, _ELICIT, msgspec.json.encode(members))
        agreed = _agreed(await self._session.ask(group, _ELICIT, params))
        if agreed:
            self._tasks.start(self._complete(page, id))
        return agreed

    async def _complete(self, page: SignInPage, id: str) -> None:
        await page.over.wait()
        self._session.notify(_COMPLETE, msgspec.json.encode({"elicitationId": id}))


def _agreed(result: bytes) -> bool:
    try:
        return msgspec.json.decode(result, type=_Answer).action == "accept"
    except msgspec.DecodeError:
        raise UpstreamFailed("its answer cannot be read") from None
