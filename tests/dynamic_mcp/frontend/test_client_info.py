"""The description of the client for upstreams is the client's own, valid, and bounded."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dynamic_mcp.frontend.client_info import MAX_SIZE, MAX_TEXT, NO_VERSION, client_info

NAMED = {"name": "n", "version": "1"}
FULL = {
    **NAMED,
    "title": "T",
    "description": "d",
    "websiteUrl": "https://client.example",
    "icons": [{"src": "data:,x", "theme": "dark"}],
    "vendor": {"a": None},
}


@pytest.mark.parametrize(
    ("sent", "passed_on"),
    [
        (FULL, FULL),
        ({"name": "n"}, {"name": "n", "version": NO_VERSION}),
        ({"name": "n", "version": 1}, {"name": "n", "version": NO_VERSION}),
        ({**NAMED, "title": None, "icons": [{}], "websiteUrl": 5}, NAMED),
        ({**NAMED, "icons": None}, NAMED),
        ({**FULL, "icons": [{"src": "x" * MAX_SIZE}]}, {**NAMED, "title": "T"}),
        ({"name": "n" * MAX_SIZE, "version": "1"}, {"name": "n" * MAX_TEXT, "version": "1"}),
    ],
)
def test_members_that_any_server_accepts(sent: object, passed_on: object) -> None:
    assert json.loads(client_info(json.dumps(sent).encode())) == passed_on


@pytest.mark.parametrize("sent", [{}, {"name": 5}, {"name": ""}, {"version": "1"}, "n", None, [], 5])
def test_client_without_a_name_has_no_description(sent: Any) -> None:
    assert client_info(json.dumps(sent).encode()) == b""


@pytest.mark.parametrize("raw", [b"", b'{"name":"\\ud800"}'])
def test_unreadable_description_is_none(raw: bytes) -> None:
    assert client_info(raw) == b""
