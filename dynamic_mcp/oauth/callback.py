"""The loopback listener for the redirect of the browser (RFC 8252, section 7.3).

It listens on a port of 127.0.0.1, or at the configured ``redirect_uri``. It opens before the browser, and closes after the sign-in.
It refuses every other request (a favicon, a wrong path, a guess of another page, a connection without a request), and only an answer
with the right state ends the wait. The page for the user shows the outcome, and escapes every text of the server.
"""

from __future__ import annotations

import asyncio
import contextlib
import html
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import parse_qs, urlsplit, urlunsplit

import msgspec

from dynamic_mcp.config.oauth import CALLBACK_PATH
from dynamic_mcp.errors import UpstreamFailed
from dynamic_mcp.log import log
from dynamic_mcp.oauth.pkce import same
from dynamic_mcp.oauth.request import TransientFailure

#: The redirect address without a configured one; its port is that of the listener.
_DEFAULT_REDIRECT_URI = f"http://127.0.0.1{CALLBACK_PATH}"
#: The limits of one request: seconds, the bytes of its first line, and those of its headers.
_REQUEST_TIME = 5.0
_LINE_SIZE = 16384
_HEADERS_SIZE = 1 << 20
_NO_ANSWER = "This is not an answer to a sign-in."

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:34em;margin:15vh auto;padding:0 1em;color:#222}}
@media(prefers-color-scheme:dark){{body{{background:#181818;color:#ddd}}}}h1{{font-size:1.4em}}</style>
<h1>{title}</h1><p>{text}</p></html>
"""


class CallbackAnswer(msgspec.Struct, frozen=True):
    """The authorization response, which the browser brings (RFC 6749, section 4.1.2; RFC 9207, section 2)."""

    code: str | None
    error: str | None
    iss: str | None
    #: what the authorization server says about the error
    description: str | None = None


class Callback:
    """Waits for one authorization response."""

    def __init__(self, server_name: str, state: str) -> None:
        self.redirect_uri = ""
        self.path = CALLBACK_PATH
        self._name = server_name
        self._state = state
        self._answer: asyncio.Future[CallbackAnswer] = asyncio.get_running_loop().create_future()
        #: the outcome of the sign-in after the answer, for the page: the problem, or None for success
        self._outcome: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()

    async def wait(self) -> CallbackAnswer:
        """The answer with the right state."""
        return await asyncio.shield(self._answer)

    def finish(self, problem: str | None) -> None:
        """Show the outcome in the browser that waits; None for success."""
        if not self._outcome.done():
            self._outcome.set_result(problem)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Handle one connection."""
        try:
            async with asyncio.timeout(_REQUEST_TIME):
                line = await reader.readuntil(b"\r\n")
                await _skip_headers(reader)
            method, _, rest = line.decode("latin-1").partition(" ")
            await self._respond(writer, *self.judge(method, rest.partition(" ")[0]))
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            log.debug("a connection to the callback address did not come from a browser")
        finally:
            writer.close()

    def paste(self, address: str) -> str | None:
        """Take the redirect address, copied by hand from the browser; why it is not an answer, or None."""
        try:
            parts = urlsplit(address.strip())
        except ValueError:
            return _NO_ANSWER
        return self.judge("GET", f"{parts.path}?{parts.query}")[1]

    def judge(self, method: str, target: str) -> tuple[int, str | None]:
        """The status and the text of the reply. Without a text the reply shows the outcome of the sign-in."""
        try:
            parts = urlsplit(target)
            query = parse_qs(parts.query, keep_blank_values=True, max_num_fields=50)
        except ValueError:
            return 400, _NO_ANSWER
        if (parts.path or "/") != self.path:
            return 404, "There is nothing here."
        if method != "GET":
            return 405, "This address only takes the answer to a sign-in."
        states = query.get("state", [])
        if len(states) != 1 or not same(states[0], self._state):
            return 400, "This answer does not belong to the current sign-in."
        if self._answer.done():
            return 400, "This sign-in was answered already."
        if any(len(query.get(name, [])) > 1 for name in ("code", "error", "iss")):
            return 400, "This answer has a parameter twice."
        first = {name: values[0] for name, values in query.items()}
        if not first.get("code") and not first.get("error"):
            return 400, "This answer has neither a code nor an error."
        self._answer.set_result(
            CallbackAnswer(
                first.get("code"), first.get("error"), first.get("iss"), first.get("error_description")
            )
        )
        return 200, None

    async def _respond(self, writer: asyncio.StreamWriter, status: int, text: str | None) -> None:
        if text is not None:
            title = "Not signed in"
        else:
            problem = await self._outcome
            status = 200 if problem is None else 400
            title = "Signed in" if problem is None else "Not signed in"
            text = (
                f"{self._name} can be used now. You can close this window."
                if problem is None
                else f"The sign-in to {self._name} did not succeed: {problem}"
            )
        page = _PAGE.format(title=html.escape(title), text=html.escape(text)).encode()
        head = (
            f"HTTP/1.1 {status} {'OK' if status == 200 else 'Error'}\r\nContent-Type: text/html; charset=utf-8\r\n"
            f"Content-Length: {len(page)}\r\nConnection: close\r\nCache-Control: no-store\r\n"
            "Referrer-Policy: no-referrer\r\nX-Content-Type-Options: nosniff\r\n"
            "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'\r\n\r\n"
        )
        writer.write(head.encode() + page)
        await writer.drain()


async def _skip_headers(reader: asyncio.StreamReader) -> None:
    """Read past the headers. A browser sends the cookies of all ports of 127.0.0.1, so they may be longer than the first line."""
    end, size = b"\r\n", 0
    while b"\r\n\r\n" not in end:
        chunk = await reader.read(_LINE_SIZE)
        size += len(chunk)
        if not chunk or size > _HEADERS_SIZE:
            raise asyncio.IncompleteReadError(b"", None)
        end = end[-3:] + chunk


@asynccontextmanager
async def listening(
    server_name: str, state: str, redirect_uri: str | None = None, preferred: int = 0
) -> AsyncIterator[Callback]:
    """A callback that listens at an address of this machine until the block ends.

    Without a port in the address, it listens on the ``preferred`` port if that is free, else on any port.
    """
    callback = Callback(server_name, state)
    parts = urlsplit(redirect_uri or _DEFAULT_REDIRECT_URI)
    callback.path = parts.path or "/"
    # A browser may know localhost by either address.
    name = parts.hostname or ""
    first, *others = ["127.0.0.1", "::1"] if name == "localhost" else [name]
    opening = (
        _bind(callback, preferred, first)
        if parts.port is None
        else _bind_exactly(callback, parts.port, first)
    )
    servers = [await opening]
    try:
        port = servers[0].sockets[0].getsockname()[1]
        for host in others:
            with contextlib.suppress(OSError):
                servers.append(await asyncio.start_server(callback.serve, host, port, limit=_LINE_SIZE))
        netloc = f"[{name}]:{port}" if ":" in name else f"{name}:{port}"
        callback.redirect_uri = urlunsplit(parts._replace(netloc=netloc))
        yield callback
    finally:
        callback.finish("the sign-in was given up")
        # One turn of the loop, for the page to reach the browser.
        await asyncio.sleep(0)
        for server in servers:
            server.close()


async def _bind_exactly(callback: Callback, port: int, host: str) -> asyncio.Server:
    try:
        return await asyncio.start_server(callback.serve, host, port, limit=_LINE_SIZE)
    except OSError as error:
        # Another sign-in may have it, and then ends.
        raise TransientFailure(
            f"port {port} of its redirect_uri cannot be opened for the answer of the browser: {error.strerror}"
        ) from None


async def _bind(callback: Callback, port: int, host: str = "127.0.0.1") -> asyncio.Server:
    try:
        return await asyncio.start_server(callback.serve, host, port, limit=_LINE_SIZE)
    except OSError:
        pass
    try:
        return await asyncio.start_server(callback.serve, host, 0, limit=_LINE_SIZE)
    except OSError as error:
        raise UpstreamFailed(
            f"no port can be opened for the answer of the browser: {error.strerror}"
        ) from None
