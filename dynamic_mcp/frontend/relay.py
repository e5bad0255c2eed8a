"""Relays the messages that upstreams begin to the client.

A legacy client gets list changes, updates of its subscribed resources, and log messages of its level. A modern client gets what it
listens to, and log messages only while one of its requests asks for them. A request of an upstream goes to the client if the client
can answer it; otherwise the relay refuses it at once. A change of an upstream's tools does not change the two tools of the proxy
(``tools``), so the relay does not notify the client of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

import msgspec

from dynamic_mcp.errors import UpstreamError, UpstreamRefused
from dynamic_mcp.frontend.attribution import attributed
from dynamic_mcp.frontend.call import Call
from dynamic_mcp.frontend.changes import ListChanges
from dynamic_mcp.frontend.exchange import CallEnded, Exchanges
from dynamic_mcp.frontend.pages import Pages
from dynamic_mcp.frontend.session import (
    LOG_LEVELS,
    REQUIRED_CAPABILITIES,
    ClientSession,
    known_capabilities,
    refusal_of,
    severity_of,
)
from dynamic_mcp.frontend.storms import MERGED_WITHIN, QUESTION_RATE, Rates
from dynamic_mcp.frontend.subscriptions import UPDATED, OpenListenRequest
from dynamic_mcp.frontend.valid_notifications import valid_log, valid_params
from dynamic_mcp.frontend.valid_questions import valid_question
from dynamic_mcp.groups.group import Group
from dynamic_mcp.groups.listing import PROMPTS, RESOURCES, Kind, announces_changes
from dynamic_mcp.log import log
from dynamic_mcp.pacing import Merger
from dynamic_mcp.protocol import jsonrpc
from dynamic_mcp.protocol.jsonrpc import INTERNAL_ERROR, Message, Refusal
from dynamic_mcp.protocol.known_members import KnownMembers
from dynamic_mcp.protocol.nulls import without_nulls
from dynamic_mcp.protocol.pending import ClientCall, Options
from dynamic_mcp.sign_in_page import SignInPage
from dynamic_mcp.tasks import TaskSet

_RELAYED_CHANGES = {kind.list_changed: kind for kind in (RESOURCES, PROMPTS)}
#: The largest params of ``resources/updated`` in bytes. Their members become objects, which take thirty times as much.
_MAX_UPDATE = 1 << 20
#: The largest params of a log message in bytes, which are as much as a group may send at once.
_MAX_LOG = 4 << 20
_KNOWN_OF_UPDATE = KnownMembers("uri", "title", "_meta")


class _UpdatedParams(msgspec.Struct):
    uri: str


class Relay:
    """The ``GroupListener`` of all groups."""

    def __init__(
        self, session: ClientSession, groups: Mapping[str, Group], exchanges: Exchanges | None = None
    ) -> None:
        """``exchanges`` are those of several clients, whose owner closes them."""
        self._owns_exchanges = exchanges is None
        self.exchanges = exchanges or Exchanges()
        self.listen_requests: list[OpenListenRequest] = []
        #: the lists that the client got
        self.changes = ListChanges(self.announce)
        self._session = session
        self._pages = Pages(session, self.exchanges)
        self._groups = groups
        self._calls: set[Call] = set()
        self.calls_made = 0
        self._tasks = TaskSet()
        self._merger = Merger(MERGED_WITHIN)
        self._rates = Rates()

    # From the client

    def add_call(self, call: Call) -> None:
        """Note that a request of the client is in flight."""
        self._calls.add(call)
        self.calls_made += 1

    def remove_call(self, call: Call) -> None:
        """Note that the request has ended."""
        self._calls.discard(call)
        call.is_over = True

    def set_level(self) -> None:
        """Pass the client's log level to the upstreams."""
        for group in self._groups.values():
            self._send_level(group)

    @property
    def in_flight(self) -> int:
        """The number of the client's requests that have no answer yet."""
        return len(self._calls)

    def awaits(self, group: Group) -> bool:
        """Whether a request of the client is in flight that needs the group."""
        return any(call.waits_for(group) for call in self._calls)

    def roots_changed(self) -> None:
        """Notify the upstreams that may request the client's roots."""
        self._notify_roots(self._groups.values())

    def _notify_roots(self, groups: Iterable[Group]) -> None:
        if self._session.has_capability("roots"):
            for group in groups:
                if group.upstream is not None and not group.upstream.modern:
                    group.upstream.notify("notifications/roots/list_changed")

    def end_listening(self) -> None:
        """End the ``subscriptions/listen`` requests of the client."""
        for request in self.listen_requests:
            request.closed.set()

    def close(self) -> None:
        """Stop relaying."""
        if self._owns_exchanges:
            self.exchanges.close()
        self._pages.close()
        self.changes.close()
        self.end_listening()
        self._tasks.cancel()
        self._merger.close()
        self._rates.close()

    # From the groups (``groups.listener.GroupListener``)

    def client_capabilities(self) -> bytes:
        return self._session.client_capabilities()

    def client_info(self) -> bytes:
        return self._session.client_info

    def on_ready(self, group: Group) -> None:
        self._send_level(group)
        self.suspect_lists(group)

    def suspect_lists(self, group: Group) -> None:
        for method, kind in _RELAYED_CHANGES.items():
            if self._shows(group, kind):
                self.changes.suspect(method)

    def on_notification(self, group: Group, message: Message) -> None:
        method = message.method or ""
        if method == "notifications/message":
            self._log(group, message)
        elif method == UPDATED:
            self._updated(group, message)
        elif method == "notifications/elicitation/complete":
            self._complete(group, message)
        elif (kind := _RELAYED_CHANGES.get(method)) is not None and self._shows(group, kind):
            if group.upstream is not None and announces_changes(group.upstream, kind):
                self.changes.certain(method)
            else:
                self.changes.suspect(method)

    async def on_request(self, group: Group, message: Message, callers: Sequence[ClientCall]) -> bytes:
        method = message.method or ""
        if not self._rates.allows_question(group.name):
            raise Refusal(
                INTERNAL_ERROR, f"too many requests: at most {QUESTION_RATE} of a server in a second"
            )
        if not self._session.takes(group, message.params):
            raise Refusal(INTERNAL_ERROR, "the request is larger than a message to this client may be")
        find = partial(self.exchanges.find_for, group, method, callers, self)
        if find() is None:
            self._check_can_ask(method)
        params = valid_question(method, without_nulls(bytes(message.params)), group.on_oddity)
        params = attributed(group.name, method, params)
        while (exchange := find()) is not None:
            try:
                return await exchange.ask(method, params)
            except CallEnded:
                if find() is None:
                    raise
        try:
            return await self._session.ask(group, method, params, _reply_of(callers))
        except UpstreamRefused as refusal:
            raise Refusal(INTERNAL_ERROR, refusal.text, error=refusal.error) from None
        except UpstreamError as error:
            raise Refusal(INTERNAL_ERROR, f"the client did not answer: {error}") from None

    def _check_can_ask(self, method: str) -> None:
        """Raises Refusal if the client cannot answer a request by itself."""
        capability = REQUIRED_CAPABILITIES.get(method, "")
        if self._session.has_capability(capability):
            return
        if self._session.version is None and capability in known_capabilities(
            self._session.client_capabilities()
        ):
            raise Refusal(
                INTERNAL_ERROR, "no call is in flight in whose result the client could get the request"
            )
        raise refusal_of(method)

    def can_show_pages(self, group: Group) -> bool:
        return self._pages.can_show(group)

    async def show_page(self, group: Group, page: SignInPage) -> bool:
        return await self._pages.show(group, page)

    # To the client

    def _shows(self, group: Group, kind: Kind) -> bool:
        """Whether the client sees this kind of the group. It does not see a group that will replace another one yet."""
        return self._groups.get(group.name) is group and group.has(kind)

    def announce(self, method: str) -> None:
        """Notify a client that got such a list, if the proxy declared that notification, and one that listens to it."""
        if method.split("/")[1] in self._session.announced and self.changes.was_answered(method):
            self._session.notify(method)
        for request in self.listen_requests:
            if request.wants(method):
                request.notify(method)

    def _updated(self, group: Group, message: Message) -> None:
        """Pass on the update of a resource, if this group has the subscription to it, or to one that contains it."""
        if not group.has(RESOURCES):
            return
        holders = group.subscriptions.holders
        if memoryview(message.params).nbytes > _MAX_UPDATE:
            return
        params = valid_params(UPDATED, message.params, group.on_oddity)
        if params is None:
            return
        uri = msgspec.json.decode(params, type=_UpdatedParams).uri
        if not holders.covers(uri):
            return
        # The clients bound the number of URIs with a subscription, and nothing that of the resources within them.
        if uri not in holders and not self._allows(group, message):
            return
        if _KNOWN_OF_UPDATE.has_many_others(params):
            return
        encoded = _members(params, without="_meta")
        self._merger.put((UPDATED, group.name, uri), lambda: self._update_now(group, uri, encoded))

    def _update_now(self, group: Group, uri: str, encoded: bytes) -> None:
        holders = group.subscriptions.holders.of(uri)
        if self._session in holders:
            self._session.notify(UPDATED, encoded)
        for request in self.listen_requests:
            if request.call in holders:
                request.notify(UPDATED, encoded)

    def _complete(self, group: Group, message: Message) -> None:
        method = message.method or ""
        params = valid_params(method, message.params, group.on_oddity)
        if params is None or not self._allows(group, message):
            return
        if self._session.elicitations.complete(group, params):
            self._session.notify(method, _members(params))

    def _log(self, group: Group, message: Message) -> None:
        if memoryview(message.params).nbytes > _MAX_LOG:
            return
        params = valid_log(message.params, group.on_oddity)
        if params is None:
            return
        severity = severity_of(params)
        # Once, even if several requests of a modern client ask for it.
        call = next((call for call in self._calls if _wants_log(call, group, severity)), None)
        for_session = self._session.wants_log(severity)
        if (call is None and not for_session) or not self._allows(group, message):
            return
        if for_session:
            self._session.notify("notifications/message", params)
        if call is not None:
            call.incoming.send(jsonrpc.notification("notifications/message", params))

    def _allows(self, group: Group, message: Message) -> bool:
        """Whether the group may send the client a message of this kind now."""
        method = message.method or ""
        if not self._session.takes(group, message.params):
            return self._rates.refuse(group.name, method)
        return self._rates.allows(group.name, method, len(bytes(message.params)))

    def _send_level(self, group: Group) -> None:
        if self._session.level is not None:
            self._tasks.start(send_level(group, self._session.level))


