"""What every client does: get the tools of a group, call one with nested arguments, make a mistake, correct it, and meet a dead group.

The server behind the proxy is a mock, whose journal shows the arguments that arrived.
"""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mock_servers.running import StdioMock, stdio_mock
from mock_servers.script import Script, on_call, reply, tool

from .scripted_model import FINISHED, ScriptedModel, Step

#: the arguments of the nested call; every JSON type is there
ORDER: dict[str, Any] = {
    "order": {
        "items": [{"sku": "a-1", "count": 2, "tags": []}, {"sku": "b-2", "count": 1, "tags": ["gift"]}],
        "address": {"city": "Zürich", "floor": None},
        "express": False,
        "limit": 12.5,
    }
}
NOTE = "note://shop/opening"
NOTE_TEXT = "Open from 9 to 17"
QUESTION = "What is in the shop?"
BROKEN_TOOL = "The printer is on fire"

_ITEM = {
    "type": "object",
    "properties": {
        "sku": {"type": "string"},
        "count": {"type": "integer", "minimum": 1},
        "tags": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["sku"],
    "additionalProperties": False,
}
_PLACE_ORDER = {
    "name": "place_order",
    "description": "Order items of the shop",
    "inputSchema": {
        "type": "object",
        "properties": {
            "order": {
                "type": "object",
                "properties": {
                    "items": {"type": "array", "items": _ITEM},
                    "address": {"type": "object"},
                    "express": {"type": "boolean"},
                    "limit": {"type": ["number", "null"]},
                },
                "required": ["items"],
            }
        },
        "required": ["order"],
    },
}
SHOP = Script(
    era="both",
    name="shop",
    instructions="Prices are in francs.",
    tools=[_PLACE_ORDER, tool("count_items", "Count the items in stock"), tool("fail", "Fails")],
    resources=[{"uri": NOTE, "name": "opening", "mimeType": "text/plain"}],
    contents={NOTE: [{"uri": NOTE, "mimeType": "text/plain", "text": NOTE_TEXT}]},
    prompts=[{"name": "ask", "description": QUESTION}],
)

#: a group whose definitions are larger than some clients show
ARCHIVE = Script(
    era="both",
    name="archive",
    tools=[
        tool(
            f"tool_{number:02}",
            f"Does the work number {number} of the archive. It is careful and slow.",
            properties={f"paper_{n}": {"type": "string", "description": "A paper" * 10} for n in range(8)},
        )
        for number in range(60)
    ],
)

STEPS = [
    Step("get_dynamic_tools", {"group": "shop"}),
    Step("call_dynamic_tool", {"group": "shop", "name": "place_order", "args": ORDER}),
    # A required member that is empty, because some clients do not make a call without the member.
    Step("call_dynamic_tool", {"group": "shop", "name": "", "args": ORDER}),
    Step("call_dynamic_tool", {"group": "shop", "name": "place_orders", "args": ORDER}),
    Step("call_dynamic_tool", {"group": "shop", "name": "count_items", "args": {}}),
    Step("get_dynamic_tools", {"group": "broken"}),
]
#: the names of all tools of the archive, and the definition of one
ARCHIVE_STEPS = [
    Step("get_dynamic_tools", {"group": "archive"}),
    Step("get_dynamic_tools", {"group": "archive", "name": "tool_17"}),
]


@dataclass(frozen=True)
class Scene:
    """The proxy as a command line, and the server behind it."""

    folder: Path
    command: str
    args: Sequence[str]
    shop: StdioMock
    #: in the answers of the server, and nowhere else
    order_number: str

    def given(self, model: ScriptedModel | None = None, **settings: Any) -> str:
        """What a program of `programs/` reads: the proxy, the steps or the model, and settings of the client."""
        steps = [(step.tool, step.arguments) for step in STEPS]
        url = model.url if model else None
        shared = {"command": self.command, "args": [*self.args], "note": NOTE, "steps": steps, "model": url}
        return json.dumps({**shared, **settings})

    @property
    def directly(self) -> dict[str, Any]:
        """The settings that attach the server without the proxy."""
        return dict(self.shop.entry)

    @property
    def calls(self) -> list[Any]:
        """The names and arguments of the calls that reached the server."""
        return [
            (call.params["name"], call.params.get("arguments")) for call in self.shop.requests("tools/call")
        ]


@contextmanager
def scene(folder: Path) -> Iterator[Scene]:
    """The proxy with a shop, an archive, and a group whose server ends at once."""
    (folder / "shop").mkdir()
    (folder / "archive").mkdir()
    number = secrets.token_hex(8)
    # Without structured content, because some clients then leave out the text.
    answer = reply({"content": [{"type": "text", "text": f"Order {number} for Zürich"}]})
    failure = reply({"content": [{"type": "text", "text": BROKEN_TOOL}], "isError": True})
    script = replace(SHOP, on=[on_call("fail", failure), on_call(None, answer)])
    with stdio_mock(folder / "shop", script) as shop, stdio_mock(folder / "archive", ARCHIVE) as archive:
        broken = {
            "command": sys.executable,
            "args": ["-c", "import sys; sys.exit('no licence')"],
            "description": "Never works",
        }
        servers = {"shop": {**shop.entry, "description": "A small shop"}, "broken": broken}
        servers["archive"] = {**archive.entry, "description": "Old papers"}
        config = folder / "config.json"
        config.write_text(json.dumps({"mcpServers": servers}), encoding="utf-8")
        yield Scene(folder, sys.executable, ["-m", "dynamic_mcp", str(config)], shop, number)


def judge_agent(model: ScriptedModel, now: Scene, output: str) -> None:
    """The agent brought every definition, argument and result from one side to the other, and the script went on after each failure."""
    assert not model.problems, model.problems
    results = model.results
    assert len(results) == len(model.script), f"{len(results)} results: {results}\n{output}"
    judge_results(results[: len(STEPS)], now)
    assert FINISHED in output


def judge_results(results: Sequence[str], now: Scene) -> None:
    """The results of the steps."""
    # Some clients show the model a JSON text or a Python text inside another.
    definitions, ordered, incomplete, unknown, counted, broken = (
        text.replace("\\'", "'") for text in results
    )
    for part in ("place_order", "inputSchema", "minimum", "Prices are in francs."):
        assert part in definitions, definitions
    assert now.calls == [("place_order", ORDER), ("count_items", {})]
    assert now.order_number in ordered
    assert "'name' is missing" in incomplete
    assert "Right form" in incomplete
    assert "Did you mean 'place_order'?" in unknown
    assert now.order_number in counted
    assert "'broken' is not available" in broken
    assert "no licence" in broken


def judge_archive(listed: str, defined: str) -> None:
    """The results of `ARCHIVE_STEPS` reached the model to their end."""
    for number in range(60):
        assert f"tool_{number:02}" in listed, listed
    assert "inputSchema" not in listed
    assert "paper_7" in defined
