"""A scripted browser: it keeps cookies, follows redirects, and fills in and submits every form, as a person who agrees does.

`python browser.py JOURNAL URL` writes each address into the journal, and ends at a page without a form.
"""

from __future__ import annotations

import sys
import urllib.parse
import urllib.request
from html.parser import HTMLParser
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path

MAX_PAGES = 20
WITHIN = 20


class Form(HTMLParser):
    """The first form of a page: its address, its method, and its fields with their values."""

    def __init__(self) -> None:
        super().__init__()
        self.action: str | None = None
        self.method = "get"
        self.fields: dict[str, str] = {}
        self._is_open = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag == "form" and self.action is None:
            self.action, self.method = found.get("action") or "", (found.get("method") or "get").lower()
            self._is_open = True
        name = found.get("name")
        if not self._is_open or not name:
            return
        # Of several buttons a person presses the first one, which agrees.
        is_button = tag == "button" or found.get("type") == "submit"
        if tag in ("input", "button") and not (is_button and name in self.fields):
            self.fields[name] = found.get("value") or "user"

    def handle_endtag(self, tag: str) -> None:
        self._is_open = self._is_open and tag != "form"


def visit(journal: Path, url: str) -> None:
    """Open the page, and submit form after form."""
    # Addresses without a proxy, because everything is on this machine.
    cookies = urllib.request.HTTPCookieProcessor(CookieJar(DefaultCookiePolicy(rfc2965=True)))
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), cookies)
    request = urllib.request.Request(url, headers={"Accept": "text/html"})
    for _ in range(MAX_PAGES):
        try:
            with opener.open(request, timeout=WITHIN) as reply:
                page, url = reply.read().decode(errors="replace"), reply.url
                note(journal, f"{reply.status} {url}")
        except urllib.error.HTTPError as refusal:
            note(journal, f"{refusal.code} {refusal.url} {refusal.read().decode(errors='replace')[:2000]!r}")
            return
        form = Form()
        form.feed(page)
        if form.action is None:
            return
        target = urllib.parse.urljoin(url, form.action)
        data = urllib.parse.urlencode(form.fields)
        request = (
            urllib.request.Request(
                target, data.encode(), headers={"Accept": "text/html", "Origin": origin(target)}
            )
            if form.method == "post"
            else urllib.request.Request(f"{target}?{data}", headers={"Accept": "text/html"})
        )


def origin(url: str) -> str:
    parts = urllib.parse.urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def note(journal: Path, line: str) -> None:
    with journal.open("a") as file:
        file.write(line + "\n")


if __name__ == "__main__":
    note(Path(sys.argv[1]), f"opened {sys.argv[2]}")
    visit(Path(sys.argv[1]), sys.argv[2])
