"""The official SDK 1.x: its client makes the calls itself."""

# mypy: ignore-errors
# its imports are in an environment of its own

import asyncio
import json
import sys

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

given = json.load(sys.stdin)


async def main() -> None:
    server = StdioServerParameters(command=given["command"], args=given["args"])
    async with stdio_client(server) as streams, ClientSession(*streams) as session:
        await session.initialize()
        tools = [tool.name for tool in (await session.list_tools()).tools]
        results = []
        for name, arguments in given["steps"]:
            result = await session.call_tool(name, arguments)
            results.append("".join(block.text for block in result.content))
        note = (await session.read_resource(given["note"])).contents[0].text
        prompts = [prompt.name for prompt in (await session.list_prompts()).prompts]
        prompt = (await session.get_prompt(prompts[0])).messages[0].content.text
    print(json.dumps({"tools": tools, "results": results, "note": note, "prompt": prompt}))


asyncio.run(main())
