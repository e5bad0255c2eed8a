"""Starts one of the HTTP mocks in this process."""

from typing import Literal

from mock_servers.journal import Journal
from mock_servers.life import Life
from mock_servers.remote.collector import Collector
from mock_servers.remote.legacy_sse import LegacySse
from mock_servers.remote.listener import Place, listen
from mock_servers.remote.server import RemoteServer
from mock_servers.remote.streamable import StreamableHttp
from mock_servers.script import Script

Kind = Literal["http", "sse", "collector"]
SERVERS: dict[Kind, type[RemoteServer]] = {"http": StreamableHttp, "sse": LegacySse, "collector": Collector}


def serve(kind: Kind, script: Script, journal: Journal, place: Place, *, max_life: float) -> None:
    """Be the mock; returns only when its server was stopped."""
    life = Life(journal)
    life.limit(max_life)
    life.listen(ignore_sigterm=script.ignore_sigterm, sigterm_delay=script.sigterm_delay)
    try:
        app = SERVERS[kind](script, journal, life).begin()
        listen(app, script.http.path, place, journal, life)
    except Exception:
        life.break_down()
