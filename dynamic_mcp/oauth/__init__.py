"""Sign-in to servers behind a URL: discovery, the browser, tokens, and their storage."""

from __future__ import annotations

import sys

# httpx imports its command line program, with click, rich and pygments if they are installed, and goes on without the program if the
# import fails. A sign-in should not wait for that import.
sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]  # None = such an import fails
