"""fastmcp: its client makes the calls itself."""

# mypy: ignore-errors
# its imports are in an environment of its own

import asyncio
import json
import sys

from fastmcp import Client
from fastmcp.client.transports import StdioTransport

given = json.load(sys.stdin)


async def main() -> None:
    transport = StdioTransport(given["command"], given["args"])
    async with Client(transport) as client:
        tools = [tool.name for tool in await client.list_tools()]
        results = []
        for name, arguments in given["steps"]:
            result = await client.call_tool(name, arguments, raise_on_error=False)
            results.append("".join(block.text for block in result.content))
        note = (await client.read_resource(given["note"]))[0].text
        prompts = [prompt.name for prompt in await client.list_prompts()]
        prompt = (await client.get_prompt(prompts[0])).messages[0].content.text
    print(json.dumps({"tools": tools, "results": results, "note": note, "prompt": prompt}))


asyncio.run(main())
