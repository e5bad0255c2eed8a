"""The MCP server for the client, made of the parts of the frontend.

``router`` takes the client's messages, and ``running`` owns the calls in flight. ``tools`` and ``catalog`` answer them from the groups,
and ``relay`` passes on the messages that upstreams begin.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from msgspec import Raw

from dynamic_mcp.frontend.call import Call
from dynamic_mcp.frontend.catalog import Catalog
from dynamic_mcp.frontend.changes import View
from dynamic_mcp.frontend.exchange import Handler, elicit_by_request, elicit_by_result
from dynamic_mcp.frontend.relay import Relay
from dynamic_mcp.frontend.router import Handlers, Router
from dynamic_mcp.frontend.running import RunningCalls
from dynamic_mcp.frontend.session import ClientSession
from dynamic_mcp.frontend.subscriptions import Subscriptions
from dynamic_mcp.frontend.tools import Toolbox
from dynamic_mcp.groups.group import Group
from dynamic_mcp.groups.listing import CHANGED, PROMPTS, RESOURCES, TEMPLATES, TOOLS, Kind
from dynamic_mcp.hooks import Hooks


class Frontend:
    """Serves one client with the current groups. ``send`` writes one line to the client."""

    def __init__(
        self,
        groups: Mapping[str, Group],
        session: ClientSession,
        relay: Relay,
        send: Callable[[bytes], None],
        hooks: Hooks,
    ) -> None:
        self._toolbox = Toolbox(groups, hooks)
        self._catalog = Catalog(groups, hooks, relay.changes, session.max_message)
        self._session = session
        self._relay = relay
        self._calls = RunningCalls(relay, hooks, session.max_message)
        legacy, modern = self._handlers(Subscriptions(session, self._catalog, relay.listen_requests))
        #: takes the lines of the client
        self.router = Router(
            send,
            session,
            self._list_tools,
            self._toolbox.groups,
            self._catalog,
            relay,
            self._calls,
            hooks,
            legacy=legacy,
            modern=modern,
        )

    def _handlers(self, subscriptions: Subscriptions) -> tuple[Handlers, Handlers]:
        """The handlers of the methods that the router does not answer itself, for legacy and for modern clients."""
        catalog, noting = self._catalog, self._catalog.result_uris.noting
        shared: dict[str, tuple[Handler, tuple[Kind, ...]]] = {
            "tools/call": (noting(self._toolbox.run), ()),
            "resources/list": (lambda call: catalog.list_all(RESOURCES, call), (RESOURCES,)),
            "resources/templates/list": (lambda call: catalog.list_all(TEMPLATES, call), (RESOURCES,)),
            "resources/read": (noting(catalog.read), (RESOURCES,)),
            "prompts/list": (lambda call: catalog.list_all(PROMPTS, call), (PROMPTS,)),
            "prompts/get": (noting(catalog.get_prompt), (PROMPTS,)),
            "completion/complete": (catalog.complete, (RESOURCES, PROMPTS)),
        }
        legacy: dict[str, tuple[Handler, tuple[Kind, ...]]] = {
            **shared,
            "logging/setLevel": (self._set_level, ()),
            "resources/subscribe": (subscriptions.subscribe, (RESOURCES,)),
            "resources/unsubscribe": (subscriptions.unsubscribe, (RESOURCES,)),
        }
        exchanges = self._relay.exchanges
        return (
            {name: (elicit_by_request(do, self._session), kinds) for name, (do, kinds) in legacy.items()},
            {
                **{
                    name: (elicit_by_result(do, self._session, exchanges), kinds)
                    for name, (do, kinds) in shared.items()
                },
                "subscriptions/listen": (subscriptions.listen, ()),
            },
        )

    @contextmanager
    def changing(self) -> Iterator[None]:
        """A context in which the groups change; after its end, the client is notified of the lists that changed."""
        yield
        for method in CHANGED:
            self._relay.changes.suspect(method)

    def _list_tools(self, params: Raw) -> bytes:
        """The result of ``tools/list``. Raises Refusal for a cursor."""
        changes, method = self._relay.changes, TOOLS.list_changed
        result = self._toolbox.list_tools(params)
        changes.answered(method, TOOLS, View({"": result}), self._tools_now, changes.events(method))
        return result

    async def _tools_now(self) -> View:
        return View({"": self._toolbox.list_tools(Raw(b""))})

    async def finish(self, gone: Coroutine[Any, Any, None]) -> None:
        """Answer the requests in flight, because no further one comes.

        Ends after ``running.LAST_ANSWERS`` seconds (``LAST_PIPED_ANSWERS`` for piped requests), or once ``gone`` returns.
        """
        self._session.input_closed()
        self._relay.end_listening()
        await self._calls.finish(gone)

    async def close(self) -> None:
        """Cancel all calls in flight, also at the upstreams."""
        self._relay.close()
        self._catalog.close()
        await self._calls.close()

    async def _set_level(self, call: Call) -> bytes:
        self._session.set_level(call.read("level", str))
        self._relay.set_level()
        return b"{}"
