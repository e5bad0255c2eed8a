"""A small proxy with the standard library alone, which the liars are made of.

It forwards calls honestly to upstreams of the legacy era without OAuth. It reads its configuration once, and relays no message of an
upstream except answers.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from typing import TYPE_CHECKING

from conformance.mutation.null_programs.upstreams import (
    VERSION,
    Json,
    Lost,
    SmallHttpUpstream,
    SmallSseUpstream,
    SmallStdioUpstream,
)

if TYPE_CHECKING:
    from conformance.mutation.null_programs.upstreams import SmallUpstream

#: seconds for the open requests after the end of the input
LAST_ANSWERS = 0.5
LIST_TOOL, CALL_TOOL = "get_dynamic_tools", "call_dynamic_tool"
#: for each list method: the member of its result
LISTS = {
    "resources/list": "resources",
    "resources/templates/list": "resourceTemplates",
    "prompts/list": "prompts",
}
READS = ("resources/read", "prompts/get")


class SmallRelay:
    """The proxy. A liar replaces some of its methods."""

    http_upstream: type[SmallHttpUpstream] = SmallHttpUpstream
    stdio_upstream: type[SmallStdioUpstream] = SmallStdioUpstream
    sse_upstream: type[SmallSseUpstream] = SmallSseUpstream

    def __init__(self, words: list[str]) -> None:
        with open(words[-1], encoding="utf-8") as file:
            self.entries: dict[str, Json] = json.load(file)["mcpServers"]
        self._connected: dict[str, SmallUpstream] = {}
        self._locks = {name: threading.Lock() for name in self.entries}
        self._output = threading.Lock()

    def serve(self) -> None:
        """Answer the client until its end of input, and then for a moment the requests that are still open."""
        tasks: list[threading.Thread] = []
        for line in sys.stdin.buffer:
            try:
                message = json.loads(line)
            except ValueError:
                continue
            if isinstance(message, dict) and {"id", "method"} <= message.keys():
                tasks.append(threading.Thread(target=self.serve_one, args=(message,), daemon=True))
                tasks[-1].start()
        end = time.monotonic() + LAST_ANSWERS
        for task in tasks:
            task.join(max(0.0, end - time.monotonic()))

    def serve_one(self, message: Json) -> None:
        """Answer one request."""
        try:
            body = self.body(message["method"], message.get("params") or {})
        except Lost as problem:
            body = {"error": {"code": -32603, "message": str(problem)}}
        except (KeyError, TypeError, AttributeError) as problem:
            body = {"error": {"code": -32602, "message": f"Invalid params: {problem}"}}
        self.write(message, {"jsonrpc": "2.0", "id": message["id"], **body})

    def write(self, request: Json, answer: Json) -> None:
        """Send the answer to a request."""
        with self._output:
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()

    def body(self, method: str, params: Json) -> Json:
        """The member `result` or `error` of the answer. Raises `Lost`."""
        if method == "initialize":
            return {"result": self.greeting()}
        if method == "ping":
            return {"result": {}}
        if method == "tools/list":
            return {"result": {"tools": [self.tool(LIST_TOOL), self.tool(CALL_TOOL)]}}
        if method == "tools/call":
            return self.tool_result(params["name"], params.get("arguments", {}))
        if method in LISTS:
            member = LISTS[method]
            return {"result": {member: [one for name in self.entries for one in self.items(name, method)]}}
        if method in READS:
            bodies = [self.forward(name, method, params) for name in self.entries]
            return next((body for body in bodies if "result" in body), bodies[0])
        return {"error": {"code": -32601, "message": f"Method not found: {method}"}}

    def greeting(self) -> Json:
        return {
            "protocolVersion": VERSION,
            "capabilities": {"tools": {}, "resources": {}, "prompts": {}},
            "serverInfo": {"name": "null-program", "version": "1"},
        }

    def tool(self, name: str) -> Json:
        """The definition of one of the two tools."""
        groups = "".join(f"\n- {group}: {entry.get('description')}" for group, entry in self.entries.items())
        properties: Json = {"group": {"type": "string", "enum": [*self.entries]}}
        if name == CALL_TOOL:
            properties |= {"name": {"type": "string"}, "args": {"type": "object"}}
        schema = {"type": "object", "properties": properties, "required": [*properties][:2]}
        return {"name": name, "description": f"Groups:{groups}", "inputSchema": schema}

    def tool_result(self, name: str, arguments: Json) -> Json:
        """The answer of one of the two tools."""
        if name not in (LIST_TOOL, CALL_TOOL) or arguments["group"] not in self.entries:
            return {"error": {"code": -32602, "message": "No such tool or group"}}
        group = arguments["group"]
        try:
            if name == CALL_TOOL:
                return self.call(group, arguments["name"], arguments.get("args", {}))
            tools = json.dumps(self.items(group, "tools/list"))
        except Lost as problem:
            return failure(f"{group}: {problem}")
        return {"result": {"content": [{"type": "text", "text": tools}]}}

    def call(self, group: str, tool: str, args: Json) -> Json:
        """The answer to a call of an upstream's tool."""
        return self.forward(group, "tools/call", {"name": tool, "arguments": args})

    def items(self, group: str, method: str) -> list[Json]:
        """All pages of a list of one upstream; nothing if the upstream refuses."""
        member = LISTS.get(method, "tools")
        found: list[Json] = []
        params: Json = {}
        for _ in range(100):
            result = self.forward(group, method, params).get("result", {})
            found += result.get(member, [])
            if not result.get("nextCursor"):
                break
            params = {"cursor": result["nextCursor"]}
        return found

    def forward(self, group: str, method: str, params: Json) -> Json:
        """The answer of the upstream. Raises `Lost`."""
        try:
            return self.upstream(group).request(method, params)
        except Lost:
            self._connected.pop(group, None)
            raise

    def upstream(self, group: str) -> SmallUpstream:
        """The upstream of a group, connected on first use. Raises `Lost`."""
        with self._locks[group]:
            if group not in self._connected:
                self._connected[group] = self.connect(group)
            return self._connected[group]

    def connect(self, group: str) -> SmallUpstream:
        """A new connection. Raises `Lost`."""
        entry = self.entries[group]
        try:
            if "url" not in entry:
                return self.stdio_upstream(entry)
            return self.sse_upstream(entry) if entry.get("type") == "sse" else self.http_upstream(entry)
        except (OSError, KeyError) as problem:
            raise Lost(f"cannot be started: {problem}") from problem


def failure(text: str) -> Json:
    """A tool result that is an error."""
    return {"result": {"content": [{"type": "text", "text": text}], "isError": True}}
