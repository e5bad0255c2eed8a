"""Agents of Python frameworks, end to end with a scripted model; and what they do wrong without the proxy too."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from .installing import python_environment
from .scenario import BROKEN_TOOL, STEPS, Scene, judge_agent
from .scripted_model import FINISHED, ScriptedModel, Step, scripted_model

pytestmark = [pytest.mark.clients, pytest.mark.timeout(400)]

WITHIN = 100.0


@dataclass(frozen=True)
class Framework:
    """One framework: its program, its packages, and the settings that the proxy's tools need there."""

    program: str
    packages: tuple[str, ...]
    settings: dict[str, Any] = field(default_factory=dict)

    def run(self, clients: Path, now: Scene, model: ScriptedModel, **settings: Any) -> str:
        environment = python_environment(clients, self.program.removesuffix(".py"), *self.packages)
        given = now.given(model, **{**self.settings, **settings})
        return environment.run_python(self.program, given, now.folder / "home", WITHIN)


PYDANTIC_AI = Framework(
    "pydantic_ai_agent.py",
    ("pydantic-ai-slim[mcp,openai]==2.68.0",),
    {"settings": {"tool_error_behavior": "failed"}},
)
OPENAI_AGENTS = Framework("openai_agents_agent.py", ("openai-agents==0.24.0",))
LANGCHAIN = Framework(
    "langchain_agent.py",
    ("langchain-mcp-adapters==0.3.2", "langchain==1.5.2", "langchain-openai==1.7.4"),
)
SMOLAGENTS = Framework(
    "smolagents_agent.py", ("smolagents[openai]==1.26.0", "mcpadapt==0.1.19", "mcp[ws]==1.30.0")
)
SEMANTIC_KERNEL = Framework("semantic_kernel_agent.py", ("semantic-kernel[mcp]==1.45.0",))
AGENT_FRAMEWORK = Framework(
    "agent_framework_agent.py",
    ("agent-framework-core==1.23.0", "agent-framework-openai", "mcp==2.3.0", "tenacity"),
)
GOOGLE_GENAI = Framework("google_genai_session.py", ("google-genai==3.6.1", "mcp==1.30.0"))
ADK = Framework("adk_agent.py", ("google-adk==2.13.0", "mcp==2.3.0"))
ALL = (
    PYDANTIC_AI,
    OPENAI_AGENTS,
    LANGCHAIN,
    SMOLAGENTS,
    SEMANTIC_KERNEL,
    AGENT_FRAMEWORK,
    GOOGLE_GENAI,
    ADK,
)


def _name(framework: Framework) -> str:
    return framework.program.removesuffix(".py")


@pytest.mark.parametrize("framework", ALL, ids=_name)
def test_agent(framework: Framework, clients: Path, now: Scene) -> None:
    with scripted_model(STEPS) as model:
        judge_agent(model, now, framework.run(clients, now, model))


def test_strict_mode_of_openai_agents(clients: Path, now: Scene) -> None:
    """It leaves out the tool that it cannot make strict, and fills in every member of the other one."""
    with scripted_model(STEPS) as model:
        judge_agent(model, now, OPENAI_AGENTS.run(clients, now, model, strict=True))

    get, call = model.tools["get_dynamic_tools"], model.tools["call_dynamic_tool"]
    assert get["required"] == ["group", "name", "search"]
    assert call["required"] == ["group", "name"]


def test_strict_mode_of_langchain_closes_args(clients: Path, now: Scene) -> None:
    with scripted_model(STEPS) as model:
        LANGCHAIN.run(clients, now, model, strict=True)

    args = model.tools["call_dynamic_tool"]["properties"]["args"]
    assert (args["properties"], args["additionalProperties"]) == ({}, False)


# What follows is the clients' own: the server is attached directly.


def run_directly(
    framework: Framework, clients: Path, now: Scene, *script: Step, **settings: Any
) -> tuple[ScriptedModel, str]:
    """Run an agent without the proxy. Returns the model and the output, also that of a program that failed."""
    with scripted_model([*script]) as model:
        try:
            output = framework.run(clients, now, model, **now.directly, **settings)
        except AssertionError as failed:
            output = str(failed)
        return model, output


def test_pydantic_ai_ends_at_the_second_failure_of_a_tool(clients: Path, now: Scene) -> None:
    twice = [Step("fail", {})] * 2
    _, output = run_directly(PYDANTIC_AI, clients, now, *twice, settings={})
    assert "Tool 'fail' exceeded max retries count of 1" in output


def test_langchain_ends_at_a_failure(clients: Path, now: Scene) -> None:
    _, output = run_directly(LANGCHAIN, clients, now, Step("fail", {}), handled=False)
    assert f"Error: {BROKEN_TOOL}" in output


def test_agent_framework_hides_the_text_of_a_failure(clients: Path, now: Scene) -> None:
    model, _ = run_directly(AGENT_FRAMEWORK, clients, now, Step("fail", {}), detailed=False)
    assert model.results == ["Error: Function failed."]


def test_semantic_kernel_takes_the_tools_away_after_its_attempts(clients: Path, now: Scene) -> None:
    model, output = run_directly(SEMANTIC_KERNEL, clients, now, *[Step("count_items", {})] * 4, attempts=2)
    assert len(model.requests) == 2
    assert FINISHED not in output


def test_google_genai_refuses_a_boolean_in_a_schema(clients: Path, now: Scene) -> None:
    _, output = run_directly(GOOGLE_GENAI, clients, now, Step("count_items", {}))
    assert "AttributeError: 'bool' object has no attribute 'items'" in output
