"""The revisions of the ``initialize`` handshake. This module imports nothing, because the early answers need it."""

LEGACY_VERSIONS = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
LATEST_LEGACY = LEGACY_VERSIONS[-1]
#: The only revision with batches (MCP 2025-03-26, basic, "Batching").
WITH_BATCHES = "2025-03-26"


def negotiate(requested: str) -> str:
    """The version to answer: the requested one if the proxy knows it, else the newest.

    MCP 2025-11-25, basic/lifecycle, "Version Negotiation".
    """
    return requested if requested in LEGACY_VERSIONS else LATEST_LEGACY
