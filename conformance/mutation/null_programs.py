"""Null programs, which are no proxy at all: none of them may pass a check, unless it declares here why.

    python -I -S null_programs.py NAME [CONFIG]

They use only the standard library, because one kill matrix starts each of them more than a thousand times. All of them are
bounded in time and in resources, although they look endless to a check. The census of the runner ends the processes that they leave
behind.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable

#: seconds after which every program ends by itself
LIFETIME = 120.0
ENDS = time.monotonic() + LIFETIME
_FLOOD = 4 << 20
_GENERATIONS = 40


class NullProgram:
    """One program. `passes` maps each requirement whose check it passes to the reason why the pass is no fault of the check."""

    def __init__(self, name: str, run: Callable[[list[str]], None], passes: dict[str, str]) -> None:
        self.name = name
        self.run = run
        self.passes = passes


NULL_PROGRAMS: dict[str, NullProgram] = {}


def null_program(
    *, passes: dict[str, str] | None = None
) -> Callable[[Callable[[list[str]], None]], Callable[[list[str]], None]]:
    """Register a program under the name of its function; it gets the command-line arguments after its name."""

    def register(run: Callable[[list[str]], None]) -> Callable[[list[str]], None]:
        name = run.__name__.replace("_", "-")
        NULL_PROGRAMS[name] = NullProgram(name, run, passes or {})
        return run

    return register


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
        while time.monotonic() < ENDS:
            sys.stdout.write("y\n")
            sys.stdout.flush()
            time.sleep(0.01)
    except BrokenPipeError:
        os._exit(1)  # sys.exit would flush stdout into the closed pipe


@null_program()
def forks_without_end(words: list[str]) -> None:
    for _ in range(_GENERATIONS):
        if os.fork():
            time.sleep(max(0.0, ENDS - time.monotonic()))
            return
        os.setsid()
        time.sleep(0.1)
    time.sleep(max(0.0, ENDS - time.monotonic()))


if __name__ == "__main__":
    NULL_PROGRAMS[sys.argv[1]].run(sys.argv[2:])
