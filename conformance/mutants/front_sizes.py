"""Mistakes about the size of a message to the client."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.mutants import mutant, replace
from dynamic_mcp.frontend import list_pages
from dynamic_mcp.frontend.session import ClientSession

if TYPE_CHECKING:
    from collections.abc import Sequence


@mutant("FRONT-182")
def sends_messages_of_any_size() -> None:
    """The proxy behaved like this before version 1.3 of the requirements."""
    replace(ClientSession.max_message, lambda self, group: None)


@mutant("FRONT-182")
def ends_a_list_where_the_first_page_ends() -> None:
    right = list_pages.page

    def wrong(definitions: Sequence[bytes], start: int, limit: int | None) -> tuple[list[bytes], bytes, int]:
        shown, _, left_out = right(definitions, start, limit)
        return shown, b"", left_out

    replace(right, wrong)
