"""The revisions that a proxy over HTTP speaks."""

from __future__ import annotations

from starlette.datastructures import Headers

from dynamic_mcp.config.model import Config
from dynamic_mcp.extras.serving.refused import RefusedRequest
from dynamic_mcp.protocol import era
from dynamic_mcp.protocol.versions import LEGACY_VERSIONS


def serves_modern(config: Config) -> bool:
    """Whether requests without a session have all servers. A server for one client needs a session."""
    return all(server.shared for server in config.servers)


def supported(config: Config) -> list[str]:
    """The revisions, the newest one first."""
    return [*([era.MODERN] if serves_modern(config) else []), *reversed(LEGACY_VERSIONS)]


def check_version(headers: Headers, config: Config) -> None:
    """Raises RefusedRequest for a version that is no legacy revision."""
    version = headers.get(era.VERSION_HEADER)
    if version is not None and version not in LEGACY_VERSIONS:
        data = {"supported": supported(config), "requested": version[:40]}
        raise RefusedRequest(400, "Unsupported protocol version", era.UNSUPPORTED_VERSION, data=data)
