"""An origin that no request should reach: it journals every request, and answers 204."""

from mock_servers.actions import Action
from mock_servers.remote.exchange import HttpExchange
from mock_servers.remote.server import RemoteServer


class Collector(RemoteServer):
    """The application of `python -m mock_servers collector`. It ignores every rule."""

    def serve(self, exchange: HttpExchange) -> None:
        exchange.respond(204)

    def play_for_verb(self, exchange: HttpExchange, actions: list[Action]) -> None:
        self.serve(exchange)
