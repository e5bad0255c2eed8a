"""Mistakes between the clients of one proxy.

Most of them are in the lines of the clients: `_between_clients` changes who gets a line, and from whom the proxy reads one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from conformance.mutants import mutant, replace
from dynamic_mcp.frontend import pool
from dynamic_mcp.frontend.clients import Client, Clients
from dynamic_mcp.frontend.pool import Pool

if TYPE_CHECKING:
    from collections.abc import Callable

    from dynamic_mcp.config.model import Config

    Take = Callable[[bytes], None]
    Deliver = Callable[[bytes, Take, "_Lines"], None]

SHARE = "reference-share"
CANCELLED = "notifications/cancelled"

Message = dict[str, Any]


def _message(line: bytes) -> Message:
    try:
        return msgspec.json.decode(line, type=dict[str, Any])
    except msgspec.DecodeError:
        return {}


class _Lines:
    """The lines of all clients: `senders` write to a client, `receivers` take its lines; the oldest first."""

    def __init__(self) -> None:
        self.senders: list[Take] = []
        self.receivers: list[Take] = []


def _between_clients(
    to_client: Deliver = lambda line, send, lines: send(line),
    from_client: Deliver = lambda line, receive, lines: receive(line),
) -> None:
    """Let `to_client` deliver each line for a client, and `from_client` each line of one."""
    right, lines = Clients.open, _Lines()

    def wrong(self: Clients, send: Take, **options: Any) -> Client:
        lines.senders.append(send)
        client = right(self, lambda line: to_client(line, send, lines), **options)
        receive = client.router.receive
        lines.receivers.append(receive)

        def received(line: bytes, reply: object = None) -> None:
            from_client(line, receive, lines)

        client.router.receive = received  # type: ignore[method-assign]
        return client

    replace(right, wrong)


@mutant(
    "SHARE-001",
    profile=SHARE,
    also={"SHARE-002": "both clients use the same id", "SHARE-003": "both clients use the same id"},
)
def answers_go_to_the_client_that_used_the_id_last() -> None:
    _answers_go_to_the_last_user("tools/call")


@mutant("SHARE-001", profile=SHARE)
def answers_about_resources_go_to_the_client_that_used_the_id_last() -> None:
    _answers_go_to_the_last_user("resources/read")


@mutant("SHARE-001", profile=SHARE)
def answers_about_prompts_go_to_the_client_that_used_the_id_last() -> None:
    _answers_go_to_the_last_user("prompts/get")


@mutant("SHARE-001", profile=SHARE)
def completions_go_to_the_client_that_used_the_id_last() -> None:
    _answers_go_to_the_last_user("completion/complete")


@mutant("SHARE-001", profile=SHARE)
def errors_go_to_the_client_that_used_the_id_last() -> None:
    _answers_go_to_the_last_user(
        "tools/call", which=lambda answer: "error" in answer or (answer.get("result") or {}).get("isError")
    )


@mutant("SHARE-001", profile=SHARE)
def answers_to_lists_go_to_the_client_that_used_the_id_last() -> None:
    _answers_go_to_the_last_user("tools/list", "resources/list", "prompts/list")


def _answers_go_to_the_last_user(
    *methods: str, which: Callable[[Message], Any] = lambda answer: True
) -> None:
    owners: dict[str, Take] = {}

    def sent(line: bytes, send: Take, lines: _Lines) -> None:
        message = _message(line)
        if "method" in message or not which(message):
            send(line)
        else:
            owners.get(repr(message.get("id")), send)(line)

    def received(line: bytes, receive: Take, lines: _Lines) -> None:
        message = _message(line)
        if message.get("method") in methods:
            owners[repr(message.get("id"))] = lines.senders[lines.receivers.index(receive)]
        receive(line)

    _between_clients(sent, received)


@mutant("SHARE-002", profile=SHARE)
def progress_goes_to_all_clients() -> None:
    _to_all("notifications/progress")


@mutant("SHARE-002", profile=SHARE)
def only_the_first_client_hears_of_progress() -> None:
    def sent(line: bytes, send: Take, lines: _Lines) -> None:
        is_progress = _message(line).get("method") == "notifications/progress"
        if not is_progress or send is lines.senders[0]:
            send(line)

    _between_clients(sent)


@mutant("SHARE-002", profile=SHARE)
def equal_tokens_of_two_clients_end_all_progress() -> None:
    users: dict[str, set[int]] = {}

    def sent(line: bytes, send: Take, lines: _Lines) -> None:
        message = _message(line)
        token = repr((message.get("params") or {}).get("progressToken"))
        if message.get("method") != "notifications/progress" or len(users.get(token, ())) == 1:
            send(line)

    def received(line: bytes, receive: Take, lines: _Lines) -> None:
        meta = (_message(line).get("params") or {}).get("_meta") or {}
        if "progressToken" in meta:
            users.setdefault(repr(meta["progressToken"]), set()).add(lines.receivers.index(receive))
        receive(line)

    _between_clients(sent, received)


@mutant("SHARE-003", profile=SHARE)
def a_cancellation_concerns_the_id_of_every_client() -> None:
    _cancellations_concern_all(lambda receive, lines: True)


@mutant("SHARE-003", profile=SHARE)
def a_cancellation_of_the_first_client_concerns_the_id_of_every_client() -> None:
    _cancellations_concern_all(lambda receive, lines: receive is lines.receivers[0])


@mutant("SHARE-003", profile=SHARE)
def a_cancellation_of_a_read_concerns_the_id_of_every_client() -> None:
    reads: set[str] = set()

    def received(line: bytes, receive: Take, lines: _Lines) -> None:
        message = _message(line)
        if message.get("method") == "resources/read":
            reads.add(repr(message["id"]))
        is_of_read = repr((message.get("params") or {}).get("requestId")) in reads
        concerns_all = message.get("method") == CANCELLED and is_of_read
        for one in lines.receivers if concerns_all else [receive]:
            one(line)

    _between_clients(from_client=received)


def _cancellations_concern_all(comes_from: Callable[[Take, _Lines], bool]) -> None:
    def received(line: bytes, receive: Take, lines: _Lines) -> None:
        is_cancellation = _message(line).get("method") == CANCELLED
        for one in lines.receivers if is_cancellation and comes_from(receive, lines) else [receive]:
            one(line)

    _between_clients(from_client=received)


@mutant("FRONT-024", profile=SHARE)
def only_the_first_client_can_cancel() -> None:
    def received(line: bytes, receive: Take, lines: _Lines) -> None:
        if _message(line).get("method") != CANCELLED or receive is lines.receivers[0]:
            receive(line)

    _between_clients(from_client=received)


@mutant("SHARE-004", profile=SHARE)
def only_the_first_client_is_asked() -> None:
    def sent(line: bytes, send: Take, lines: _Lines) -> None:
        message, place = _message(line), lines.senders.index(send)
        if message.get("method") != "elicitation/create" or place == 0:
            send(line)
            return
        refusal = {"jsonrpc": "2.0", "id": message["id"], "error": {"code": -32601, "message": "no"}}
        lines.receivers[place](msgspec.json.encode(refusal))

    _between_clients(sent)


@mutant("SHARE-004", profile=SHARE)
def questions_go_to_the_first_client() -> None:
    def sent(line: bytes, send: Take, lines: _Lines) -> None:
        is_question = _message(line).get("method") == "elicitation/create"
        (lines.senders[0] if is_question else send)(line)

    _between_clients(sent)


@mutant("SHARE-004", profile=SHARE)
def questions_go_to_all_clients() -> None:
    _to_all("elicitation/create")


@mutant("SHARE-005", profile=SHARE)
def updates_go_to_all_clients() -> None:
    _to_all("notifications/resources/updated")


@mutant("SHARE-005", profile=SHARE)
def the_end_of_a_client_ends_all_subscriptions() -> None:
    right = Pool.leave

    def wrong(self: Pool, member: Any) -> None:
        for group in self.groups.values():
            for one in self.members:
                group.subscriptions.release(one.session)
        right(self, member)

    replace(right, wrong)


@mutant("SHARE-012", profile=SHARE)
def reloads_are_announced_to_the_oldest_client_alone() -> None:
    right = Client.groups_changed

    def wrong(self: Client) -> None:
        if self is self.pools[0].members[0]:
            right(self)
        else:
            # Private, because everything public that looks at the groups announces them too.
            self._see_groups()

    replace(right, wrong)


@mutant("SHARE-012", profile=SHARE)
def changed_lists_are_announced_to_the_newest_client_alone() -> None:
    _announce_lists_to(-1)


@mutant("SHARE-012", profile=SHARE)
def changed_lists_are_announced_to_the_oldest_client_alone() -> None:
    _announce_lists_to(0)


def _announce_lists_to(number: int) -> None:
    """Announce changed lists only to the client with this number; the oldest has 0."""

    def sent(line: bytes, send: Take, lines: _Lines) -> None:
        is_announced = str(_message(line).get("method")).endswith("/list_changed")
        if not is_announced or send is lines.senders[number]:
            send(line)

    _between_clients(sent)


@mutant("SHARE-006", profile=SHARE)
def log_messages_go_to_all_clients() -> None:
    _to_all("notifications/message")


def _to_all(method: str) -> None:
    def sent(line: bytes, send: Take, lines: _Lines) -> None:
        for one in lines.senders if _message(line).get("method") == method else [send]:
            one(line)

    _between_clients(sent)


@mutant("SHARE-007", profile=SHARE)
def each_client_has_servers_of_its_own() -> None:
    give_each_client_its_own_servers()


def give_each_client_its_own_servers() -> None:
    """Treat every server as one with `"shared": false`."""
    _clients_with(config=_unshared)


def _unshared(config: Config) -> Config:
    servers = (msgspec.structs.replace(server, shared=False) for server in config.servers)
    return msgspec.structs.replace(config, servers=tuple(servers))


def _clients_with(
    config: Callable[[Config], Config] = lambda right: right,
    linger: Callable[[float], float] = lambda right: right,
) -> None:
    right = Clients.__init__

    def wrong(self: Clients, given: Config, make: Any, hooks: Any, lingers: float = 30.0) -> None:
        right(self, config(given), make, hooks, linger(lingers))

    replace(right, wrong)


@mutant(
    "SHARE-008",
    profile=SHARE,
    also={"SHARE-010": "a client that ends takes the servers of the others with it"},
)
def a_client_takes_the_servers_with_it() -> None:
    right = Pool.leave

    def wrong(self: Pool, member: Any) -> None:
        right(self, member)
        self.end()

    replace(right, wrong)


@mutant("SHARE-009", profile=SHARE)
def reads_from_servers_only_while_every_client_reads() -> None:
    setattr(pool, "all", any)  # noqa: B010


@mutant("SHARE-010", profile=SHARE)
def servers_outlive_the_last_client_for_an_hour() -> None:
    _clients_with(linger=lambda right: 3600.0)
