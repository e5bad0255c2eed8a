"""Programs that are no proxy at all: none of them may pass a check, unless it says here why.

    python -I -S impostors.py NAME [CONFIG]

They need the standard library alone, because each is started more than a thousand times in one kill matrix. All of them are
bounded, in time and in what they take, although they look endless to a check; what they leave behind is for the census of the
runner to end.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable

#: seconds after which everything here ends by itself, should nobody end it
LIFETIME = 120.0
ENDS = time.monotonic() + LIFETIME
_FLOOD = 4 << 20
_GENERATIONS = 40


class Impostor:
    """One program. `passes` names the requirements whose checks it passes, each with the reason why that proves nothing wrong."""

    def __init__(self, name: str, run: Callable[[list[str]], None], passes: dict[str, str]) -> None:
        self.name = name
        self.run = run
        self.passes = passes


IMPOSTORS: dict[str, Impostor] = {}


def impostor(
    *, passes: dict[str, str] | None = None
) -> Callable[[Callable[[list[str]], None]], Callable[[list[str]], None]]:
    """Register a program, named as what it does; it gets the words after its name."""

    def register(run: Callable[[list[str]], None]) -> Callable[[list[str]], None]:
        name = run.__name__.replace("_", "-")
        IMPOSTORS[name] = Impostor(name, run, passes or {})
        return run

    return register


@impostor()
def exits_at_once(words: list[str]) -> None:
    pass


@impostor()
def refuses_everything(words: list[str]) -> None:
    sys.exit(f"usage: description command url config {' '.join(words)}")


@impostor()
def prints_its_configuration(words: list[str]) -> None:
    for word in words:
        with open(word, "rb") as file:
            sys.stdout.buffer.write(file.read())


@impostor()
def hangs(words: list[str]) -> None:
    time.sleep(LIFETIME)


@impostor()
def answers_nothing(words: list[str]) -> None:
    for _ in sys.stdin.buffer:
        pass


@impostor()
def answers_everything_with_success(words: list[str]) -> None:
    for line in sys.stdin.buffer:
        try:
            id_ = json.loads(line)["id"]
        except (ValueError, TypeError, KeyError):
            continue
        print(json.dumps({"jsonrpc": "2.0", "id": id_, "result": {}}), flush=True)


@impostor()
def looks_like_a_proxy(words: list[str]) -> None:
    with open(words[-1], encoding="utf-8") as file:
        groups = list(json.load(file)["mcpServers"])
    schema = {"type": "object", "properties": {"group": {"type": "string", "enum": groups}}}
    tools = [{"name": name, "inputSchema": schema} for name in ("get_dynamic_tools", "call_dynamic_tool")]
    results: dict[str, object] = {
        "initialize": {
            "protocolVersion": "2025-11-25",
            "capabilities": {"tools": {}, "resources": {}, "prompts": {}},
            "serverInfo": {"name": "impostor", "version": "1"},
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


@impostor()
def echoes(words: list[str]) -> None:
    for line in sys.stdin.buffer:
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()


@impostor()
def floods(words: list[str]) -> None:
    try:
        for _ in range(_FLOOD // 4096):
            sys.stdout.write("y" * 4095 + "\n")
        while time.monotonic() < ENDS:
            sys.stdout.write("y\n")
            sys.stdout.flush()
            time.sleep(0.01)
    except BrokenPipeError:
        os._exit(1)  # nothing can be flushed any more


@impostor()
def forks_without_end(words: list[str]) -> None:
    for _ in range(_GENERATIONS):
        if os.fork():
            time.sleep(max(0.0, ENDS - time.monotonic()))
            return
        os.setsid()
        time.sleep(0.1)
    time.sleep(max(0.0, ENDS - time.monotonic()))


if __name__ == "__main__":
    IMPOSTORS[sys.argv[1]].run(sys.argv[2:])
