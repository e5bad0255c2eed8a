"""Small programs for the tests of `profile`: `probed.py KIND ARG ...`. They speak MCP on stdin and stdout, with the standard library."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from typing import IO, Any
from urllib.request import Request, urlopen

Message = dict[str, Any]
SPOKEN = "2025-06-18"


def write(message: Message) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


class Server:
    """A server with a command, which gets one request at a time."""

    def __init__(self, command: list[str], env: dict[str, str] | None = None) -> None:
        own = {**os.environ, **(env or {})}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=own
        )
        params = {"protocolVersion": SPOKEN, "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
        self.greeting = self.ask("initialize", params)["result"]
        self._send({"method": "notifications/initialized"})

    def _send(self, message: Message) -> IO[str]:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        self._process.stdin.flush()
        return self._process.stdout

    def ask(self, method: str, params: Message) -> Message:
        """The answer to a request, or an empty object at the end of the server."""
        answer: Message = json.loads(
            self._send({"id": 1, "method": method, "params": params}).readline() or "{}"
        )
        return answer


def serve(greeting: Message, servers: dict[str, Server]) -> None:
    """Answer a client. With one server, the names are its own; with several, `SERVER.NAME`."""
    for line in sys.stdin:
        message = json.loads(line)
        if "id" not in message:
            continue
        answer: Message = {"error": {"code": -32601, "message": "Method not found"}}
        if message["method"] == "initialize":
            answer = {"result": {"protocolVersion": SPOKEN, **greeting}}
        elif message["method"] == "tools/list":
            tools = [
                {**one, "name": one["name"] if len(servers) == 1 else f"{name}.{one['name']}"}
                for name, server in servers.items()
                for one in server.ask("tools/list", {})["result"]["tools"]
            ]
            answer = {"result": {"tools": tools}}
        write({"id": message["id"], **answer})


def relay(command: list[str]) -> None:
    """Pass each line on as it is."""
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None and process.stdout is not None

    def back(lines: IO[bytes]) -> None:
        for line in lines:
            sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()

    thread = threading.Thread(target=back, args=(process.stdout,))
    thread.start()
    for line in sys.stdin.buffer:
        process.stdin.write(line)
        process.stdin.flush()
    process.stdin.close()
    thread.join()


def repeats(command: list[str]) -> None:
    """A gateway that repeats what the types of an SDK know of its server's answer."""
    server = Server(command)
    known = {name: server.greeting[name] for name in ("capabilities", "serverInfo")}
    serve(known, {"": server})


def gateway(command: list[str]) -> None:
    """A gateway for one server that answers by itself, after a line for people."""
    sys.stdout.write("Welcome!\n")
    serve({"capabilities": {"tools": {}}, "serverInfo": {"name": "g", "version": "1"}}, {"": Server(command)})


def with_a_file(words: list[str]) -> None:
    """A gateway with a configuration file that starts servers with a command. To others it sends one message, if they have `transport`."""
    with open(words[0], encoding="utf-8") as file:
        content: Message = json.load(file)
    entries: dict[str, Message] = content[words[1] if len(words) > 1 else "mcpServers"]
    own = {"capabilities": {"tools": {}}, "serverInfo": {"name": "g", "version": "1"}}
    started = {
        name: Server([entry.get("program") or entry["command"], *entry.get("args", [])])
        for name, entry in entries.items()
        if "url" not in entry
    }
    for entry in entries.values():
        if "url" in entry and "transport" in entry:
            with contextlib.suppress(OSError):
                urlopen(Request(entry["url"], b"{}", {"Content-Type": "application/json"}), timeout=5).close()
            sys.stderr.write("one message is enough\n")
    serve(own, started)


def strict(words: list[str]) -> None:
    """A gateway with a configuration file that ends at a member which it does not know."""
    with open(words[0], encoding="utf-8") as file:
        entries: dict[str, Message] = json.load(file)["mcpServers"]
    for entry in entries.values():
        if unknown := entry.keys() - {"description", "command", "args", "env"}:
            sys.exit(f"unknown: {unknown}")
    own = {"capabilities": {"tools": {}}, "serverInfo": {"name": "g", "version": "1"}}
    serve(
        own,
        {
            name: Server([entry["command"], *entry.get("args", [])], entry.get("env"))
            for name, entry in entries.items()
        },
    )


def junk(words: list[str]) -> None:
    """A program that writes the words again and again, and answers nothing."""
    while True:
        sys.stdout.write(words[0].encode().decode("unicode_escape"))
        sys.stdout.flush()
        time.sleep(0.2)


def refuses(words: list[str]) -> None:
    """A program that answers every line with the same message, and goes on."""
    for _ in sys.stdin:
        sys.stdout.write(f"{words[0]}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    kinds = {"relay": relay, "repeats": repeats, "gateway": gateway, "file": with_a_file, "strict": strict}
    kinds |= {"junk": junk, "refuses": refuses}
    kinds[sys.argv[1]](sys.argv[2:])
