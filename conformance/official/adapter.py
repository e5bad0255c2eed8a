"""The client command of the official suite: `python -m conformance.official.adapter -- COMMAND {config} URL`.

The adapter writes a configuration with the suite's server as its only entry and starts the proxy in a home of its own. Like the user of an
agent, it lists the tools, calls each of them, reads every resource, gets every prompt and answers every question. It prints failures
that the proxy reports, and succeeds nevertheless, because the suite judges what its server saw.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shlex
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from conformance.model.profile_file import DEFAULT_TOOLS
from conformance.model.sut import PLACEHOLDER
from conformance.official.lines import Message, ProxyProcess, running
from conformance.reports.text import one_line
from conformance.workbench.listing_forms import tools_in
from mock_servers.answers import CAPABILITIES_KEY, LEGACY_VERSIONS, MODERN_VERSION, VERSION_KEY

GROUP = "suite"
_VERSION = "MCP_CONFORMANCE_PROTOCOL_VERSION"
_SCENARIO = "MCP_CONFORMANCE_SCENARIO"
#: what the suite tells its client about a scenario, such as the calls to make
_CONTEXT = "MCP_CONFORMANCE_CONTEXT"
#: the client id in the scenario about client metadata documents
_METADATA_DOCUMENT = "https://conformance-test.local/client-metadata.json"
_CAPABILITIES: Message = {"elicitation": {"form": {}}, "sampling": {}, "roots": {}}
#: the words of a proxy whose call needs a sign-in first
_SIGN_IN = "sign in"
_SIGN_IN_TIME = 20.0
_PAUSE = 0.2
#: the first tool takes the schema of the second one, as it arrived, as its argument
_ECHO, _ECHOED = "json_schema_echo", "json_schema_2020_12_tool"
_EXAMPLES: dict[str, Any] = {
    "string": "a text",
    "number": 5,
    "integer": 5,
    "boolean": True,
    "array": [],
    "object": {},
    "null": None,
}


class Agent:
    """The client in front of the proxy, in the era of the scenario."""

    def __init__(self, proxy: ProxyProcess, version: str) -> None:
        self._proxy = proxy
        self._modern = version == MODERN_VERSION
        self._version = version
        self._count = 0

    async def begin(self) -> None:
        """Make the handshake, if the era has one."""
        if self._modern:
            return
        await self.ask(
            "initialize",
            protocolVersion=self._version,
            capabilities=_CAPABILITIES,
            clientInfo={"name": "adapter", "version": "1"},
        )
        self._proxy.send({"jsonrpc": "2.0", "method": "notifications/initialized"})

    async def call(self, tool: str, **arguments: Any) -> Message:
        """Call one of the proxy's two tools; repeats the call while the answer asks for a sign-in."""
        deadline = time.monotonic() + _SIGN_IN_TIME
        while True:
            result = await self._call(tool, arguments)
            waits = result.get("isError") and _SIGN_IN in _text_of(result)
            if not waits or time.monotonic() > deadline:
                return result
            await asyncio.sleep(_PAUSE)  # no message announces the end of a sign-in

    async def _call(self, tool: str, arguments: Message) -> Message:
        params: dict[str, Any] = {"name": DEFAULT_TOOLS[tool], "arguments": {"group": GROUP, **arguments}}
        result = await self.ask("tools/call", **params)
        while result.get("resultType") == "input_required":
            questions = result.get("inputRequests", {})
            responses = {key: _answer_to(question) for key, question in questions.items()}
            state = {key: result[key] for key in ("requestState",) if key in result}
            result = await self.ask("tools/call", **params, inputResponses=responses, **state)
        return result

    async def ask(self, method: str, **params: Any) -> Message:
        """The result of a request. Prints an error to stderr and returns an empty result for it."""
        self._count += 1
        if self._modern:
            params["_meta"] = {VERSION_KEY: self._version, CAPABILITIES_KEY: _CAPABILITIES}
        request = {"jsonrpc": "2.0", "id": self._count, "method": method, "params": params}
        answer: Message = {}
        async with contextlib.aclosing(self._proxy.converse(request)) as conversation:
            async for message in conversation:
                if "method" not in message:
                    answer = message
                elif "id" in message:
                    self._proxy.send({"jsonrpc": "2.0", "id": message["id"], "result": _answer_to(message)})
        if "error" in answer:
            print(one_line(f"{method}: {answer['error']}"), file=sys.stderr)
        elif "result" not in answer:
            raise SystemExit("the proxy has ended")
        result: Message = answer.get("result", {})
        return result


