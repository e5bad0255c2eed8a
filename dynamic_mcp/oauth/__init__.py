"""Signing in to servers behind a URL: discovery, the browser, tokens, and their keeping."""

from __future__ import annotations

import sys

# httpx loads its command line program with it, which brings click, rich and pygments where they are installed, and does without where
# it cannot. Nobody who signs in should wait for that.
sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]  # None = such an import fails
