"""The cookies of one server, such as those by which a load balancer sends each request of a session to the same machine.

One connection keeps them, and only requests to the origin of the server carry them, so ``Domain`` is ignored. Paths, ends and ``Secure``
follow RFC 6265, sections 5.2 to 5.4. Values go back as they came. A configured ``Cookie`` header wins over a cookie of the same name.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import msgspec

from dynamic_mcp.origin import is_plain

#: The most cookies of one server, and the characters of one. The oldest make room for new ones.
MAX_COOKIES = 40
MAX_LENGTH = 4096

_PAIR = re.compile(r"([!#$%&'*+\-.^_`|~0-9A-Za-z]++)\s*+=\s*+([\x21-\x3a\x3c-\x7e\x20]*+)")


class _Cookie(msgspec.Struct):
    value: str
    path: str
    #: the time of its end, as of ``time.time``; None lasts as long as the connection
    end: float | None
    is_secure: bool


class Cookies:
    """The cookies of one connection."""

    def __init__(self, configured: str | None) -> None:
        """``configured`` is the ``Cookie`` header of the configuration."""
        self._configured = configured
        #: by name and path, the newest last
        self._cookies: dict[tuple[str, str], _Cookie] = {}

    @property
    def values(self) -> list[str]:
        """The values, which no text may show."""
        return [cookie.value for cookie in self._cookies.values()]

    def take(self, lines: Iterable[str], url: str) -> None:
        """Keep the cookies of the ``Set-Cookie`` headers in a reply from this url. Invalid ones are ignored."""
        for line in lines:
            pair, *attributes = line.split(";")
            found = _PAIR.fullmatch(pair.strip())
            if found is None or len(pair) > MAX_LENGTH:
                continue
            named = {
                name.strip().lower(): value.strip()
                for name, _, value in (attribute.partition("=") for attribute in attributes)
            }
            path = named.get("path", "")
            if not path.startswith("/"):
                path = (urlsplit(url).path or "/").rpartition("/")[0] or "/"
            self._cookies.pop((found[1], path), None)
            end = _end_of(named)
            if end is None or end > time.time():
                self._cookies[found[1], path] = _Cookie(found[2], path, end, "secure" in named)
            while len(self._cookies) > MAX_COOKIES:
                del self._cookies[next(iter(self._cookies))]

    def header(self, url: str) -> str | None:
        """The ``Cookie`` header of a request to this url, or None."""
        names = {pair.partition("=")[0].strip() for pair in (self._configured or "").split(";")}
        now, path = time.time(), urlsplit(url).path or "/"
        fitting = [
            (name, cookie)
            for (name, _), cookie in self._cookies.items()
            if name not in names
            and (cookie.end is None or cookie.end > now)
            and not (cookie.is_secure and is_plain(url))
            and _covers(cookie.path, path)
        ]
        # The longest path first (RFC 6265, section 5.4).
        fitting.sort(key=lambda item: -len(item[1].path))
        pairs = [f"{name}={cookie.value}" for name, cookie in fitting]
        return "; ".join([*([self._configured] if self._configured else []), *pairs]) or None


def _covers(cookie: str, path: str) -> bool:
    return path == cookie or path.startswith(cookie if cookie.endswith("/") else f"{cookie}/")


def _end_of(attributes: dict[str, str]) -> float | None:
    if re.fullmatch(r"-?\d{1,10}", seconds := attributes.get("max-age", "")):
        return time.time() + int(seconds)
    try:
        return parsedate_to_datetime(attributes["expires"].replace("-", " ")).timestamp()
    except (KeyError, ValueError, OverflowError):
        return None
