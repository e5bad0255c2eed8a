"""Microsoft's agent-framework: an agent with the proxy as its MCP tool."""

# mypy: ignore-errors
# its imports are in an environment of its own

import asyncio
import json
import sys

from agent_framework import Agent, MCPStdioTool
from agent_framework.openai import OpenAIChatCompletionClient

given = json.load(sys.stdin)


async def main() -> None:
    client = OpenAIChatCompletionClient(model="scripted", base_url=f"{given['model']}/v1", api_key="none")
    # Without this, the model reads "Function failed" in place of the text of a failed call.
    client.function_invocation_configuration["include_detailed_errors"] = given.get("detailed", True)
    server = MCPStdioTool(name="dynamic", command=given["command"], args=given["args"])
    async with Agent(client=client, tools=server) as agent:
        print((await agent.run("Go")).text)


asyncio.run(main())
