"""The revisions of the ``initialize`` handshake. Imports nothing: the first answer needs them (``doorstep``)."""

LEGACY_VERSIONS = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
LATEST_LEGACY = LEGACY_VERSIONS[-1]


def agreed(asked: str) -> str:
    """The version to answer: the one that the client asks for where it is known, else the newest.

    MCP lifecycle, "Version Negotiation".
    """
    return asked if asked in LEGACY_VERSIONS else LATEST_LEGACY
