"""The scripted browser: its callbacks, its users, and a caller that does not wait."""

import json
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from mock_servers import commands
from mock_servers.browser import User
from mock_servers.journal import Entry, read_journal

from .driver import WITHIN, eventually


class Site:
    """A server with an authorization endpoint at /authorize and a callback listener at /callback."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, str]] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.requests.append((self.command, self.path, self.headers.get("X-Mock-User", "")))
                parts = urlsplit(self.path)
                if parts.path == "/authorize":
                    self.send_response(302)
                    self.send_header("Location", "/callback?code=c&state=aB%2B9")
                else:
                    self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_HEAD = do_GET

            def log_message(self, *_: Any) -> None:
                """Do not log."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.origin = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.url = f"{self.origin}/authorize?redirect_uri={self.origin}/callback&client_id=x"

    @property
    def states(self) -> list[list[str]]:
        queries = [urlsplit(target).query for _, target, _ in self.requests if target.startswith("/callback")]
        return [[value for name, value in parse_qsl(query) if name == "state"] for query in queries]


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    thread = threading.Thread(target=site.server.serve_forever, args=(0.01,))
    thread.start()
    yield site
    site.server.shutdown()
    thread.join(WITHIN)
    site.server.server_close()


class Opener:
    """Opens pages in the browser, and reads its journal."""

    def __init__(self, folder: Path, *users: User) -> None:
        self._journal = folder / "journal.jsonl"
        (folder / "users.json").write_text(json.dumps([asdict(user) for user in users]))
        self._command = [*commands.browser(folder / "users.json", self._journal), "xdg-open"]

    def open(self, url: str) -> None:
        output = subprocess.run([*self._command, url], check=True, timeout=WITHIN, capture_output=True)
        assert output.stdout == output.stderr == b""

    def events(self, name: str) -> list[Entry]:
        return [entry for entry in read_journal(self._journal) if entry.event == name]

    def wait_until_done(self, count: int = 1) -> None:
        eventually(lambda: len(self.events("done")) == count, f"{count} users have finished")


def test_follows_the_redirect_and_sends_the_callback(tmp_path: Path, site: Site) -> None:
    opener = Opener(tmp_path, User("denies"))
    opener.open(site.url)
    opener.wait_until_done()
    assert [(verb, user) for verb, _, user in site.requests] == [("GET", "denies"), ("GET", "")]
    assert site.states == [["aB+9"]]
    assert opener.events("opened")[0].data["argv"] == ["xdg-open", site.url]
    assert opener.events("callback")[0].data["status"] == 200


@pytest.mark.slow
def test_caller_does_not_wait_for_the_user(tmp_path: Path, site: Site) -> None:
    opener = Opener(tmp_path, User(wait=4))
    opener.open(site.url)  # also waits for the end of its output
    assert site.requests == []
    opener.wait_until_done()
    assert site.states == [["aB+9"]]


def test_user_changes_the_callback_parameters(tmp_path: Path, site: Site) -> None:
    changes: list[dict[str, str | list[str] | None]] = [
        {"state": None},
        {"state": "wrong"},
        {"state": "$short.state"},
        {"state": "$swap.state"},
        {"state": ["$state", "$state"]},
        {},
    ]
    opener = Opener(tmp_path, User(callbacks=changes))
    opener.open(site.url)
    opener.wait_until_done()
    assert site.states == [[], ["wrong"], ["aB+"], ["Ab+9"], ["aB+9", "aB+9"], ["aB+9"]]


def test_strays_and_probes_precede_the_callback(tmp_path: Path, site: Site) -> None:
    opener = Opener(tmp_path, User(strays=["GET /favicon.ico", "HEAD $callback", "connect"], probes=True))
    opener.open(site.url)
    opener.wait_until_done()
    requests = [(verb, urlsplit(target).path) for verb, target, _ in site.requests]
    assert requests == [
        ("GET", "/authorize"),
        ("GET", "/favicon.ico"),
        ("HEAD", "/callback"),
        ("GET", "/callback"),
    ]
    assert [entry.data["status"] for entry in opener.events("stray")] == [200, 200, None]
    assert [entry.data["problem"] for entry in opener.events("reachable")] == [None]


def test_each_visit_has_its_user_and_the_last_user_repeats(tmp_path: Path, site: Site) -> None:
    opener = Opener(tmp_path, User("leaves"), User(callbacks=[{"state": "second"}]), User())
    opener.open(site.url)
    for count in (1, 2, 3):
        opener.open(site.url)
        opener.wait_until_done(count)
    assert site.states == [["second"], ["aB+9"], ["aB+9"]]
    assert [entry.data["number"] for entry in opener.events("opened")] == [1, 2, 3, 4]


def test_unreachable_listener_is_journalled(tmp_path: Path, site: Site) -> None:
    opener = Opener(tmp_path, User(strays=["connect"], probes=True))
    gone = site.origin.rpartition(":")[0] + ":1"
    opener.open(site.url.replace(f"{site.origin}/callback", f"{gone}/callback"))
    opener.wait_until_done()
    assert opener.events("reachable")[0].data["problem"] is not None
    assert opener.events("callback") == []
