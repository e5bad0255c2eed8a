"""Mistakes in what a server's name, metadata and callback may do."""

from __future__ import annotations

import asyncio
import html
import os
import re
from types import SimpleNamespace
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import msgspec

from conformance.mutants import mutant, replace
from dynamic_mcp.errors import UpstreamFailed
from dynamic_mcp.oauth import address, browser, metadata, store
from dynamic_mcp.oauth.binding import Binding
from dynamic_mcp.oauth.callback import Callback
from dynamic_mcp.oauth.store import FileStore
from dynamic_mcp.oauth.tokens import Tokens

if TYPE_CHECKING:
    from collections.abc import Callable


@mutant("SEC-003")
def makes_one_file_name_of_similar_names() -> None:
    take_the_tokens_of_other_names()
    replace(store.file_name, lambda server: re.sub(r"[^\w-]", "_", server)[:320])


@mutant("SEC-003")
def cuts_long_names() -> None:
    take_the_tokens_of_other_names()
    right = store.file_name
    replace(right, lambda server: right(server[:100]))


@mutant("SEC-003")
def reads_the_file_that_a_name_leads_to() -> None:
    """dmcp 1.5.0 behaves like this, and writes there too: it wrote $HOME/evil.json."""
    right, fits = FileStore.load, Binding.fits
    found: list[Tokens] = []

    def wrong(self: FileStore) -> Tokens | None:
        path = self.path.parent / f"{unquote(self.path.stem)}.json"
        if self.path.exists() or "\0" in str(path) or len(path.name) > 255 or not path.exists():
            return right(self)
        found.append(msgspec.json.decode(path.read_bytes(), type=Tokens))
        return found[-1]

    replace(right, wrong)
    replace(fits, lambda self, tokens: any(tokens is one for one in found) or fits(self, tokens))


@mutant(
    "SEC-007",
    also={
        "SEC-012": "it does not refuse http either",
        "HARD-003": "it sends requests to a token endpoint with http://",
    },
)
def opens_whatever_is_called_an_endpoint() -> None:
    """For example a `file:` URL."""
    replace(metadata.secure, lambda url, what: url)
    replace(address.base_of, lambda endpoint: endpoint.partition("?")[0])


@mutant("SEC-007")
def opens_any_scheme_that_it_does_not_forbid() -> None:
    """It forbids three dangerous ones."""
    secure, base_of = metadata.secure, address.base_of

    def is_allowed(url: str) -> bool:
        scheme = re.match(r"([A-Za-z][\w+.-]*):", url)
        return scheme is not None and scheme[1] not in ("http", "https", "javascript", "file", "data")

    replace(secure, lambda url, what: url if is_allowed(url) else secure(url, what))
    replace(base_of, lambda endpoint: endpoint if is_allowed(endpoint) else base_of(endpoint))


@mutant("SEC-007")
def opens_pages_by_a_shell() -> None:
    """For example by `sh -c "xdg-open URL"`, with the endpoint as the server wrote it."""
    replace(address.base_of, lambda endpoint: endpoint.partition("?")[0])
    kept: list[asyncio.subprocess.Process] = []

    async def wrong(url: str, server: str) -> None:
        nothing = asyncio.subprocess.DEVNULL
        command = f'{os.environ["BROWSER"]} "{url}"'
        kept.append(
            await asyncio.create_subprocess_shell(
                command, stdin=nothing, stdout=nothing, stderr=nothing, start_new_session=True
            )
        )

    replace(browser.show, wrong)


@mutant("SEC-008")
def shows_the_words_of_the_callback_as_they_are() -> None:
    replace(html, SimpleNamespace(escape=str))


@mutant("SEC-008")
def repeats_the_target_of_a_request() -> None:
    _add_to_the_page(lambda target, is_answer: "" if is_answer else f"<!-- {target} -->")


@mutant("SEC-025")
def shows_the_code() -> None:
    _add_to_the_page(lambda target, is_answer: html.escape(f" ({target})"))


def _add_to_the_page(words: Callable[[str, bool], str]) -> None:
    """Add words to each page: they depend on the request, and on whether it is the answer to the sign-in."""
    right = Callback.judge
    added: list[str] = []

    def wrong(self: Callback, method: str, target: str) -> tuple[int, str | None]:
        status, text = right(self, method, target)
        added.append(words(target, text is None))
        return status, text

    replace(right, wrong)
    # Every text of a page is escaped, and every page has a text.
    replace(html, SimpleNamespace(escape=lambda text: html.escape(text) + added[-1]))


@mutant("SEC-012", also={"HARD-003": "it sends requests to a token endpoint with http://"})
def posts_codes_in_the_clear() -> None:
    """The proxy gives no warning."""
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
            raise UpstreamFailed("it is not a web address")
        return url

    replace(right, wrong)


@mutant(
    "SEC-012",
    also=dict.fromkeys(
        ("SEC-001", "SEC-002", "SEC-003", "SEC-004", "SEC-006", "SEC-023", "TOK-001"),
        "it does not reach authorization servers on loopback",
    ),
)
def refuses_plain_text_on_loopback_too() -> None:
    def wrong(url: str, what: str) -> str:
        if urlsplit(url).scheme != "https":
            raise UpstreamFailed(f"the address of its {what} is not https")
        return url

    replace(metadata.secure, wrong)


def take_the_tokens_of_other_names() -> None:
    """A file with the tokens of another name counts as a file of this one."""
    for right in (Binding.fits, Binding.may_fit):
        replace(right, _or_of_another_name(right))


def _or_of_another_name(right: Callable[[Binding, Tokens], bool]) -> Callable[[Binding, Tokens], bool]:
    def wrong(self: Binding, tokens: Tokens) -> bool:
        return tokens.server not in (None, self.server) or right(self, tokens)

    return wrong
