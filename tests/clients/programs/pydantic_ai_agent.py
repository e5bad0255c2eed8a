"""pydantic-ai: an agent with the proxy as its toolset."""

# mypy: ignore-errors
# its imports are in an environment of its own

import asyncio
import json
import sys

from fastmcp.client.transports import StdioTransport
from pydantic_ai import Agent
from pydantic_ai.mcp import MCPToolset
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

given = json.load(sys.stdin)


async def main() -> None:
    provider = OpenAIProvider(base_url=f"{given['model']}/v1", api_key="none")
    transport = StdioTransport(given["command"], given["args"])
    server = MCPToolset(transport, **given.get("settings", {}))
    agent = Agent(OpenAIChatModel("scripted", provider=provider), toolsets=[server])
    async with agent:
        print((await agent.run("Go")).output)


asyncio.run(main())
