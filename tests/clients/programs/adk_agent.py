"""Google's ADK: an agent with the proxy as its toolset."""

# mypy: ignore-errors
# its imports are in an environment of its own

import asyncio
import json
import os
import sys

given = json.load(sys.stdin)
os.environ |= {"GOOGLE_API_KEY": "none", "GOOGLE_GEMINI_BASE_URL": given["model"]}

from google.adk.agents import LlmAgent  # noqa: E402  # it reads the environment
from google.adk.runners import InMemoryRunner  # noqa: E402
from google.adk.tools.mcp_tool import McpToolset, StdioConnectionParams  # noqa: E402
from google.genai import types  # noqa: E402
from mcp import StdioServerParameters  # noqa: E402


async def main() -> None:
    server = StdioServerParameters(command=given["command"], args=given["args"])
    toolset = McpToolset(connection_params=StdioConnectionParams(server_params=server, timeout=30))
    agent = LlmAgent(name="assistant", model="gemini-2.5-flash", tools=[toolset])
    runner = InMemoryRunner(agent=agent, app_name="clients")
    session = await runner.session_service.create_session(app_name="clients", user_id="user")
    message = types.Content(role="user", parts=[types.Part(text="Go")])
    async for event in runner.run_async(user_id="user", session_id=session.id, new_message=message):
        print("".join(part.text or "" for part in event.content.parts))
    await toolset.close()
    await runner.close()


asyncio.run(main())
