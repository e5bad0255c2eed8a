"""The forms in which servers say that a session is lost, and texts that only look like it."""

from __future__ import annotations

import json
import time

import pytest

from dynamic_mcp.upstream.http.refusals import (
    MAX_READ,
    asks_for_initialize,
    is_session_lost,
    is_session_lost_error,
    reason_in,
    refuses_token,
)


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (404, ""),
        (410, "Gone"),
        (400, "Invalid or missing session ID"),
        (400, "Bad Request: No valid session ID provided"),
        (400, "Bad Request: Server not initialized"),
        (400, "Missing Mcp-Session-Id header; the Mcp-Session-Id header is required"),
        (400, "Session ID missing"),
        (400, "Session 0c5f3e0e-3f4f-4d8a not found"),
        (400, "No transport found for sessionId"),
        (400, '{"error":"SESSION_NOT_FOUND"}'),
        (401, "Unauthorized: Session not found"),
        (403, "Unknown session"),
        (422, "Unexpected message, expect initialize request"),
        (500, "Session not found"),
        (503, "session has expired"),
    ],
)
def test_these_statuses_and_texts_mean_a_lost_session(status: int, text: str) -> None:
    assert is_session_lost(status, text)


@pytest.mark.parametrize(
    ("status", "text", "challenge"),
    [
        (200, "Session not found", ""),
        (400, "Bad Request", ""),
        (400, "The argument x is invalid", ""),
        (401, "Unauthorized", ""),
        (401, "The session has expired", 'Bearer error="invalid_token"'),
        (401, "The session has expired", 'Bearer resource_metadata="https://a/"'),
        (403, "This session may not call delete", ""),
        (500, "Internal Server Error", ""),
    ],
)
def test_these_do_not(status: int, text: str, challenge: str) -> None:
    assert not is_session_lost(status, text, challenge)


@pytest.mark.parametrize(
    ("status", "text", "asks"),
    [
        (400, '{"error":{"code":-32000,"message":"Bad Request: Server not initialized"}}', True),
        (400, '{"error":{"code":-32600,"message":"Session not found"}}', True),
        (422, "Unexpected message, expect initialize request", True),
        (500, "Server not initialized", True),
        (404, "", False),
        (404, '{"error":{"code":-32601,"message":"Method not found"}}', False),
        (400, "Unknown session of the game", False),
        (400, '{"error":{"code":-32000,"message":"The game has an unknown session"}}', False),
        (400, '{"error":"Session not found"}', False),
        (200, "Server not initialized", False),
    ],
)
def test_server_without_session_ids_asks_for_initialize_only_in_clear_words(
    status: int, text: str, asks: bool
) -> None:
    assert asks_for_initialize(status, text) is asks


@pytest.mark.parametrize(
    ("code", "message", "lost"),
    [
        (-32001, "Session not found", True),
        (-32001, "The session was not found.", True),
        (-32600, "Session not found", True),
        (-32000, "Bad Request: No valid session ID provided", True),
        (-32000, "Not Found: Unknown Mcp-Session-Id header", True),
        (-32000, "Bad Request: Server not initialized", True),
        (-32602, "Received request before initialization was complete", True),
        (-32001, "Session 0c5f3e0e-3f4f-4d8a not found", True),
        (-32001, "Session S1 not found", True),
        (-32001, "Session not found: S1", True),
        (-32001, "Session expired", True),
        (-32001, "Request timed out", False),
        (-32602, "Browser session not found; call open first", False),
        (-32603, "Session not found", False),
        (-32000, "No such session in the database", False),
    ],
)
def test_errors_in_a_successful_reply(code: int, message: str, lost: bool) -> None:
    assert is_session_lost_error(json.dumps({"code": code, "message": message}).encode()) is lost


def test_an_error_that_is_no_object_means_nothing() -> None:
    assert not is_session_lost_error(b'"Session not found"')


#: Each one made an expression go back again and again. Half a megabyte takes milliseconds of the processor in linear time, else minutes.
_SIZE = 1 << 19


@pytest.mark.parametrize(
    "text",
    ["Session: " + "1" * _SIZE, "Session" + ":" * _SIZE, "Session " + "1 " * _SIZE, "error: " * _SIZE],
    ids=lambda text: text[:10],
)
def test_long_error_is_no_lost_session_and_takes_no_time(text: str) -> None:
    begin = time.thread_time()
    assert not is_session_lost_error(json.dumps({"code": -32000, "message": text}).encode())
    assert not is_session_lost_error(json.dumps({"code": -32000, "message": text[: MAX_READ // 2]}).encode())
    assert time.thread_time() - begin < 1


@pytest.mark.parametrize(
    "part", ["<script", "<head ", "<!--", "<", "</script ", "<script></script ", "<a ", "&#1"]
)
def test_markup_without_an_end_takes_linear_time(part: str) -> None:
    begin = time.thread_time()
    reason_in(part * (_SIZE // len(part)), "text/html")
    assert time.thread_time() - begin < 2


def test_markup_that_is_cut_off_is_not_shown() -> None:
    assert reason_in("<h1>503</h1><script>let a = 1", "text/html") == "503"
    assert reason_in("<h1>503</h1><!-- the rest", "text/html") == "503"
    assert reason_in("<h1>503</h1><a href='x", "text/html") == "503"
    assert reason_in("<head><title>t</title><body>a < b <p>no key", "text/html") == "a < b no key"


def test_number_of_a_character_may_have_too_many_digits() -> None:
    assert reason_in(f"no key &#{'1' * 5000};", "text/html").startswith("no key &#1")


def test_the_reason_is_one_safe_line() -> None:
    page = "<html><head><title>t</title></head><style>b{}</style><h1>502</h1><!-- x -->bad&lt;\x1b[0m</html>"
    assert reason_in(page, "text/html") == "502 bad<\\u001b[0m"
    assert reason_in(' {"detail":\n "<b>"} ', "application/json") == '{"detail": "<b>"}'


@pytest.mark.parametrize(
    ("status", "challenge", "expected"),
    [
        (401, "", True),
        (401, 'Bearer error="invalid_token"', True),
        (401, 'Bearer error="insufficient_scope", scope="x"', False),
        (403, "", False),
        (403, "Bearer error=invalid_token", True),
        (403, 'Bearer error="insufficient_scope"', False),
        (500, 'Bearer error="invalid_token"', False),
    ],
)
def test_refusal_of_the_token_itself(status: int, challenge: str, expected: bool) -> None:
    assert refuses_token(status, challenge) is expected
