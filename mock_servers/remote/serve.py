"""Starts one of the mocks behind a URL in this process."""

from typing import Literal

from mock_servers.journal import Journal
from mock_servers.lifecycle import Lifecycle
from mock_servers.remote.collector import Collector
from mock_servers.remote.legacy_sse import LegacySse
from mock_servers.remote.listener import ListenAddress, listen
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


def serve(kind: Kind, script: Script, journal: Journal, address: ListenAddress, *, max_life: float) -> None:
    """Run the mock until its server stops."""
    lifecycle = Lifecycle(journal)
    lifecycle.exit_after(max_life)
    lifecycle.handle_signals(ignore_sigterm=script.ignore_sigterm, sigterm_delay=script.sigterm_delay)
    try:
        server = SERVERS[kind](script, journal, lifecycle)
        app = server.begin()
        has_own_origin = script.oauth is not None and script.oauth.own_origin
        listeners = address.bind(extra_ports=1 if has_own_origin else 0)
        urls = {"url": address.origin(listeners[0]) + script.http.path}
        if server.guard is not None:
            urls["issuer"] = server.guard.open(urls["url"], address.origin(listeners[-1]))
        listen(app, listeners, address, urls, journal, lifecycle)
    except Exception:
        lifecycle.abort()
