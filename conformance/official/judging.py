"""Lets the suite judge the scenarios of one part, a few at a time, each with processes of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path

from conformance.errors import HarnessError
from conformance.model.sut import DEFAULT_COMMAND, PLACEHOLDER
from conformance.official import bridge, renaming
from conformance.official.plan import Part, Plan, plan, reasons, without
from conformance.official.suite import Scenario, ScenarioOutcome, Suite

GROUP = "everything"
#: the place of the address in the command line of a proxy that listens
LISTEN = "{listen}"

#: scenarios at a time: they keep two processors busy, and checks of times still hold
_AT_ONCE = 3
_START_TIME = 20.0
#: the reference as a proxy that listens; a command with `{listen}` in it replaces it
_SERVE = (sys.executable, "-m", "dynamic_mcp", "serve", PLACEHOLDER, "--listen", LISTEN)
_MOCK = (sys.executable, "-m", "mock_servers")


async def planned(suite: Suite, part: Part, only: Sequence[str] = ()) -> Plan:
    """The scenarios to run for this part. Raises `UsageError` if skipped.toml does not fit the suite."""
    scenarios = await suite.scenarios("client" if part == "client" else "server")
    return plan(scenarios, reasons()[part], only)


async def judge(
    suite: Suite,
    part: Part,
    scenarios: Sequence[Scenario],
    command: Sequence[str] = DEFAULT_COMMAND,
    on_outcome: Callable[[ScenarioOutcome], None] = lambda outcome: None,
) -> list[ScenarioOutcome]:
    """Run the scenarios; returns their outcomes in the same order. `command` starts the proxy, with `{config}` for its configuration."""
    places = asyncio.Semaphore(_AT_ONCE)

    async def one(scenario: Scenario) -> ScenarioOutcome:
        async with places:
            outcome = without(await _judge_one(suite, part, scenario, command), reasons()[part])
        on_outcome(outcome)
        return outcome

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(scenario)) for scenario in scenarios]
    return [task.result() for task in tasks]


async def _judge_one(suite: Suite, part: Part, scenario: Scenario, command: Sequence[str]) -> ScenarioOutcome:
    match part:
        case "client":
            adapter = [sys.executable, "-m", "conformance.official.adapter", "--", *command]
            return await suite.judge_client(scenario, adapter)
        case "server":
            with tempfile.TemporaryDirectory(prefix="official-") as folder:
                started = [argument.replace(PLACEHOLDER, write_config(Path(folder))) for argument in command]
                async with bridge.serving(started, GROUP) as url:
                    return await suite.judge_server(scenario, url)
        case "serve":
            listens = command if any(LISTEN in argument for argument in command) else _SERVE
            with tempfile.TemporaryDirectory(prefix="official-") as folder:
                values = {PLACEHOLDER: write_config(Path(folder)), LISTEN: "127.0.0.1:0"}
                started = [_filled(argument, values) for argument in listens]
                async with renaming.serving(started, GROUP) as url:
                    return await suite.judge_server(scenario, url)
        case "mocks":
            async with _mock() as url:
                return await suite.judge_server(scenario, url)


def _filled(argument: str, values: Mapping[str, str]) -> str:
    for name, value in values.items():
        argument = argument.replace(name, value)
    return argument


def write_config(folder: Path) -> str:
    """Write a configuration with the mock that offers everything as the only upstream."""
    path = folder / "config.json"
    program, *arguments = [*_MOCK, "stdio", "--everything"]
    server = {"description": "Everything", "command": program, "args": arguments}
    path.write_text(json.dumps({"mcpServers": {GROUP: server}}), encoding="utf-8")
    return str(path)


@contextlib.asynccontextmanager
async def _mock() -> AsyncIterator[str]:
    """Run the HTTP mock that offers everything; yields its URL. The mock ends with its stdin."""
    process = await asyncio.create_subprocess_exec(
        *_MOCK, "http", "--everything", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        async with asyncio.timeout(_START_TIME):
            line = await process.stdout.readline()
        if not line:
            raise HarnessError("the mock did not start")
        yield json.loads(line)["url"]
    finally:
        process.stdin.close()
        await process.wait()
