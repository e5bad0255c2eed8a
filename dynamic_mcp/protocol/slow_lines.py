"""Passes on the messages of a line that takes several turns of the loop: it is large, a batch, or has several messages."""

from __future__ import annotations

from typing import Protocol

import msgspec

from dynamic_mcp.protocol import large, replacements
from dynamic_mcp.protocol.jsonrpc import PARSE_ERROR, Malformed, Message, decode_members, parse
from dynamic_mcp.protocol.pieces import Large, Line, first_character, is_batch, size_of
from dynamic_mcp.protocol.several import values_of
from dynamic_mcp.tasks import Slices


class Receiver(Protocol):
    """Takes the messages of the other side. A result is false for junk, such as an answer to no request."""

    def receive_message(self, message: Message) -> bool: ...

    def receive_malformed(self, problem: Malformed) -> bool: ...

    def count_junk(self, size: int) -> None:
        """Count the bytes of junk."""
        ...


async def receive(line: Line, receiver: Receiver) -> None:
    """Pass on each message of a line. If the line as a whole is no JSON, pass on the messages before the first other text."""
    try:
        await _receive_value(line, receiver)
    except Malformed as problem:
        await _receive_values(line, problem, receiver)


async def _receive_values(line: Line, fault: Malformed, receiver: Receiver) -> None:
    """Handle the messages of a line that is no JSON as a whole. ``fault`` is the decoder's error for the whole line."""
    left, slices = size_of(line), Slices()
    async for value in values_of(line):
        try:
            if size_of(value) == size_of(line):
                raise fault
            await _receive_value(value, receiver)
        except Malformed as problem:
            # What follows may be the middle of a string.
            if not receiver.receive_malformed(problem):
                receiver.count_junk(left)
            return
        left -= size_of(value)
        if left and not _may_precede_a_message(value):
            receiver.count_junk(left)
            return
        await slices.rest()


def _may_precede_a_message(value: Line) -> bool:
    """Whether a value is a message, a batch or a log line in JSON, rather than the beginning of a text such as ``[INFO]``."""
    if first_character(value) != b"{":
        return is_batch(value)
    if isinstance(value, Large):
        return True
    try:
        parse(value)
    except Malformed:
        try:
            decode_members(value)
        except (msgspec.DecodeError, RecursionError):
            return False
    return True


async def _receive_value(value: Line, receiver: Receiver) -> None:
    """Handle a message or a batch. Raises Malformed if it is no JSON."""
    try:
        is_useful = receiver.receive_message(await replacements.parse_any(value))
    except Malformed as problem:
        if is_batch(value):
            is_useful = await _receive_batch(value, receiver)
        elif problem.code == PARSE_ERROR:
            raise
        else:
            is_useful = receiver.receive_malformed(problem)
    if not is_useful:
        receiver.count_junk(size_of(value))


async def _receive_batch(batch: Line, receiver: Receiver) -> bool:
    """Handle each message of a batch; false if all of them are junk. Each of its requests gets an answer of its own.

    Raises Malformed if it is no JSON.
    """
    try:
        elements = await large.elements_of_any(batch)
    except Malformed as problem:
        if problem.code == PARSE_ERROR:
            raise
        return receiver.receive_malformed(problem)
    is_useful, slices = False, Slices()
    for element in elements:
        try:
            is_useful |= receiver.receive_message(await replacements.parse_any(element))
        except Malformed as problem:
            is_useful |= receiver.receive_malformed(problem)
        await slices.rest()
    return is_useful
