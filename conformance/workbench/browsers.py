"""The fake browser: it replaces every program that opens a browser, and signs in as the check tells its user to.

Its folder comes first on the PATH of the implementation and holds a replacement for each such program. BROWSER names one too, and DISPLAY
is set. The desktop entries of the machine are out of sight. Otherwise an implementation with an xdg-open of its own would find the real
browser by them. Every property reads the journal of the browser anew.
"""

from __future__ import annotations

import http.client
import json
import os
import shlex
import subprocess
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

import anyio

from conformance.errors import Violation
from conformance.workbench.polling import eventually
from conformance.workbench.sandbox import TOKEN_VARIABLE
from conformance.workbench.shown import show
from mock_servers.browser import User
from mock_servers.commands import browser
from mock_servers.journal import Entry, read_journal
from mock_servers.processes import kill

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from conformance.workbench.protected import ProtectedMockUpstream

_WITHIN = 5.0
_DESKTOPS = ("xdg-open", "gio", "gnome-open", "kde-open", "kde-open5", "wslview", "open")
_BROWSERS = ("firefox", "chromium", "chromium-browser", "google-chrome")
_CHOICES = ("x-www-browser", "www-browser", "sensible-browser")
OPENERS = (*_DESKTOPS, *_BROWSERS, *_CHOICES)


@dataclass(frozen=True, repr=False)
class Opening:
    """A page that the implementation has opened."""

    t: float
    argv: list[str]
    url: str
    number: int

    @property
    def pairs(self) -> list[tuple[str, str]]:
        return parse_qsl(urlsplit(self.url).query, keep_blank_values=True)

    @property
    def params(self) -> dict[str, str]:
        """The query of the URL, decoded."""
        return dict(self.pairs)

    @property
    def redirect_uri(self) -> str:
        return self.params.get("redirect_uri", "")

    def is_of(self, upstream: ProtectedMockUpstream) -> bool:
        """Whether the page is on the authorization server of this upstream."""
        return urlsplit(self.url).netloc == urlsplit(upstream.issuer).netloc

    def __repr__(self) -> str:
        return f"page {self.number}: {self.argv[0]} {self.url}"


class Browser:
    """Made by `Workbench.browser`."""

    def __init__(self, folder: Path, token: str, users: Sequence[User], *, works: bool) -> None:
        self._folder = folder
        self._journal = folder / "journal.jsonl"
        self._token = token
        self.used_by(*users)
        (folder / "bin").mkdir()
        for name in OPENERS:
            program = folder / "bin" / name
            program.write_text(self._shim(name, "exec" if works else "false"))
            program.chmod(0o755)

    def _shim(self, name: str, how: str) -> str:
        # The browser soon becomes an orphan. This token makes the census count it as a process of the workbench, not of the proxy.
        token = f"export {TOKEN_VARIABLE}={self._token}"
        return f'#!/bin/sh\n{token}\n{how} {shlex.join(self._command())} {name} "$@"\n'

    def _command(self) -> list[str]:
        return browser(self._folder / "users.json", self._journal)

    def used_by(self, *users: User) -> None:
        """Replace the users: the first one sits at the first page ever opened, the second at the second, and so on; the last stays.

        Without any, the user approves.
        """
        new = self._folder / "users.new"
        new.write_text(json.dumps([asdict(user) for user in users or (User(),)]))
        new.rename(self._folder / "users.json")

    @property
    def environment(self) -> dict[str, str]:
        """Variables by which the implementation finds the browser."""
        path = os.pathsep.join([str(self._folder / "bin"), os.environ.get("PATH", os.defpath)])
        nothing = str(self._folder / "no-desktop")
        return {
            "PATH": path,
            "BROWSER": str(self._folder / "bin" / "x-www-browser"),
            "DISPLAY": ":99",
            "XDG_DATA_DIRS": nothing,
            "XDG_CONFIG_DIRS": nothing,
        }

    def open(self, url: str) -> None:
        """Open a page by hand, like a user who reads the URL in a terminal."""
        subprocess.run([*self._command(), "by-hand", url], check=True, timeout=10, stdin=subprocess.DEVNULL)

    async def ask(self, url: str) -> int | None:
        """Send a GET request as a browser would; returns the status, or None without a response."""

        def get() -> int | None:
            parts = urlsplit(url)
            connection = http.client.HTTPConnection(parts.netloc, timeout=_WITHIN)
            try:
                connection.request("GET", f"{parts.path or '/'}?{parts.query}")
                return connection.getresponse().status
            except (OSError, http.client.HTTPException):
                return None
            finally:
                connection.close()

        return await anyio.to_thread.run_sync(get)

    def stop(self) -> None:
        """End the users that are still busy."""
        kill({entry.pid for entry in self.entries}, str(self._journal))

    @property
    def entries(self) -> list[Entry]:
        """The whole journal so far (see `mock_servers.browser`)."""
        return read_journal(self._journal)

    def events(self, event: str) -> list[Entry]:
        return [entry for entry in self.entries if entry.event == event]

    @property
    def openings(self) -> list[Opening]:
        """Every page that the implementation opened, in order."""
        data = [(entry.t, entry.data) for entry in self.events("opened")]
        return [Opening(t, fields["argv"], fields["url"] or "", fields["number"]) for t, fields in data]

    def pages_of(self, upstream: ProtectedMockUpstream) -> list[Opening]:
        """The opened pages on the authorization server of this upstream."""
        return [opening for opening in self.openings if opening.is_of(upstream)]

    @property
    def callbacks(self) -> list[Entry]:
        """Every completed delivery to a redirect URI, answered or failed."""
        return self.events("callback")

    async def opened(self, count: int = 1, within: float = 10.0) -> Opening:
        """Wait until the implementation has opened this many pages, and return the last of them. Raises `Violation`."""
        await eventually(
            lambda: len(self.openings) >= count,
            within=within,
            what=f"the implementation opens the browser {'once' if count == 1 else f'{count} times'}",
            seen=lambda: f"opened {len(self.openings)} times",
        )
        return self.openings[count - 1]

    async def done(self, count: int = 1, within: float = 20.0) -> None:
        """Wait until the users of this many pages have finished. Raises `Violation`."""
        await eventually(
            lambda: len(self.events("done")) >= count, within=within, what=f"{count} users have finished"
        )

    def must_not_have_opened(self) -> None:
        """Raise `Violation` if the implementation has opened a page. Proves nothing about later: first wait for a later event."""
        if self.openings:
            raise Violation(
                "the implementation never opens the browser", show("; ".join(map(str, self.openings)))
            )
