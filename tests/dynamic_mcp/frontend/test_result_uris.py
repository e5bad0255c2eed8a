"""URIs in results: found without a decoder, bounded, and kept by the group that gave them first."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamic_mcp.frontend import result_uris as bounds
from dynamic_mcp.frontend.call import Call
from dynamic_mcp.frontend.result_uris import ResultUris
from tests.dynamic_mcp.frontend.test_bounds import call_of


def result(*uris: str, indent: int | None = None) -> bytes:
    content = [{"type": "resource_link", "uri": uri, "name": "x"} for uri in uris]
    return json.dumps({"content": content}, indent=indent).encode()


async def test_finds_links_of_every_form() -> None:
    uris = ResultUris({"a"})
    embedded = {"content": [{"type": "resource", "resource": {"uri": "x://embedded", "text": "t"}}]}
    await uris.note("a", json.dumps(embedded).encode())
    await uris.note("a", result("x://\u00fc", 'x://"quoted"', indent=2))
    for uri in ("x://embedded", "x://\u00fc", 'x://"quoted"'):
        assert uris.giver(uri) == "a"


@pytest.mark.parametrize("size", [20_000, 5 << 20])
@pytest.mark.parametrize("char", ["x", '"'])
async def test_finds_a_link_beside_a_long_text(size: int, char: str) -> None:
    uris, call = ResultUris({"files"}), call_of()
    content = [{"type": "text", "text": char * size}, {"type": "resource_link", "uri": "x://1", "name": "x"}]

    async def answer(call: Call) -> bytes:
        return json.dumps({"content": content}).encode()

    assert json.loads(await uris.noting(answer)(call))["content"] == content
    assert uris.giver("x://1") == "files"


@given(st.text())
async def test_a_text_gives_no_link(text: str) -> None:
    uris = ResultUris({"a"})
    for shown in (text, json.dumps({"uri": text}), f'"uri":"{text}"'):
        await uris.note("a", json.dumps({"content": [{"type": "text", "text": shown}]}).encode())
    assert uris.giver(text) is None


async def test_the_first_group_keeps_a_uri_until_it_is_gone() -> None:
    groups = {"a", "b"}
    uris = ResultUris(groups)
    await uris.note("a", result("x://1"))
    await uris.note("b", result("x://1"))
    await uris.note("a", result("x://1"))
    assert uris.giver("x://1") == "a"
    groups.remove("a")
    assert uris.giver("x://1") == "b"


async def test_a_group_pushes_out_only_its_own_links(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "MAX_CHARACTERS", 100)
    uris = ResultUris({"a", "b"})
    await uris.note("a", result("x://a"))
    for number in range(bounds.MAX_OF_GROUP + 2):
        await uris.note("b", result(f"y://{number}"))
    assert uris.giver("x://a") == "a"
    assert uris.giver("y://0") is None
    assert uris.giver(f"y://{bounds.MAX_OF_GROUP + 1}") == "b"


async def test_what_is_too_long_or_too_much_is_no_link() -> None:
    uris = ResultUris({"a"})
    await uris.note("a", result("x" * (bounds.MAX_URI + 1), *map(str, range(bounds.MAX_OF_RESULT + 1))))
    assert uris.giver("x" * (bounds.MAX_URI + 1)) is None
    assert uris.giver("0") == "a"
    assert uris.giver(str(bounds.MAX_OF_RESULT)) is None


@pytest.mark.parametrize("shift", range(-8, 2))
async def test_a_link_at_the_end_of_a_window_is_found_once(shift: int) -> None:
    uris = ResultUris({"a"})
    one = result("x://1")
    text = b" " * ((1 << 20) + shift - one.index(b'"uri"'))
    await uris.note("a", text + one)
    assert uris.giver("x://1") == "a"
