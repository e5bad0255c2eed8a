"""Tests the proxy with the SDK 1.x, the last one of the legacy era, on both sides. `tox -e sdk1` runs it, because 1.x and 2.x conflict.

The client of the SDK drives the proxy in front of servers of the SDK: over stdio, Streamable HTTP and HTTP+SSE. One server requires a
sign-in. The program prints a line for each condition that holds. At the first one that does not, it exits with status 1.
"""

# mypy: ignore-errors
# mypy runs with another major version of the SDK

from __future__ import annotations

import asyncio
import json
import socket
import sys
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
from mcp import ClientSession, StdioServerParameters, types
from mcp.client.stdio import stdio_client
from mcp.server.fastmcp import FastMCP

from tests.interop.sdk_auth import Memory, serving, settings

WITHIN = 60.0
SERVER = """
import sys
from mcp.server.fastmcp import FastMCP, Context
server = FastMCP("sdk1", port=int(sys.argv[2]))
@server.tool()
async def greet(name: str, context: Context) -> str:
    await context.report_progress(1, 2)
    return f"hello {name}"
@server.resource("note://{name}")
def note(name: str) -> str:
    return f"note of {name}"
@server.prompt()
def ask(topic: str) -> str:
    return f"What about {topic}?"
server.run(sys.argv[1])
"""


@asynccontextmanager
async def sdk_servers(folder: Path) -> Any:
    """The configuration entries of the SDK's servers, one for each transport. Servers behind a URL run inside the block."""
    program = folder / "server.py"
    program.write_text(SERVER)
    entries: dict[str, Any] = {
        "stdio": {"command": sys.executable, "args": [str(program), "stdio", "0"]},
    }
    running = []
    for transport, path in (("streamable-http", "mcp"), ("sse", "sse")):
        port = _free_port()
        nothing = asyncio.subprocess.DEVNULL
        running.append(
            await asyncio.create_subprocess_exec(
                sys.executable, str(program), transport, str(port), stdout=nothing, stderr=nothing
            )
        )
        entries[transport] = {"url": f"http://127.0.0.1:{port}/{path}"}
        await _wait_until_listening(port)
    try:
        yield entries
    finally:
        for process in running:
            process.terminate()
            await process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def _wait_until_listening(port: int) -> None:
    with anyio.fail_after(WITHIN):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return


def holds(condition: object, what: str) -> None:
    """Print a condition that holds; exit at one that does not."""
    if not condition:
        sys.exit(f"does not hold: {what}")
    print(f"holds: {what}")  # noqa: T201  # the report of the program


async def judge(session: ClientSession, group: str) -> None:
    """Test the definitions, a call and progress of one group."""
    listed = await session.call_tool("get_dynamic_tools", {"group": group})
    holds("greet" in listed.content[0].text, f"{group}: get_dynamic_tools returns the definition")
    progress: list[float] = []

    async def on_progress(value: float, total: float | None, message: str | None) -> None:
        progress.append(value)

    arguments = {"group": group, "name": "greet", "args": {"name": "you"}}
    answer = await session.call_tool("call_dynamic_tool", arguments, progress_callback=on_progress)
    holds(answer.content[0].text == "hello you" and not answer.isError, f"{group}: a call gets its answer")
    holds(progress == [1.0], f"{group}: progress arrives before the answer")


async def judge_sign_in(folder: Path, *, metadata: bool) -> None:
    """Test a server that is its own authorization server: one sign-in, a renewal without the user, and a sign-in after a revocation.

    With `metadata` the resource names its authorization server.
    """
    memory = Memory(lifetime=2)

    def protected(origin: str) -> Any:
        auth = settings(origin, metadata=metadata)
        server = FastMCP("sdk1", log_level="ERROR", auth=auth, auth_server_provider=memory)
        server.add_tool(hello)
        return server.streamable_http_app()

    browser = folder / "browser"
    browser.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m mock_servers browser -- browser "$1"\n')
    browser.chmod(0o755)
    async with serving(protected) as url:
        environment = {"HOME": str(folder), "BROWSER": str(browser)}
        async with connected(folder, {"locked": {"url": url}}, **environment) as session:
            await session.initialize()
            holds(await say_hello(session) == "hello", "a call gets its answer after the sign-in")
            await asyncio.sleep(memory.lifetime + 1.1)  # the server counts whole seconds
            holds(await say_hello(session) == "hello", "a call gets its answer after the token expired")
            renewed = (memory.signed_in, memory.renewed > 0)
            holds(renewed == (1, True), "the token was renewed without the user")
            memory.access.clear()
            memory.refresh.clear()
            holds(await say_hello(session) == "hello", "a call gets its answer after a revocation")
    holds(memory.signed_in == 2, "the user signed in once more")


def hello() -> str:
    return "hello"


async def say_hello(session: ClientSession) -> str:
    """The text of the answer after the sign-in, if one is needed."""
    while True:
        answer = await session.call_tool(
            "call_dynamic_tool", {"group": "locked", "name": "hello", "args": {}}
        )
        if "waits for you" not in answer.content[0].text:
            return answer.content[0].text
        await asyncio.sleep(0.1)


@asynccontextmanager
async def connected(folder: Path, entries: dict[str, Any], **environment: str) -> Any:
    """A session with the proxy in front of these servers, not yet initialized."""
    config = folder / "config.json"
    described = {name: {"description": name, **entry} for name, entry in entries.items()}
    config.write_text(json.dumps({"mcpServers": described}))
    arguments = ["-m", "dynamic_mcp", str(config)]
    command = StdioServerParameters(command=sys.executable, args=arguments, env=environment)
    async with stdio_client(command) as streams, ClientSession(*streams) as session:
        yield session


async def judge_transports(folder: Path) -> None:
    """Test servers of every transport behind one proxy."""
    async with sdk_servers(folder) as entries, connected(folder, entries) as session:
        greeting = await session.initialize()
        holds(
            greeting.protocolVersion == types.LATEST_PROTOCOL_VERSION,
            "both sides agree on the newest legacy version",
        )
        tools = await session.list_tools()
        holds(len(tools.tools) == 2, "the proxy lists two tools")
        for group in entries:
            await judge(session, group)
        prompts = await session.list_prompts()
        holds(len(prompts.prompts) == len(entries), "the list has the prompts of all groups")
        prompt = await session.get_prompt("ask", {"topic": "it"})
        holds("What about it?" in prompt.messages[0].content.text, "a prompt is found by its name")
        templates = await session.list_resource_templates()
        holds(len(templates.resourceTemplates) == len(entries), "the list has the templates of all groups")
        read = await session.read_resource("note://a")
        holds(read.contents[0].text == "note of a", "a resource is found by its template")
        await session.set_logging_level("warning")
        holds(True, "the proxy accepts a log level")
        await session.send_ping()
        holds(True, "the proxy answers a ping")


async def main() -> None:
    with tempfile.TemporaryDirectory() as name, anyio.fail_after(4 * WITHIN):
        await judge_transports(Path(name))
        for metadata in (True, False):
            home = Path(name) / f"metadata-{metadata}"
            home.mkdir()
            await judge_sign_in(home, metadata=metadata)


if __name__ == "__main__":
    anyio.run(main)
