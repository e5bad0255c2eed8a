"""Mistakes with messages and values that are almost right."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING, Any

from conformance.mutants import mutant, replace, wire, wire_http
from dynamic_mcp.errors import UpstreamFailed
from dynamic_mcp.frontend import arguments, tool_surface
from dynamic_mcp.groups import entries, listing, oddities
from dynamic_mcp.log import log
from dynamic_mcp.protocol import answers, ids, log_lines, nulls, numbers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from conformance.mutants.wire import Way
    from conformance.mutants.wire_http import ProxyRequest, Send
    from dynamic_mcp.upstream.base import Upstream
    from dynamic_mcp.upstream.http.reply import HttpReply

BOM = codecs.BOM_UTF8


def _refuses_the_mark(line: bytes, way: Way) -> bytes:
    """Make a line with a byte order mark unreadable."""
    return b"?" + line if line.startswith(BOM) else line


@mutant("FRONT-090")
def refuses_the_byte_order_mark_of_its_client() -> None:
    wire.from_client.lines(_refuses_the_mark)


@mutant("STD-041")
def drops_messages_with_a_byte_order_mark() -> None:
    wire.from_stdio_upstreams.lines(_refuses_the_mark)


@mutant("FRONT-091")
def takes_the_refusal_of_an_empty_cursor_for_that_of_the_list() -> None:
    # Private: only here does a listing go on without its last page.
    right = listing._end_early

    def wrong(found: listing.Listing, cursor: str | None, failure: Any) -> None:
        right(found, None, failure)

    replace(right, wrong)


@mutant("FRONT-092", also={"HTTP-061": "a tool that is held back is a bad entry too"})
def refuses_a_list_for_one_bad_entry() -> None:
    # Private: the entries of a page are read only here.
    right = listing._add_page

    async def wrong(
        found: listing.Listing, answer: bytes, kind: listing.Kind, upstream: Upstream
    ) -> str | None:
        following = await right(found, answer, kind, upstream)
        if found and found.cut:
            raise UpstreamFailed(f"its answer to {kind.method} is not a list of {kind.member}")
        return following

    replace(right, wrong)


@mutant("FRONT-092")
def passes_wrong_members_of_definitions_on() -> None:
    replace(entries.valid_entry, lambda member, entry, wrong: entry.copy())


@mutant("FRONT-092")
def lists_prompts_without_a_name() -> None:
    replace(entries.key_problem, lambda member, key: "")


@mutant("FRONT-093")
def passes_errors_on_as_they_are() -> None:
    replace(answers.valid_error, lambda error: error)


@mutant("FRONT-094", also={"FRONT-115": "the unknown members are ignored too"})
def ignores_arguments_of_another_name() -> None:
    """The call runs with no arguments at all."""
    known = {"group", "name", "args"}

    def wrong(params: Any) -> Any:
        arguments = params.get("arguments")
        if params.get("name") != tool_surface.CALL or not isinstance(arguments, dict):
            return params
        return {**params, "arguments": {name: arguments[name] for name in arguments if name in known}}

    wire.from_client(wire.params_of("tools/call", wrong))


@mutant("FRONT-094")
def refuses_the_group_and_the_tool_in_one_name() -> None:
    """The reference promises to make a call with one possible meaning."""
    replace(arguments.find_pair, lambda joined, groups: None)


@mutant("FRONT-094")
def makes_a_call_without_arguments_in_another_form() -> None:
    """A list in place of an object counts as nothing."""

    def wrong(params: Any) -> Any:
        arguments = params.get("arguments")
        if isinstance(arguments, dict) and isinstance(arguments.get("args"), list):
            return {**params, "arguments": {**arguments, "args": {}}}
        return params

    wire.from_client(wire.params_of("tools/call", wrong))


@mutant("FRONT-095")
def passes_nulls_on() -> None:
    replace(nulls.valid_result, lambda method, result: result)


@mutant("STD-042", also={"HTTP-040": "the ids over HTTP are compared in the same way"})
def compares_ids_by_their_bytes() -> None:
    replace(ids.whole_number, lambda raw: int(raw) if raw.isdigit() else None)


@mutant("STD-043")
def drops_messages_with_other_numbers() -> None:
    """The call waits for its timeout."""
    replace(numbers.with_valid_numbers, lambda text: text)
    wire.from_stdio_upstreams.lines(lambda line, way: b"?" + line if b": NaN" in line else line)


@mutant("STD-044")
def takes_a_log_line_for_an_answer() -> None:
    replace(log_lines.is_no_log_line, lambda line: True)


@mutant("STD-045")
def says_nothing_about_junk() -> None:
    replace(oddities.Oddities.report, lambda self, what: None)


@mutant("STD-045")
def reports_each_line_of_junk() -> None:
    replace(
        oddities.Oddities.report,
        # Private: the name is known only here.
        lambda self, what: log.warning("group %s: the server %s", self._group, what),
    )


@mutant("HTTP-040", also={"HTTP-056": "one of its answers has such a mark"})
def refuses_bodies_with_a_byte_order_mark() -> None:
    async def wrong(request: ProxyRequest, send: Send) -> AsyncIterator[HttpReply]:
        async with send(request) as reply:
            is_answer = reply.status == 200 and reply.content_type == "application/json"
            body = await wire_http.whole_body(reply) if is_answer else b""
            if not body:
                yield reply
                return

            async def chunks() -> AsyncIterator[bytes]:
                yield b"?" + body if body.startswith(BOM) else body

            yield wire_http.Reply(reply, chunks=chunks())

    wire_http.around_requests(wrong)
