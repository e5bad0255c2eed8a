"""An origin where nothing should arrive: it journals whatever does, and answers 204."""

from mock_servers.actions import Action
from mock_servers.remote.exchange import Exchange
from mock_servers.remote.server import RemoteServer


class Collector(RemoteServer):
    """The application of `python -m mock_servers collector`; only rules for verbs are played."""

    def serve(self, exchange: Exchange) -> None:
        exchange.respond(204)

    def play_for_verb(self, exchange: Exchange, actions: list[Action]) -> None:
        self.serve(exchange)
