"""Mistakes in what a server's name, metadata and callback may do."""

from __future__ import annotations

import asyncio
import html
import re
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest.mock import patch
from urllib.parse import urlsplit

import msgspec

from conformance.mutants import mutant, replace
from conformance.mutants.wire_oauth import Page, around_callbacks, with_text
from dynamic_mcp.errors import UpstreamFailed
from dynamic_mcp.oauth import metadata, store
from dynamic_mcp.oauth.store import FileStore
from dynamic_mcp.oauth.tokens import Tokens

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Callable

    from dynamic_mcp.oauth.callback import Callback


@mutant("SEC-003")
def names_files_exactly_like_servers() -> None:
    replace(store.file_name, lambda server: server.replace("\0", ""))


@mutant("SEC-003")
def makes_one_file_name_of_similar_names() -> None:
    replace(store.file_name, lambda server: re.sub(r"[^\w-]", "_", server)[:320])


@mutant("SEC-003")
def cuts_long_names() -> None:
    right = store.file_name
    replace(right, lambda server: right(server[:100]))


@mutant("SEC-003")
def reads_the_file_that_a_name_leads_to() -> None:
    """The path is the name with `.json` at its end. dmcp 1.5.0 behaves like this: it wrote $HOME/evil.json."""
    names: dict[FileStore, str] = {}
    create, right = FileStore.__init__, FileStore.load

    def remember(self: FileStore, server: str, *more: Any) -> None:
        names[self] = server
        create(self, server, *more)

    def wrong(self: FileStore) -> Tokens | None:
        path = self.path.parent / f"{names[self]}.json"
        if self.path.exists() or "\0" in str(path) or len(path.name) > 255 or not path.exists():
            return right(self)
        return msgspec.json.decode(path.read_bytes(), type=Tokens)

    replace(create, remember)
    replace(right, wrong)


@mutant(
    "SEC-007",
    also={
        "SEC-012": "http is among the schemes that nobody looks at",
        "HARD-003": "a token endpoint with http:// is asked",
    },
)
def opens_whatever_is_called_an_endpoint() -> None:
    replace(metadata.secure, lambda url, what: url)


@mutant("SEC-007")
def opens_pages_by_a_shell() -> None:
    right = asyncio.create_subprocess_exec

    async def wrong(program: str, *words: str, **more: Any) -> Process:
        *others, url = words
        return await right("sh", "-c", " ".join([program, *others, f'"{url}"']), **more)

    patch.object(asyncio, "create_subprocess_exec", wrong).start()


@mutant("SEC-008")
def shows_the_words_of_the_callback_as_they_are() -> None:
    replace(html, SimpleNamespace(escape=str))


@mutant("SEC-008")
def repeats_the_target_of_a_request() -> None:
    _add_to_pages(lambda target: b"<!-- %b -->" % target)


@mutant("SEC-008")
def shows_the_code() -> None:
    _add_to_pages(lambda target: html.escape(target.decode()).encode())


def _add_to_pages(text: Callable[[bytes], bytes]) -> None:
    """Add a text, which may depend on the target of the request, to each page for the browser."""

    async def wrong(callback: Callback, head: bytes, writer: asyncio.StreamWriter) -> tuple[bytes, Page]:
        target = head.split(b" ")[1] if head else b""
        return head, Page(writer, lambda response: with_text(response, text(target)))

    around_callbacks(wrong)


@mutant("SEC-012", also={"HARD-003": "a token endpoint with http:// is asked"})
def posts_codes_in_the_clear() -> None:
    right = metadata.secure

    def wrong(url: str, what: str) -> str:
        if urlsplit(url).scheme == "http" and urlsplit(url).hostname:
            return url
        return right(url, what)

    replace(right, wrong)


@mutant("SEC-012")
def minds_only_the_token_endpoint() -> None:
    right = metadata.secure

    def wrong(url: str, what: str) -> str:
        if what != "authorization endpoint":
            return right(url, what)
        if urlsplit(url).scheme not in ("http", "https"):
            raise UpstreamFailed("it is no web address")
        return url

    replace(right, wrong)


@mutant(
    "SEC-012",
    also=dict.fromkeys(
        ("SEC-001", "SEC-002", "SEC-003", "SEC-004", "SEC-006"),
        "authorization servers on loopback are not reached",
    ),
)
def refuses_plain_text_on_loopback_too() -> None:
    def wrong(url: str, what: str) -> str:
        if urlsplit(url).scheme != "https":
            raise UpstreamFailed(f"the address of its {what} is not https")
        return url

    replace(metadata.secure, wrong)
