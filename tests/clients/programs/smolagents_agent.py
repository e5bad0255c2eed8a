"""smolagents: an agent with the tools of mcpadapt."""

# mypy: ignore-errors
# its imports are in an environment of its own

import json
import sys

from mcp import StdioServerParameters
from smolagents import OpenAIServerModel, ToolCallingAgent, ToolCollection

given = json.load(sys.stdin)
server = StdioServerParameters(command=given["command"], args=given["args"])
model = OpenAIServerModel("scripted", api_base=f"{given['model']}/v1", api_key="none")
with ToolCollection.from_mcp(server, trust_remote_code=True, structured_output=False) as collection:
    agent = ToolCallingAgent(tools=[*collection.tools], model=model, max_steps=10, verbosity_level=0)
    print(agent.run("Go"))
