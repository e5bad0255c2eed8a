"""The official suite and the official Inspector judge the proxy and the mocks, and fail programs that do nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from conformance.official.__main__ import installed_suite
from conformance.official.judging import judge, planned, write_config
from conformance.official.node import INSPECTOR, Node
from conformance.official.plan import PARTS, Part
from conformance.official.suite import Scenario, Suite

pytestmark = [pytest.mark.official, pytest.mark.timeout(900)]

BROKEN = (sys.executable, "-c", "pass")


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the npm packages, which tox keeps between runs."""
    kept = os.environ.get("OFFICIAL_FOLDER")
    return Path(kept) if kept else tmp_path_factory.mktemp("npm")


@pytest.fixture(scope="session")
def suite(folder: Path) -> Suite:
    return installed_suite(folder)


@pytest.mark.parametrize("part", PARTS)
async def test_every_scenario_passes_that_is_not_skipped(suite: Suite, part: Part) -> None:
    chosen = await planned(suite, part)

    outcomes = await judge(suite, part, chosen.run)

    assert outcomes
    assert {str(outcome.scenario): outcome.problems for outcome in outcomes if outcome.problems} == {}


@pytest.mark.parametrize(
    "name", ["initialize", "auth/resource-mismatch@2026-07-28", "auth/iss-wrong-issuer@2026-07-28"]
)
async def test_a_client_that_does_nothing_fails(suite: Suite, name: str) -> None:
    scenario = Scenario("client", *_named(name))

    [outcome] = await judge(suite, "client", [scenario], BROKEN)

    assert outcome.problems


@pytest.mark.parametrize("name", ["ping", "tools-list", "sep-2164-resource-not-found@2026-07-28"])
async def test_a_server_that_does_nothing_fails(suite: Suite, name: str) -> None:
    scenario = Scenario("server", *_named(name))

    [outcome] = await judge(suite, "server", [scenario], BROKEN)

    assert outcome.problems


def _named(name: str) -> tuple[str, str]:
    scenario, _, revision = name.partition("@")
    return scenario, revision or "2025-11-25"


class TestInspector:
    @pytest.fixture
    def inspect(self, folder: Path, tmp_path: Path) -> Any:
        node = Node.find()
        program = [*node.installed(INSPECTOR, folder), "--cli"]
        proxy = [sys.executable, "-m", "dynamic_mcp", write_config(tmp_path)]
        environment = {**node.environment(), "HOME": str(tmp_path)}

        def run(method: str, *options: str) -> Any:
            command = [*program, *proxy, "--method", method, *options]
            done = subprocess.run(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            return json.loads(done.stdout)

        return run

    def test_accepts_the_two_tools(self, inspect: Any) -> None:
        listed = inspect("tools/list", "--strict")

        assert [tool["name"] for tool in listed["tools"]] == ["get_dynamic_tools", "call_dynamic_tool"]

    def test_calls_a_tool_of_a_group(self, inspect: Any) -> None:
        wanted = ["group=everything", "name=add", 'args={"a": 2, "b": 40}']

        answer = inspect("tools/call", "--tool-name", "call_dynamic_tool", "--tool-arg", *wanted)

        assert answer["content"] == [{"type": "text", "text": "42"}]

    def test_reads_a_resource_and_gets_a_prompt(self, inspect: Any) -> None:
        read = inspect("resources/read", "--uri", "test://static-text")
        got = inspect("prompts/get", "--prompt-name", "test_simple_prompt")

        assert read["contents"][0]["text"] == "contents of test://static-text"
        assert got["messages"][0]["role"] == "user"