async def send_level(group: Group, level: str) -> None:
    """Pass a log level to the upstream of a group, if it is of the legacy era and has log messages."""
    upstream = group.upstream
    if upstream is None or upstream.modern or "logging" not in upstream.agreed.capabilities:
        return
    try:
        params = msgspec.json.encode({"level": level})
        await upstream.request("logging/setLevel", params, Options(group.timeout(RESOURCES)))
    except UpstreamError as error:
        log.debug("group %s refuses the log level: %s", group.name, error)


def _reply_of(callers: Sequence[ClientCall]) -> Callable[[bytes], None] | None:
    """What writes beside the answer to the newest of these calls of one client.

    None if no answer is due, because then the stream of the answer may be over.
    """
    due = [call for call in callers if isinstance(call, Call) and not call.is_over]
    return due[-1].incoming.send if due else None


def _wants_log(call: Call, group: Group, severity: int) -> bool:
    """Whether this request of a modern client asks for log messages of this severity."""
    level = call.incoming.log_level if call.incoming.modern and call.group is group else None
    return level in LOG_LEVELS and severity >= LOG_LEVELS.index(level)


def _members(params: bytes, *, without: str = "") -> bytes:
    """The params of a notification as they were read: a member that came twice has its last value."""
    members = jsonrpc.decode_members(params)
    members.pop(without, None)
    return msgspec.json.encode(members)
