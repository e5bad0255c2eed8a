"""LangChain: an agent with the tools of langchain-mcp-adapters."""

# mypy: ignore-errors
# its imports are in an environment of its own

import asyncio
import json
import sys

from langchain.agents import create_agent
from langchain_mcp_adapters.client import MultiServerMCPClient
from langchain_mcp_adapters.tools import load_mcp_tools
from langchain_openai import ChatOpenAI

given = json.load(sys.stdin)


async def main() -> None:
    server = {"transport": "stdio", "command": given["command"], "args": given["args"]}
    client = MultiServerMCPClient({"dynamic": server})
    async with client.session("dynamic") as session:
        tools = await load_mcp_tools(session)
        for tool in tools:
            # Without this, a result with isError ends the run.
            tool.handle_tool_error = given.get("handled", True)
        model = ChatOpenAI(model="scripted", base_url=f"{given['model']}/v1", api_key="none")
        if given.get("strict"):
            await model.bind_tools(tools, strict=True).ainvoke("Go")
            return
        agent = create_agent(model, tools)
        answer = await agent.ainvoke({"messages": [("user", "Go")]}, {"recursion_limit": 40})
        print(answer["messages"][-1].content)


asyncio.run(main())
