"""Semantic Kernel: a chat agent with the proxy as its plugin."""

# mypy: ignore-errors
# its imports are in an environment of its own

import asyncio
import json
import sys

from openai import AsyncOpenAI
from semantic_kernel.agents import ChatCompletionAgent
from semantic_kernel.connectors.ai.function_choice_behavior import FunctionChoiceBehavior
from semantic_kernel.connectors.ai.open_ai import OpenAIChatCompletion
from semantic_kernel.connectors.mcp import MCPStdioPlugin

given = json.load(sys.stdin)


async def main() -> None:
    client = AsyncOpenAI(base_url=f"{given['model']}/v1", api_key="none")
    service = OpenAIChatCompletion(ai_model_id="scripted", async_client=client)
    # Without this, the agent gets no tools after five calls.
    behavior = FunctionChoiceBehavior.Auto(maximum_auto_invoke_attempts=given.get("attempts", 20))
    async with MCPStdioPlugin(name="dynamic", command=given["command"], args=given["args"]) as plugin:
        agent = ChatCompletionAgent(
            service=service, name="assistant", plugins=[plugin], function_choice_behavior=behavior
        )
        print((await agent.get_response(messages="Go")).message.content)


asyncio.run(main())
