"""Starts one of the HTTP mocks in this process."""

from typing import Literal

from mock_servers.journal import Journal
from mock_servers.lifecycle import Life
from mock_servers.remote.collector import Collector
from mock_servers.remote.legacy_sse import LegacySse
from mock_servers.remote.listener import Place, listen
from mock_servers.remote.server import RemoteServer
from mock_servers.remote.streamable import StreamableHttp
from mock_servers.script import Script

Kind = Literal["http", "sse", "collector", "oauth"]
SERVERS: dict[Kind, type[RemoteServer]] = {
    "http": StreamableHttp,
    "sse": LegacySse,
    "collector": Collector,
    "oauth": StreamableHttp,
}


def serve(kind: Kind, script: Script, journal: Journal, place: Place, *, max_life: float) -> None:
    """Be the mock; returns only when its server was stopped."""
    life = Life(journal)
    life.limit(max_life)
    life.listen(ignore_sigterm=script.ignore_sigterm, sigterm_delay=script.sigterm_delay)
    try:
        server = SERVERS[kind](script, journal, life)
        app = server.begin()
        listening = place.bind(more=1 if script.oauth is not None and script.oauth.own_origin else 0)
        facts = {"url": place.origin(listening[0]) + script.http.path}
        if server.guard is not None:
            facts["issuer"] = server.guard.open(facts["url"], place.origin(listening[-1]))
        listen(app, listening, place, facts, journal, life)
    except Exception:
        life.break_down()
