"""Arguments against schemas, with the real checker: the refusals, their reasons, and that no checker is left."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import psutil
import pytest
from hypothesis import example, given
from msgspec import Raw

from dynamic_mcp.errors import CallRefused
from dynamic_mcp.extras.policy import arguments as module
from dynamic_mcp.extras.policy.arguments import ArgumentCheck
from dynamic_mcp.extras.policy.checker import repeated_members
from dynamic_mcp.process.guard import Guard
from tests.dynamic_mcp.helpers import WITHIN, eventually, is_alive
from tests.dynamic_mcp.jsontexts import json_tokens

#: refers to itself twice at each level, so that invalid arguments take 2 ** depth steps
DOUBLING = {"anyOf": [{"properties": {"a": {"$ref": "#"}}, "required": ["b"]}] * 2}
#: takes 2 ** 60 steps with any arguments
ENDLESS = {
    "$defs": {"d0": True, **{f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n - 1}"}] * 2} for n in range(1, 61)}},
    "$ref": "#/$defs/d60",
}


class CheckedServer:
    """The check of one server."""

    def __init__(self, check: ArgumentCheck) -> None:
        self.check = check

    async def passes(self, schema: object, args: object = None, tool: str = "t") -> None:
        """Check arguments. Raises CallRefused."""
        definition = {"name": tool, "inputSchema": schema}
        written = args if isinstance(args, bytes) else json.dumps({} if args is None else args).encode()
        with anyio.fail_after(3 * WITHIN):
            await self.check.check(tool, Raw(json.dumps(definition).encode()), written)

    async def refuses(self, schema: object, args: object, tool: str = "t") -> str:
        """Check arguments that are refused; the reason."""
        with pytest.raises(CallRefused) as caught:
            await self.passes(schema, args, tool)
        return str(caught.value)


def checkers() -> set[int]:
    """The processes of running checkers."""
    children = psutil.Process().children()
    return {
        child.pid for child in children if is_alive(child.pid) and "checker.py" in " ".join(child.cmdline())
    }


@pytest.fixture
async def server() -> AsyncIterator[CheckedServer]:
    async with checking() as made:
        yield made


@asynccontextmanager
async def checking() -> AsyncIterator[CheckedServer]:
    guard = Guard()
    check = ArgumentCheck("a", guard)
    try:
        yield CheckedServer(check)
    finally:
        await check.close()
        await guard.close()
    assert checkers() == set()


async def test_reason_names_each_location_and_the_schema(server: CheckedServer) -> None:
    schema = {"properties": {"a/b": {"items": {"type": "integer"}}, "c": {"const": 1}}, "required": ["d"]}

    reason = await server.refuses(schema, {"a/b": [1, "x"], "c": 2})

    assert '- /a~1b/1: "x" is not of type "integer"' in reason
    assert "- /c: 1 was expected" in reason
    assert '- the arguments: "d" is a required property' in reason
    assert reason.endswith(f"Input schema of the tool: {json.dumps(schema)}")


async def test_reason_is_bounded(server: CheckedServer) -> None:
    schema = {"additionalProperties": {"type": "null"}, "description": "x" * 100_000}

    reason = await server.refuses(schema, {f"name-{n}": "y" * 10_000 for n in range(100)})

    assert len(reason) < module.MAX_SHOWN + 5_000
    assert reason.endswith("(get_dynamic_tools has all of it)")


@pytest.mark.parametrize(
    ("schema", "args"),
    [
        ({"properties": {"x": {"type": "integer"}}}, b'{"x":123456789012345678901234567890}'),
        ({"properties": {"x": {"type": "integer"}}}, b'{"x":1.0}'),
        ({"properties": {"x": {"type": "number", "multipleOf": 0.01}}}, b'{"x":0.07}'),
        ({"properties": {"x": {"type": "number"}}}, b'{"x":1e400}'),
        ({"properties": {"x": {"type": "integer"}}}, b'{"x":%b}' % (b"9" * 5000)),
        ({"properties": {"x": {"pattern": "^(?=.*b)a+"}}}, b'{"x":"aab"}'),
        ({"properties": {"x": {"format": "nonsense", "x-own": [1]}}}, b'{"x":"\\ud800"}'),
        (
            {"$schema": "http://json-schema.org/draft-07/schema#", "properties": {"x": {"items": [{}]}}},
            b'{"x":[1]}',
        ),
    ],
)
async def test_valid_arguments_pass(
    server: CheckedServer, caplog: pytest.LogCaptureFixture, schema: object, args: bytes
) -> None:
    await server.passes(schema, args)

    assert caplog.messages == []


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "objekt"},
        {"properties": {"x": {"pattern": "("}}},
        {"$ref": "#/nowhere"},
        {"$ref": "https://example.com/schema.json"},
        {"$ref": "file:///etc/passwd"},
        {"$schema": "https://example.com/dialect"},
        5,
        {"description": "x" * (module.MAX_SCHEMA + 1)},
    ],
)
async def test_broken_schema_allows_calls_and_is_reported_once(
    server: CheckedServer, caplog: pytest.LogCaptureFixture, schema: object
) -> None:
    for _ in range(2):
        await server.passes(schema, {"x": 1}, "broken")
    (warning,) = caplog.messages
    assert "tool 'broken'" in warning

    # Another tool is still checked, and so is this one with a correct schema.
    for tool in ("other", "broken"):
        assert "no property is allowed" in await server.refuses(
            {"additionalProperties": False}, {"x": 1}, tool
        )


TWICE = [
    (b'{"path":1,"path":2}', ["/path"]),
    (b'{"path":1,"p\\u0061th":1}', ["/path"]),
    (b'{"a/b":[0,{"x":1,"y":2,"x":3,"x":4}]}', ["/a~1b/1/x"]),
    (b'{"a":{"b":1,"b":2},"a":{"c":1,"c":2},"d":{"":0,"":0}}', ["/a", "/a/c", "/d/"]),
    (b'{"lone":1,"\\ud800":2,"\\ud800":3}', ["/?"]),
]


@pytest.mark.parametrize(("args", "paths"), TWICE, ids=[args.decode() for args, _ in TWICE])
@pytest.mark.parametrize("schema", [None, True, {"type": "objekt"}, {"type": "array"}], ids=str)
async def test_member_that_comes_twice_is_refused_with_any_schema(
    server: CheckedServer, schema: object, args: bytes, paths: list[str]
) -> None:
    definition = {"name": "t"} if schema is None else {"name": "t", "inputSchema": schema}
    for _ in range(2):
        with pytest.raises(CallRefused, match="more than once") as caught:
            await server.check.check("t", Raw(json.dumps(definition).encode()), args)
        assert str(caught.value).splitlines()[1:] == [f"- {path}" for path in paths]


@pytest.mark.parametrize("args", [b'{"a":1,"A":2,"b":{"a":1},"c":[{"a":1},{"a":1}]}', b"{}"])
async def test_equal_names_in_different_objects_pass(server: CheckedServer, args: bytes) -> None:
    await server.passes(True, args)
    await server.passes({"type": "objekt"}, args, "broken")


async def test_tool_without_a_schema_is_checked_for_repeated_members_only(
    server: CheckedServer, caplog: pytest.LogCaptureFixture
) -> None:
    await server.check.check("t", Raw(b'{"name":"t"}'), b'{"x":1}')

    assert caplog.messages == []


@given(json_tokens.map("".join))
@example('{"a":{"b":[{"c":1,"c":1}]}}')
def test_repeated_members_are_those_that_a_decoder_drops(text: str) -> None:
    dropped = False

    def count(pairs: list[tuple[str, object]]) -> dict[str, object]:
        nonlocal dropped
        members = dict(pairs)
        dropped = dropped or len(members) < len(pairs)
        return members

    json.loads(text, object_pairs_hook=count)
    assert bool(repeated_members(text)) is dropped


@pytest.mark.slow
async def test_endless_schema_is_given_up_for_good(
    server: CheckedServer, caplog: pytest.LogCaptureFixture
) -> None:
    await server.passes(ENDLESS, {"x": 1}, "endless")
    await server.passes({**ENDLESS, "description": "another"}, {"x": 1}, "endless")

    (warning,) = caplog.messages
    assert "tool 'endless'" in warning
    assert "takes too long" in warning
    assert "x" in await server.refuses({"required": ["x"]}, {}, "other")


@pytest.mark.slow
async def test_endless_arguments_are_refused_and_the_check_stays_on(
    server: CheckedServer, caplog: pytest.LogCaptureFixture
) -> None:
    deep: dict[str, Any] = {}
    for _ in range(60):
        deep = {"a": deep}

    assert "takes too long" in await server.refuses(DOUBLING, deep)
    assert "valid under any" in await server.refuses(DOUBLING, {"a": {}})
    assert caplog.messages == []


async def test_endless_pattern_is_a_broken_schema(
    server: CheckedServer, caplog: pytest.LogCaptureFixture
) -> None:
    await server.passes({"properties": {"x": {"pattern": r"^(?=a)(a|aa)+\1b$"}}}, {"x": "a" * 60 + "c"})

    assert len(caplog.messages) == 1


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        # Python 3.11 reads a thousand levels, and 3.13 ten thousand.
        (b'{"x":%b}' % (b"[" * 100_000 + b"]" * 100_000), "nested too deeply"),
        (b'{"x":"%b"}' % (b"y" * module.MAX_ARGS), "larger than 4 MiB"),
    ],
    ids=["deep", "large"],
)
async def test_uncheckable_arguments_are_refused(
    server: CheckedServer, caplog: pytest.LogCaptureFixture, args: bytes, reason: str
) -> None:
    assert reason in await server.refuses({"properties": {"x": {}}}, args)
    assert caplog.messages == []


async def test_missing_library_refuses_calls_and_is_named(
    server: CheckedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    without = "import sys; sys.modules['jsonschema_rs'] = None; import dynamic_mcp.extras.policy.checker as c; c.main()"
    monkeypatch.setattr(module, "COMMAND", (sys.executable, "-c", without))

    assert "pip install 'dynamic-mcp-reference[validation]'" in await server.refuses({}, {})


async def test_checker_that_does_not_start_refuses_calls(
    server: CheckedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "COMMAND", (sys.executable, "-c", "raise SystemExit(1)"))
    assert "cannot be checked" in await server.refuses({}, {})
    monkeypatch.undo()

    await server.passes({}, {})


async def test_killed_checker_is_replaced(server: CheckedServer) -> None:
    schema = {"required": ["x"]}
    await asyncio.gather(*(server.passes(schema, {"x": n}, f"t{n % 3}") for n in range(20)))
    (first,) = checkers()
    psutil.Process(first).kill()
    await eventually(
        lambda: server.check._checker is None or server.check._checker.is_gone, "it is known to be gone"
    )

    assert "x" in await server.refuses(schema, {}, "t1")
    assert checkers() != {first}


async def test_cancelled_check_does_not_affect_the_next(server: CheckedServer) -> None:
    task = asyncio.create_task(server.passes(ENDLESS, {}, "endless"))
    await eventually(checkers, "the checker has started")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert "x" in await server.refuses({"required": ["x"]}, {}, "other")


async def test_no_checker_starts_after_close() -> None:
    async with checking() as server:
        await server.check.close()

        assert "cannot be checked" in await server.refuses({}, {})
