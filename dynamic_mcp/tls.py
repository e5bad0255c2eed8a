"""Trusted certificate authorities: the system's trust store, or what ``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` name."""

from __future__ import annotations

import ssl
from functools import cache


@cache
def trust_store() -> ssl.SSLContext:
    """The authorities, loaded once: loading takes longer than to connect, and blocks the loop."""
    return ssl.create_default_context()
