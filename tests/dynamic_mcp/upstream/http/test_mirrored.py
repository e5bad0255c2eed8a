"""Arguments that repeat in headers: which ones, and in which form."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec import Raw

from dynamic_mcp.protocol.jsonrpc import decode_members
from dynamic_mcp.upstream.http import mirrored as module
from dynamic_mcp.upstream.http.mirrored import MAX_ANNOTATIONS, MirroredArguments


def learned(mirrored: MirroredArguments, **schema: Any) -> str:
    return mirrored.learn("t", Raw(json.dumps({"name": "t", "inputSchema": schema}).encode()))


def headers(mirrored: MirroredArguments, arguments: str) -> dict[str, str]:
    return mirrored.headers(b'{"name": "t", "arguments": %b}' % arguments.encode())


@pytest.mark.parametrize(
    ("value", "header"),
    [
        ('"us west"', "us west"),
        ('""', ""),
        ('"\\u00e9"', "=?base64?w6k=?="),
        ('"a\\nb"', "=?base64?YQpi?="),
        ('" a"', "=?base64?IGE=?="),
        ('"=?base64?x?="', "=?base64?PT9iYXNlNjQ/eD89?="),
        ("42.0", "42"),
        ("-0", "0"),
        ("4e1", "40"),
        ("90071992547409931", "90071992547409931"),
        ("1.5", "1.5"),
        ("true", "true"),
        ("null", None),
        ("[1]", None),
        ('{"a": 1}', None),
    ],
)
def test_a_value_has_its_form_for_a_header(value: str, header: str | None) -> None:
    mirrored = MirroredArguments()
    assert learned(mirrored, properties={"a": {"type": "string", "x-mcp-header": "A"}}) == ""

    found = headers(mirrored, f'{{"a": {value}}}')

    assert found == ({} if header is None else {"Mcp-Param-A": header})


@pytest.mark.parametrize("arguments", ["{}", "null", "[]", '{"a": 1}', '{"a": {"c": 1}}'])
def test_a_missing_value_has_no_header(arguments: str) -> None:
    mirrored = MirroredArguments()
    inner = {"b": {"type": ["integer", "null"], "x-mcp-header": "B"}}
    assert learned(mirrored, properties={"a": {"type": "object", "properties": inner}}) == ""

    assert headers(mirrored, arguments) == {}
    assert headers(mirrored, '{"a": {"b": 1}}') == {"Mcp-Param-B": "1"}
    assert mirrored.headers(b'{"name": "other", "arguments": {"a": {"b": 1}}}') == {}


@pytest.mark.parametrize(
    "schema",
    [
        {"x-mcp-header": "A"},
        {"properties": {"a": {"x-mcp-header": "A"}}},
        {"properties": {"a": {"type": ["string", "number"], "x-mcp-header": "A"}}},
        {"properties": {"a": {"type": "string", "x-mcp-header": None}}},
        {"if": {"properties": {"a": {"type": "string", "x-mcp-header": "A"}}}},
        {"$defs": {"a": {"type": "string", "x-mcp-header": "A"}}},
    ],
)
def test_an_invalid_annotation_has_a_reason(schema: dict[str, Any]) -> None:
    assert "x-mcp-header" in learned(MirroredArguments(), **schema)


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"x-mcp-header": {"type": "object"}}},
        {"properties": {"a": {"default": {"x-mcp-header": 5}, "enum": [{"x-mcp-header": 5}]}}},
        {"description": "x-mcp-header"},
    ],
)
def test_other_places_of_the_word_are_no_annotation(schema: dict[str, Any]) -> None:
    assert learned(MirroredArguments(), **schema) == ""


def test_an_annotation_that_is_gone_is_forgotten() -> None:
    mirrored = MirroredArguments()
    learned(mirrored, properties={"a": {"type": "string", "x-mcp-header": "A"}})

    learned(mirrored, properties={"a": {"type": "string"}})

    assert headers(mirrored, '{"a": "x"}') == {}


def test_a_schema_that_cannot_be_read_is_refused_only_with_annotations() -> None:
    deep = b'{"name": "t", "inputSchema": {"a": %b%b, %b}}'
    nested = b"[" * 100_000, b"]" * 100_000

    assert MirroredArguments().learn("t", Raw(deep % (*nested, b'"b": "\\u0061"'))) == ""
    assert "too deep" in MirroredArguments().learn("t", Raw(deep % (*nested, b'"x-mcp-header": "A"')))


def test_tool_with_too_many_annotated_arguments_is_not_usable() -> None:
    many = {
        f"a{number}": {"type": "string", "x-mcp-header": f"h{number}"}
        for number in range(MAX_ANNOTATIONS + 1)
    }
    assert "more than 100 arguments" in learned(MirroredArguments(), properties=many)
    del many["a0"]
    assert not learned(MirroredArguments(), properties=many)


def test_a_call_decodes_each_object_of_its_arguments_once(monkeypatch: pytest.MonkeyPatch) -> None:
    mirrored, decoded = MirroredArguments(), list[bytes]()
    inner = {f"a{number}": {"type": "string", "x-mcp-header": f"h{number}"} for number in range(9)}
    assert not learned(mirrored, properties={"o": {"properties": inner}})

    def noted(raw: Raw) -> dict[str, Raw]:
        decoded.append(bytes(raw))
        return decode_members(raw)

    monkeypatch.setattr(module, "decode_members", noted)
    assert headers(mirrored, '{"o":{"a1":"x","a8":"y"}}') == {"Mcp-Param-h1": "x", "Mcp-Param-h8": "y"}
    assert decoded == [b'{"o":{"a1":"x","a8":"y"}}', b'{"a1":"x","a8":"y"}']
