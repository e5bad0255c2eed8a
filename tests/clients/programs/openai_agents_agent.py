"""openai-agents: an agent with the proxy as its MCP server."""

# mypy: ignore-errors
# its imports are in an environment of its own

import asyncio
import json
import sys

from agents import Agent, Runner, set_tracing_disabled
from agents.mcp import MCPServerStdio
from agents.models.openai_responses import OpenAIResponsesModel
from openai import AsyncOpenAI

given = json.load(sys.stdin)


async def main() -> None:
    set_tracing_disabled(True)
    client = AsyncOpenAI(base_url=f"{given['model']}/v1", api_key="none")
    parameters = {"command": given["command"], "args": given["args"]}
    async with MCPServerStdio(params=parameters, client_session_timeout_seconds=30) as server:
        model = OpenAIResponsesModel("scripted", openai_client=client)
        strict = {"convert_schemas_to_strict": given.get("strict", False)}
        agent = Agent("assistant", model=model, mcp_servers=[server], mcp_config=strict)
        print((await Runner.run(agent, "Go")).final_output)


asyncio.run(main())
