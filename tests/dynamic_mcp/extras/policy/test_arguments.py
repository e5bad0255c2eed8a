"""Arguments against schemas, with the real checker: what is refused, whose mistake it is, and that nothing stays."""

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
from msgspec import Raw

from dynamic_mcp.errors import CallRefused
from dynamic_mcp.extras.policy import arguments as module
from dynamic_mcp.extras.policy.arguments import ArgumentCheck
from dynamic_mcp.process.guard import Guard
from tests.dynamic_mcp.helpers import WITHIN, eventually, is_alive

#: valid only against itself two times at each level, so that wrong arguments take 2 ** depth steps
DOUBLING = {"anyOf": [{"properties": {"a": {"$ref": "#"}}, "required": ["b"]}] * 2}
#: takes 2 ** 60 steps with any arguments
ENDLESS = {
    "$defs": {"d0": True, **{f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n - 1}"}] * 2} for n in range(1, 61)}},
    "$ref": "#/$defs/d60",
}


class Tried:
    """The check of one server, and who is its checker."""

    def __init__(self, check: ArgumentCheck) -> None:
        self.check = check

    async def passes(self, schema: object, args: object = None, tool: str = "t") -> None:
        """Raises CallRefused when it does not."""
        definition = {"name": tool, "inputSchema": schema}
        written = args if isinstance(args, bytes) else json.dumps({} if args is None else args).encode()
        with anyio.fail_after(3 * WITHIN):
            await self.check.check(tool, Raw(json.dumps(definition).encode()), written)

    async def refuses(self, schema: object, args: object, tool: str = "t") -> str:
        """The reason."""
        with pytest.raises(CallRefused) as caught:
            await self.passes(schema, args, tool)
        return str(caught.value)


def checkers() -> set[int]:
    """The processes of checkers that run."""
    children = psutil.Process().children()
    return {
        child.pid for child in children if is_alive(child.pid) and "checker.py" in " ".join(child.cmdline())
    }


@pytest.fixture
async def tried() -> AsyncIterator[Tried]:
    async with checking() as made:
        yield made


@asynccontextmanager
async def checking() -> AsyncIterator[Tried]:
    guard = Guard()
    check = ArgumentCheck("a", guard)
    try:
        yield Tried(check)
    finally:
        await check.close()
        await guard.close()
    assert checkers() == set()


async def test_a_reason_names_each_place_and_ends_with_the_schema(tried: Tried) -> None:
    schema = {"properties": {"a/b": {"items": {"type": "integer"}}, "c": {"const": 1}}, "required": ["d"]}

    reason = await tried.refuses(schema, {"a/b": [1, "x"], "c": 2})

    assert '- /a~1b/1: "x" is not of type "integer"' in reason
    assert "- /c: 1 was expected" in reason
    assert '- the arguments: "d" is a required property' in reason
    assert reason.endswith(f"Input schema of the tool: {json.dumps(schema)}")


async def test_a_reason_is_short_however_large_the_arguments_and_the_schema_are(tried: Tried) -> None:
    schema = {"additionalProperties": {"type": "null"}, "description": "x" * 100_000}

    reason = await tried.refuses(schema, {f"name-{n}": "y" * 10_000 for n in range(100)})

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
async def test_what_json_schema_takes_may_pass(
    tried: Tried, caplog: pytest.LogCaptureFixture, schema: object, args: bytes
) -> None:
    await tried.passes(schema, args)

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
async def test_a_broken_schema_stops_no_call_and_is_told_of_once(
    tried: Tried, caplog: pytest.LogCaptureFixture, schema: object
) -> None:
    for _ in range(2):
        await tried.passes(schema, {"x": 1}, "broken")
    (warning,) = caplog.messages
    assert "tool 'broken'" in warning

    # Another tool, and this one once it is mended, are checked.
    for tool in ("other", "broken"):
        assert "no property is allowed" in await tried.refuses(
            {"additionalProperties": False}, {"x": 1}, tool
        )


async def test_a_definition_without_a_schema_asks_for_nothing(
    tried: Tried, caplog: pytest.LogCaptureFixture
) -> None:
    await tried.check.check("t", Raw(b'{"name":"t"}'), b'{"x":1}')

    assert caplog.messages == []
    assert checkers() == set()


@pytest.mark.slow
async def test_a_schema_that_takes_for_ever_is_given_up_for_good(
    tried: Tried, caplog: pytest.LogCaptureFixture
) -> None:
    await tried.passes(ENDLESS, {"x": 1}, "endless")
    await tried.passes({**ENDLESS, "description": "another"}, {"x": 1}, "endless")

    (warning,) = caplog.messages
    assert "tool 'endless'" in warning
    assert "takes too long" in warning
    assert "x" in await tried.refuses({"required": ["x"]}, {}, "other")


@pytest.mark.slow
async def test_arguments_that_take_for_ever_are_refused_and_leave_the_check_on(
    tried: Tried, caplog: pytest.LogCaptureFixture
) -> None:
    deep: dict[str, Any] = {}
    for _ in range(60):
        deep = {"a": deep}

    assert "takes too long" in await tried.refuses(DOUBLING, deep)
    assert "valid under any" in await tried.refuses(DOUBLING, {"a": {}})
    assert caplog.messages == []


async def test_a_pattern_that_takes_for_ever_is_a_mistake_of_the_schema(
    tried: Tried, caplog: pytest.LogCaptureFixture
) -> None:
    await tried.passes({"properties": {"x": {"pattern": r"^(?=a)(a|aa)+\1b$"}}}, {"x": "a" * 60 + "c"})

    assert len(caplog.messages) == 1


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        (b'{"x":%b}' % (b"[" * 5000 + b"]" * 5000), "nested too deeply"),
        (b'{"x":"%b"}' % (b"y" * module.MAX_ARGS), "larger than 4 MiB"),
    ],
    ids=["deep", "large"],
)
async def test_arguments_that_cannot_be_checked_are_refused(
    tried: Tried, caplog: pytest.LogCaptureFixture, args: bytes, reason: str
) -> None:
    assert reason in await tried.refuses({"properties": {"x": {}}}, args)
    assert caplog.messages == []


