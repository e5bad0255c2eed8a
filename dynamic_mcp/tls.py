"""Whose certificates are believed: the system's trust store, or what ``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` name."""

from __future__ import annotations

import ssl
from functools import cache


@cache
def trusted() -> ssl.SSLContext:
    """The authorities, loaded at the first need and for good: it takes longer than to connect, and nothing else runs meanwhile."""
    return ssl.create_default_context()
