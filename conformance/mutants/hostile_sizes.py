"""Mistakes with messages that cost many times their size."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec
from msgspec import Raw

from conformance.mutants import mutant, replace
from dynamic_mcp import log
from dynamic_mcp.oauth import request
from dynamic_mcp.protocol import batch, surrogates
from dynamic_mcp.protocol.pieces import Pieces

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)


def _read_at_once() -> None:
    """The proxy reads each large message in one go."""
    replace(Pieces.take_line, Pieces.take)


@mutant("SEC-013")
def measures_metadata_after_decompression() -> None:
    async def wrong(http: httpx.AsyncClient, what: str, url: str) -> tuple[int, bytes]:
        try:
            reply = await http.get(url)
        except Exception as error:
            raise request.TransientFailure(f"{what} cannot be reached") from error
        if len(reply.content) > request.MAX_ANSWER:
            raise request.TransientFailure(f"the answer of {what} is too large")
        return reply.status_code, reply.content

    replace(request.fetch, wrong)


@mutant("HTTP-024")
def splits_an_array_before_it_counts() -> None:
    right = batch.elements_of

    def wrong(array: bytes) -> Iterator[bytes]:
        with suppress(msgspec.DecodeError):
            _ = [bytes(element) for element in msgspec.json.decode(array, type=list[Raw])]
        return right(array)

    _read_at_once()
    replace(right, wrong)


@mutant("HTTP-024")
def keeps_an_object_for_each_line_of_an_event() -> None:
    class Wrong(list[bytes]):
        size = 0

        def add(self, piece: bytes) -> None:
            self.append(piece)
            self.size += len(piece)

        def take(self) -> bytes:
            whole = b"".join(self)
            self.clear()
            self.size = 0
            return whole

        take_line = take

    replace(Pieces, Wrong)


@mutant("STD-023")
def repairs_with_a_call_for_each_escape() -> None:
    def wrong(line: bytes) -> bytes:
        return _ESCAPE.sub(lambda found: rb"\ufffd" if found[1] else found[0], line)

    _read_at_once()
    replace(surrogates.without_lone_surrogates, wrong)


@mutant("OPS-011", crashes=True)
def lack_of_memory_ends_the_proxy() -> None:
    """As it does in programs whose runtime aborts."""
    right = log.report_bug

    def wrong(where: str, error: BaseException) -> str:
        if isinstance(error, MemoryError):
            os.abort()
        return right(where, error)

    replace(right, wrong)
