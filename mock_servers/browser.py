"""A browser with a scripted user, which takes the place of `xdg-open` and similar programs.

It returns at once, as openers do, and follows the redirects of the authorization server in the background. The scripted
user decides which requests go to the redirect URI. Journal events: `opened` (`argv`, `url`, `number`), `visit` (`url`,
`status`, `location`), `callback` and `stray` (`url`, `status`, `headers`, `body`, or `problem` without an answer),
`reachable` (`address`, `problem`), `thinks`, `broken` (`problem`: a fault of this program) and `done`.
This module needs only the standard library.
"""

import http.client
import json
import os
import re
import signal
import socket
from dataclasses import dataclass, field
from time import sleep
from typing import Any, Literal
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit, urlunsplit

from mock_servers.journal import Journal

#: the header that tells the authorization server whether the user approves
USER = "X-Mock-User"
_WITHIN = 10.0
_MAX_REDIRECTS = 10
_MAX_LIFE = 120


@dataclass(frozen=True)
class User:
    """What the user does with the page that the program opened."""

    #: "leaves": the browser never loads the page
    answer: Literal["approves", "denies", "leaves"] = "approves"
    #: seconds before the user answers
    wait: float = 0.0
    #: requests to the callback listener before the callback: "GET /path", "HEAD $callback", or "connect" (a
    #: connection without data); `$callback` is the path of the redirect URI
    strays: list[str] = field(default_factory=list)
    #: the callbacks to send, each with changes to its query: null removes a parameter, a list repeats it. In texts `$x`
    #: is the correct value of parameter x, `$short.x` lacks its last character, `$swap.x` has its letters in the other
    #: case.
    callbacks: list[dict[str, str | list[str] | None]] = field(default_factory=lambda: [{}])
    #: first connect to every address of the redirect URI's host
    probes: bool = False


def visit(argv: list[str], users: str | None, journal_file: str | None) -> None:
    """Journal the call and let the user act in the background. `argv` is the program and its arguments."""
    journal = Journal(journal_file)
    number = _number_of_visit(journal_file)
    url = next((argument for argument in argv[1:] if "://" in argument), None)
    journal.write("opened", argv=argv, url=url, number=number)
    user = _user(users, number)
    if url is None or user.answer == "leaves" or _in_background():
        return
    signal.alarm(_MAX_LIFE)
    try:
        _Visit(user, journal, url, number).go()
    except Exception as problem:
        journal.write("broken", number=number, problem=repr(problem))
    journal.write("done", number=number)
    os._exit(0)


def _number_of_visit(journal_file: str | None) -> int:
    """1 for the first visit. Two visits at once get two numbers, because only one process can make the folder."""
    number = 1
    while journal_file is not None:
        try:
            os.mkdir(f"{journal_file}.{number}")
            return number
        except FileExistsError:
            number += 1
    return number


def _user(file: str | None, number: int) -> User:
    if file is None:
        return User()
    with open(file, "rb") as content:
        users = [User(**fields) for fields in json.load(content)]
    return users[min(number, len(users)) - 1]


def _in_background() -> bool:
    """Fork. True in the parent, which returns to the caller; the child holds none of the caller's pipes."""
    if os.fork():
        return True
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    return False


class _Visit:
    def __init__(self, user: User, journal: Journal, url: str, number: int) -> None:
        self._user = user
        self._journal = journal
        self._url = url
        self._number = number
        self._redirect_uri = dict(parse_qsl(urlsplit(url).query)).get("redirect_uri", "")

    def go(self) -> None:
        """Act as the user."""
        self._journal.write("thinks", number=self._number, wait=self._user.wait)
        if self._user.probes:
            self._probe()
        sleep(self._user.wait)
        callback = self._sign_in()
        if callback is None:
            return
        for stray in self._user.strays:
            self._send_stray(stray)
        for changes in self._user.callbacks:
            self._request("callback", "GET", _changed(callback, changes))

    def _probe(self) -> None:
        parts = urlsplit(self._redirect_uri)
        for family, kind, _, _, address in socket.getaddrinfo(
            parts.hostname, parts.port, type=socket.SOCK_STREAM
        ):
            problem = None
            try:
                with socket.socket(family, kind) as probe:
                    probe.settimeout(_WITHIN)
                    probe.connect(address)
            except OSError as error:
                problem = str(error)
            self._journal.write("reachable", number=self._number, address=str(address[0]), problem=problem)

    def _sign_in(self) -> str | None:
        """Follow redirects up to the callback, and return its URL; None if they do not lead there."""
        url = self._url
        for _ in range(_MAX_REDIRECTS):
            location = self._request("visit", "GET", url, {USER: self._user.answer})
            if location is None:
                return None
            url = urljoin(url, location)
            if url.partition("?")[0] == self._redirect_uri.partition("?")[0]:
                return url
        return None

    def _send_stray(self, stray: str) -> None:
        parts = urlsplit(self._redirect_uri)
        if stray == "connect":
            try:
                with socket.create_connection((parts.hostname or "", parts.port or 80), timeout=_WITHIN):
                    self._journal.write("stray", number=self._number, url="connect", status=None)
            except OSError as error:
                self._journal.write("stray", number=self._number, url="connect", problem=str(error))
            return
        verb, _, target = stray.partition(" ")
        self._request("stray", verb, urljoin(self._redirect_uri, target.replace("$callback", parts.path)))

    def _request(self, event: str, verb: str, url: str, headers: dict[str, str] | None = None) -> str | None:
        """Send one request, journal it as `event`, and return the Location of the response."""
        parts = urlsplit(url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(parts.netloc, timeout=_WITHIN)
        entry: dict[str, Any] = {"number": self._number, "verb": verb, "url": url}
        try:
            connection.request(
                verb, urlunsplit(("", "", parts.path or "/", parts.query, "")), headers=headers or {}
            )
            response = connection.getresponse()
            location = response.headers["Location"]
            body = response.read().decode(errors="replace")
            entry |= {"status": response.status, "location": location}
            self._journal.write(event, **entry, headers=response.getheaders(), body=body)
            return location
        except (OSError, http.client.HTTPException) as problem:
            self._journal.write(event, **entry, status=None, problem=repr(problem))
            return None
        finally:
            connection.close()


def _changed(url: str, changes: dict[str, str | list[str] | None]) -> str:
    parts = urlsplit(url)
    correct = dict(parse_qsl(parts.query, keep_blank_values=True))

    def fill(match: "re.Match[str]") -> str:
        value = correct.get(match["name"], "")
        match match["form"]:
            case "short":
                return value[:-1]
            case "swap":
                return value.swapcase()
        return value

    query = [(name, value) for name, value in correct.items() if name not in changes]
    for name, value in changes.items():
        values = [] if value is None else [value] if isinstance(value, str) else value
        query += [
            (name, re.sub(r"\$(?:(?P<form>short|swap)\.)?(?P<name>\w+)", fill, text)) for text in values
        ]
    return urlunsplit((parts.scheme, parts.netloc, parts.path, urlencode(query), ""))