def _answer_to(question: Message) -> Message:
    """The answer of the user, or of their model."""
    match question["method"]:
        case "elicitation/create":
            schema = question.get("params", {}).get("requestedSchema", {})
            return {"action": "accept", "content": _filled(schema)}
        case "sampling/createMessage":
            content = {"type": "text", "text": "a text"}
            return {"role": "assistant", "content": content, "model": "none", "stopReason": "endTurn"}
        case "roots/list":
            return {"roots": []}
        case _:
            return {}


def _filled(schema: Message) -> Message:
    """An object that fits a schema: defaults, else examples of the types."""
    return {name: _example(part) for name, part in schema.get("properties", {}).items()}


def _example(schema: Message) -> Any:
    kind = schema.get("type", "string")
    kinds = [kind] if isinstance(kind, str) else kind
    return schema.get("default", schema.get("enum", [_EXAMPLES[kinds[0]]])[0])


async def act(agent: Agent, context: Message) -> None:
    """Use every tool, resource and prompt once. The calls in the context of the scenario have their own arguments."""
    await agent.begin()
    tools = _tools_in(await agent.call("list"))
    schemas = {tool["name"]: tool.get("inputSchema", {}) for tool in tools}
    wanted = {call["name"]: call["arguments"] for call in context.get("toolCalls", [])}
    for tool in tools:
        arguments = wanted.get(tool["name"]) or _filled(schemas[tool["name"]])
        if tool["name"] == _ECHO:
            arguments["schema"] = schemas[_ECHOED]
        result = await agent.call("call", name=tool["name"], args=arguments)
        if result.get("isError"):
            print(one_line(f"{tool['name']}: {_text_of(result)}"), file=sys.stderr)
    for resource in (await agent.ask("resources/list")).get("resources", []):
        await agent.ask("resources/read", uri=resource["uri"])
    for prompt in (await agent.ask("prompts/list")).get("prompts", []):
        arguments = {argument["name"]: "a text" for argument in prompt.get("arguments", [])}
        await agent.ask("prompts/get", name=prompt["name"], arguments=arguments)


def _text_of(result: Message) -> str:
    return "".join(block.get("text", "") for block in result.get("content", []))


def _tools_in(listed: Message) -> list[Message]:
    text = _text_of(listed)
    try:
        return list(tools_in(json.loads(text)))
    except ValueError:
        print(one_line(f"no tools: {text}"), file=sys.stderr)
        return []


def configuration(url: str, scenario: str, context: Message) -> Message:
    """The configuration that an operator would write for the suite's server; `context` has a registered client."""
    server: Message = {"description": "The suite", "type": "http", "url": url}
    if scenario == "auth/basic-cimd":
        server["oauth_client_id"] = _METADATA_DOCUMENT
    if "client_id" in context:
        server["oauth"] = {key: context[key] for key in ("client_id", "client_secret") if key in context}
        if "private_key_pem" in context:
            key = {"key": context["private_key_pem"], "algorithm": context["signing_algorithm"]}
            server["oauth"]["private_key_jwt"] = key
        if scenario.startswith("auth/client-credentials"):
            server["oauth"]["grant"] = "client_credentials"
    return {"mcpServers": {GROUP: server}}


async def main(arguments: Sequence[str]) -> None:
    """Be the client of one scenario."""
    url = arguments[-1]
    command = arguments[arguments.index("--") + 1 : -1]
    version = os.environ.get(_VERSION, LEGACY_VERSIONS[-1])
    context = json.loads(os.environ.get(_CONTEXT, "{}"))
    with tempfile.TemporaryDirectory(prefix="adapter-") as home:
        config = Path(home) / "config.json"
        config.write_text(
            json.dumps(configuration(url, os.environ.get(_SCENARIO, ""), context)), encoding="utf-8"
        )
        browser = shlex.join([sys.executable, "-m", "mock_servers", "browser", "--", "browser"])
        environment = {**os.environ, "HOME": home, "BROWSER": browser, "NO_PROXY": "*"}
        started = [argument.replace(PLACEHOLDER, str(config)) for argument in command]
        async with running(started, environment) as proxy:
            await act(Agent(proxy, version), context)


if __name__ == "__main__":
    asyncio.run(main(sys.argv))
