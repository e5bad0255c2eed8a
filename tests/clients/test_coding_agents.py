"""Coding agents from npm, end to end with a scripted model, and with a resource of the server."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .installing import Environment, npm_environment, run
from .scenario import ARCHIVE_STEPS, NOTE, NOTE_TEXT, STEPS, Scene, judge_agent, judge_archive
from .scripted_model import FINISHED, ScriptedModel, Step, scripted_model

pytestmark = [pytest.mark.clients, pytest.mark.timeout(400)]

WITHIN = 120.0
RUN = "Go"


def claude_code(clients: Environment, now: Scene, model: ScriptedModel, prompt: str = RUN) -> str:
    # Without `alwaysLoad`, the first request to the model does not wait for the tools.
    server = {"command": now.command, "args": [*now.args], "alwaysLoad": True}
    config = now.folder / "mcp.json"
    config.write_text(json.dumps({"mcpServers": {"dynamic": server}}))
    program = clients.program("@anthropic-ai", "claude-code-linux-x64", "claude")
    options = ["--mcp-config", str(config), "--strict-mcp-config", "--allowedTools", "mcp__dynamic"]
    quiet = {"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "DISABLE_AUTOUPDATER": "1"}
    account = {"ANTHROPIC_BASE_URL": model.url, "ANTHROPIC_API_KEY": "none"}
    # The tool that reads resources is otherwise behind a search for tools.
    account["ENABLE_TOOL_SEARCH"] = "false"
    return run(
        [program, "-p", prompt, *options], now.folder / "home", within=WITHIN, variables=quiet | account
    )


def gemini_cli(clients: Environment, now: Scene, model: ScriptedModel, prompt: str = RUN) -> str:
    server = {"command": now.command, "args": [*now.args], "trust": True}
    settings = {
        "security": {"auth": {"selectedType": "gemini-api-key"}},
        "privacy": {"usageStatisticsEnabled": False},
        "general": {"enableAutoUpdate": False},
        "mcpServers": {"dynamic": server},
    }
    home = now.folder / "home"
    _write(home / ".gemini" / "settings.json", json.dumps(settings))
    account = {"GOOGLE_GEMINI_BASE_URL": model.url, "GEMINI_API_KEY": "none"}
    trusted = {"GEMINI_CLI_TRUST_WORKSPACE": "true"}
    command = [
        clients.program(".bin", "gemini"),
        "-p",
        prompt,
        "--approval-mode",
        "yolo",
        "-m",
        "gemini-2.5-flash",
    ]
    return run(command, home, within=WITHIN, variables=account | trusted)


def codex(clients: Environment, now: Scene, model: ScriptedModel, prompt: str = RUN) -> str:
    home = now.folder / "home"
    config = f"""
model = "scripted"
model_provider = "scripted"

[model_providers.scripted]
name = "scripted"
base_url = "{model.url}/v1"
env_key = "KEY"
wire_api = "responses"

[mcp_servers.dynamic]
command = "{now.command}"
args = {json.dumps([*now.args])}
default_tools_approval_mode = "approve"
"""
    _write(home / ".codex" / "config.toml", config)
    command = [clients.program(".bin", "codex"), "exec", "--skip-git-repo-check", prompt]
    return run(command, home, within=WITHIN, variables={"KEY": "none"})


def opencode(clients: Environment, now: Scene, model: ScriptedModel, prompt: str = RUN) -> str:
    home = now.folder / "home"
    limits = {"name": "scripted", "limit": {"context": 100000, "output": 1000}}
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "options": {"baseURL": f"{model.url}/v1", "apiKey": "none"},
        "models": {"scripted": limits},
    }
    config = {
        "model": "scripted/scripted",
        "small_model": "scripted/scripted",
        "autoupdate": False,
        "provider": {"scripted": provider},
        "mcp": {"dynamic": {"type": "local", "command": [now.command, *now.args]}},
    }
    _write(home / "opencode.json", json.dumps(config))
    command = [clients.program("opencode-linux-x64", "bin", "opencode"), "run", prompt]
    return run(command, home, within=WITHIN, variables={"OPENCODE_DISABLE_MODELS_FETCH": "1"})


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


CLAUDE_CODE = "@anthropic-ai/claude-code@2.1.332"
GEMINI_CLI = "@google/gemini-cli@0.61.0"


@pytest.mark.parametrize(
    ("agent", "package", "reads"),
    [
        (claude_code, CLAUDE_CODE, "ReadMcpResourceTool"),
        (gemini_cli, GEMINI_CLI, "read_mcp_resource"),
        (codex, "@openai/codex@0.171.0", "read_mcp_resource"),
        (opencode, "opencode-ai@1.18.33", "read_mcp_resource"),
    ],
)
def test_coding_agent(
    agent: Callable[[Environment, Scene, ScriptedModel], str],
    package: str,
    reads: str,
    clients: Path,
    now: Scene,
) -> None:
    environment = npm_environment(clients, agent.__name__.replace("_", "-"), package)
    resource: dict[str, Any] = {"server": "dynamic", "uri": NOTE}
    with scripted_model([*STEPS, Step(reads, resource), *ARCHIVE_STEPS]) as model:
        output = agent(environment, now, model)

    judge_agent(model, now, output)
    note, listed, defined = model.results[len(STEPS) :]
    assert NOTE_TEXT in note
    judge_archive(listed, defined)


@pytest.mark.parametrize(
    ("agent", "package", "command"),
    [(claude_code, CLAUDE_CODE, "/mcp__dynamic__ask"), (gemini_cli, GEMINI_CLI, "/ask")],
)
def test_prompt_of_a_server_is_a_command(
    agent: Callable[[Environment, Scene, ScriptedModel, str], str],
    package: str,
    command: str,
    clients: Path,
    now: Scene,
) -> None:
    environment = npm_environment(clients, agent.__name__.replace("_", "-"), package)
    with scripted_model([]) as model:
        output = agent(environment, now, model, command)

    assert FINISHED in output
    assert "prompt ask()" in model.conversation
    assert len(now.shop.requests("prompts/get")) == 1
