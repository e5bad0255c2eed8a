"""google-genai: automatic function calls with an MCP session as the tool."""

# mypy: ignore-errors
# its imports are in an environment of its own

import asyncio
import json
import sys

from google import genai
from google.genai import types
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

given = json.load(sys.stdin)


async def main() -> None:
    client = genai.Client(api_key="none", http_options=types.HttpOptions(base_url=given["model"]))
    server = StdioServerParameters(command=given["command"], args=given["args"])
    async with stdio_client(server) as streams, ClientSession(*streams) as session:
        await session.initialize()
        config = {"tools": [session]}
        answer = await client.aio.models.generate_content(model="scripted", contents="Go", config=config)
        print(answer.text)


asyncio.run(main())
