"""Results in the form of each era: members of the upstream stay unchanged, and only missing ones are added."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamic_mcp.errors import UpstreamFailed
from dynamic_mcp.frontend.bridge import legacy_result, modern_result
from dynamic_mcp.frontend.tool_surface import INFO
from tests.dynamic_mcp.jsontexts import json_tokens

ENVELOPE = {"resultType": '"complete"', "ttlMs": "0", "cacheScope": '"private"'}
META = json.dumps({"io.modelcontextprotocol/serverInfo": INFO}, separators=(",", ":"))

names = st.sampled_from(["a", "b", "_meta", *ENVELOPE, "\u00e9"])
own_members = st.dictionaries(names, json_tokens.map("".join))


def as_object(members: dict[str, str]) -> str:
    return "{ " + " , ".join(f"{json.dumps(name)}: {value}" for name, value in members.items()) + "}"


def compact(members: dict[str, str]) -> str:
    texts = [f"{json.dumps(name, ensure_ascii=False)}:{value}" for name, value in members.items()]
    return "{" + ",".join(texts) + "}"


@pytest.mark.parametrize(("method", "cached"), [("tools/list", True), ("tools/call", False)])
@given(own=own_members)
def test_missing_members_of_a_modern_result_are_added(method: str, cached: bool, own: dict[str, str]) -> None:
    envelope = ENVELOPE if cached else {"resultType": ENVELOPE["resultType"]}

    merged = modern_result(method, as_object(own).encode())

    missing = {name: value for name, value in {**envelope, "_meta": META}.items() if name not in own}
    if missing:
        comma = "," if own else ""
        assert merged.decode() == compact(missing)[:-1] + comma + as_object(own)[1:]
        assert json.loads(merged).keys() == {*missing, *own}
    else:
        assert merged.decode() == as_object(own)


MANY = b'{"resultType":"complete",' + b",".join(b'"%d":1' % number for number in range(600_000)) + b"}"


@pytest.mark.parametrize("translate", [legacy_result, lambda result: modern_result("tools/list", result)])
def test_result_of_very_many_members_costs_little_more_than_its_size(
    translate: Callable[[bytes], bytes],
) -> None:
    tracemalloc.start()
    try:
        translated = translate(MANY)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert translated.endswith(MANY[1:])
    assert peak < 3 * len(MANY)


@given(own=own_members)
def test_legacy_result_has_no_modern_members(own: dict[str, str]) -> None:
    result = legacy_result(as_object(own).encode()).decode()

    if "resultType" in own:
        assert result == compact({name: value for name, value in own.items() if name not in ENVELOPE})
    else:
        assert result == as_object(own)


@pytest.mark.parametrize("result", [b"5", b"[]", b'"resultType"', b'["resultType"]'])
def test_result_that_is_no_object_is_the_upstreams_fault(result: bytes) -> None:
    with pytest.raises(UpstreamFailed, match="its result of tools/call is not an object"):
        modern_result("tools/call", result)
    assert legacy_result(result) == result
