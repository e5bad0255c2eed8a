"""Null programs that do next to nothing, or do it without end."""

from __future__ import annotations

import json
import os
import sys
import time

from conformance.mutation.null_programs.registry import LIFETIME, null_program

_ENDS = time.monotonic() + LIFETIME
_FLOOD = 4 << 20
_GENERATIONS = 40


@null_program()
def exits_at_once(words: list[str]) -> None:
    pass


@null_program()
def refuses_everything(words: list[str]) -> None:
    sys.exit(f"usage: description command url config {' '.join(words)}")


@null_program()
def prints_its_configuration(words: list[str]) -> None:
    for word in words:
        with open(word, "rb") as file:
            sys.stdout.buffer.write(file.read())


@null_program()
def hangs(words: list[str]) -> None:
    time.sleep(LIFETIME)


@null_program()
def answers_nothing(words: list[str]) -> None:
    for _ in sys.stdin.buffer:
        pass


@null_program()
def answers_everything_with_success(words: list[str]) -> None:
    for line in sys.stdin.buffer:
        try:
            id_ = json.loads(line)["id"]
        except (ValueError, TypeError, KeyError):
            continue
        print(json.dumps({"jsonrpc": "2.0", "id": id_, "result": {}}), flush=True)


@null_program()
def looks_like_a_proxy(words: list[str]) -> None:
    with open(words[-1], encoding="utf-8") as file:
        groups = list(json.load(file)["mcpServers"])
    schema = {"type": "object", "properties": {"group": {"type": "string", "enum": groups}}}
    tools = [{"name": name, "inputSchema": schema} for name in ("get_dynamic_tools", "call_dynamic_tool")]
    results: dict[str, object] = {
        "initialize": {
            "protocolVersion": "2025-11-25",
            "capabilities": {"tools": {}, "resources": {}, "prompts": {}},
            "serverInfo": {"name": "null-program", "version": "1"},
        },
        "tools/list": {"tools": tools},
        "tools/call": {"content": []},
        "resources/list": {"resources": []},
        "resources/templates/list": {"resourceTemplates": []},
        "resources/read": {"contents": []},
        "prompts/list": {"prompts": []},
        "prompts/get": {"messages": []},
        "completion/complete": {"completion": {"values": []}},
    }
    for line in sys.stdin.buffer:
        try:
            message = json.loads(line)
            answer = {"jsonrpc": "2.0", "id": message["id"], "result": results.get(message["method"], {})}
        except (ValueError, TypeError, KeyError):
            continue
        print(json.dumps(answer), flush=True)


@null_program()
def answers_with_wrong_shapes(words: list[str]) -> None:
    wrong: list[object] = [
        None,
        True,
        0,
        -1.5,
        "",
        "text",
        [],
        [[]],
        [None],
        {},
        {"tools": [{}]},
        {"content": [{"text": 1}]},
    ]
    wrong += [{"tools": "text"}, {"prompts": [None]}, {"resources": {}}, {"contents": [0]}, {"isError": "no"}]
    capabilities = {
        "tools": {},
        "resources": {"subscribe": True},
        "prompts": {},
        "completions": {},
        "logging": {},
    }
    introduction = {
        "protocolVersion": "2025-11-25",
        "capabilities": capabilities,
        "serverInfo": {"name": "null-program", "version": "1"},
    }
    for number, line in enumerate(sys.stdin.buffer):
        try:
            message = json.loads(line)
            id_, method = message["id"], str(message["method"])
        except (ValueError, TypeError, KeyError):
            continue
        place = sum(method.encode()) + number  # the seed: the method, and how often the client has spoken
        result = introduction if method == "initialize" else wrong[place % len(wrong)]
        member = "error" if place % 5 == 0 and method != "initialize" else "result"
        print(json.dumps({"jsonrpc": "2.0", "id": id_, member: result}), flush=True)


@null_program()
def echoes(words: list[str]) -> None:
    for line in sys.stdin.buffer:
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()


@null_program()
def floods(words: list[str]) -> None:
    try:
        for _ in range(_FLOOD // 4096):
            sys.stdout.write("y" * 4095 + "\n")
        while time.monotonic() < _ENDS:
            sys.stdout.write("y\n")
            sys.stdout.flush()
            time.sleep(0.01)
    except BrokenPipeError:
        os._exit(1)  # sys.exit would flush stdout into the closed pipe


@null_program()
def forks_without_end(words: list[str]) -> None:
    for _ in range(_GENERATIONS):
        if os.fork():
            time.sleep(max(0.0, _ENDS - time.monotonic()))
            return
        os.setsid()
        time.sleep(0.1)
    time.sleep(max(0.0, _ENDS - time.monotonic()))