async def test_without_the_library_calls_are_refused_with_what_to_install(
    tried: Tried, monkeypatch: pytest.MonkeyPatch
) -> None:
    without = "import sys; sys.modules['jsonschema_rs'] = None; import dynamic_mcp.extras.policy.checker as c; c.main()"
    monkeypatch.setattr(module, "COMMAND", (sys.executable, "-c", without))

    assert "pip install 'dynamic-mcp-reference[validation]'" in await tried.refuses({}, {})


async def test_a_checker_that_does_not_start_refuses_the_calls(
    tried: Tried, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "COMMAND", (sys.executable, "-c", "raise SystemExit(1)"))
    assert "cannot be checked" in await tried.refuses({}, {})
    monkeypatch.undo()

    await tried.passes({}, {})


async def test_one_checker_serves_many_calls_and_is_replaced_when_it_is_killed(tried: Tried) -> None:
    schema = {"required": ["x"]}
    await asyncio.gather(*(tried.passes(schema, {"x": n}, f"t{n % 3}") for n in range(20)))
    (first,) = checkers()
    psutil.Process(first).kill()
    await eventually(
        lambda: tried.check._checker is None or tried.check._checker.is_gone, "it is known to be gone"
    )

    assert "x" in await tried.refuses(schema, {}, "t1")
    assert checkers() != {first}


async def test_a_cancelled_check_leaves_the_next_one_alone(tried: Tried) -> None:
    task = asyncio.create_task(tried.passes(ENDLESS, {}, "endless"))
    await eventually(checkers, "the checker has started")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert "x" in await tried.refuses({"required": ["x"]}, {}, "other")


async def test_no_checker_is_started_after_the_end() -> None:
    async with checking() as tried:
        await tried.check.close()

        assert "cannot be checked" in await tried.refuses({}, {})
