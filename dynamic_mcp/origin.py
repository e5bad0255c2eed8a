"""Which addresses belong together (RFC 6454): what is for one origin must not reach another."""

from __future__ import annotations

from urllib.parse import urlsplit


def origin_of(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port, which together are an origin (RFC 6454, section 4). Raises ValueError for what is no address."""
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    return parts.scheme, (parts.hostname or "").lower(), port
