"""The client hands each answer to its request, and the proxy's lists are read to their end."""

from __future__ import annotations

from typing import Any

import pytest

from conformance.errors import Violation
from tests.conformance.workbench.test_workbench import python, workbench_for

#: two pages, the second behind an empty cursor; "endless/list" never ends, "broken/list" gets an error, "null/list" a null
PAGES = python("""
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    answer = {"result": {"items": [message["params"]]}}
    if "cursor" not in message["params"]: answer["result"]["nextCursor"] = ""
    if message["method"] == "endless/list": answer["result"]["nextCursor"] = "again"
    if message["method"] == "null/list": answer["result"]["items"] = [None]
    if message["method"] == "broken/list": answer = {"error": {"code": -32601, "message": "no"}}
    print(json.dumps({"jsonrpc": "2.0", "id": message["id"], **answer}), flush=True)
""")
ANSWERS_TWICE = python("""
import json, sys
for line in sys.stdin:
    answer = json.dumps({"id": json.loads(line)["id"], "result": {}})
    print(answer, answer, sep="\\n", flush=True)
""")
#: gives every request the answer of another one
MIXES_UP = python("""
import json, sys
for line in sys.stdin:
    for id in (str(json.loads(line)["id"]), True):
        print(json.dumps({"jsonrpc": "2.0", "id": id, "result": {}}), flush=True)
""")


#: options of `Workbench.proxy` for programs that break the protocol
TOLERANT: dict[str, Any] = {"wire_types": False, "one_answer_each": False}


async def test_items_follows_every_cursor() -> None:
    async with workbench_for(PAGES) as workbench, workbench.proxy(wire_types=False) as proxy:
        items = await proxy.items("some/list", "items", {"group": "a"})
    assert items == [{"group": "a"}, {"group": "a", "cursor": ""}]


async def test_half_a_surrogate_pair_of_the_program_goes_back_as_an_escape() -> None:
    async with workbench_for(PAGES) as workbench, workbench.proxy(wire_types=False) as proxy:
        items = await proxy.items("some/list", "items", {"name": "\ud800", "word": "Zürich"})
    assert items[0] == {"name": "\ud800", "word": "Zürich"}


@pytest.mark.parametrize(
    ("method", "member", "what"),
    [
        ("endless/list", "items", "endless/list comes to an end"),
        ("broken/list", "items", "the answer to broken/list holds items"),
        ("some/list", "things", "the answer to some/list holds things"),
        ("null/list", "items", "items in the answer to null/list are objects"),
    ],
)
async def test_items_raises_for_a_list_that_is_endless_or_missing_or_has_no_objects(
    method: str, member: str, what: str
) -> None:
    async with workbench_for(PAGES) as workbench, workbench.proxy(wire_types=False) as proxy:
        with pytest.raises(Violation, match=what):
            await proxy.items(method, member)


async def test_an_answer_needs_an_id_of_the_same_type() -> None:
    async with workbench_for(MIXES_UP) as workbench, workbench.proxy(**TOLERANT) as proxy:
        answer = await proxy.request("some/method", id="1")
        with pytest.raises(Violation, match="an answer to some/method"):
            await proxy.request("some/method", id=1, within=0.3)
    assert answer.message["id"] == "1"


async def test_a_second_answer_goes_to_received() -> None:
    async with workbench_for(ANSWERS_TWICE) as workbench, workbench.proxy(**TOLERANT) as proxy:
        await proxy.request("some/method", id="twice")
        await workbench.eventually(lambda: proxy.received, within=5, what="the second answer")
        assert proxy.received == [{"id": "twice", "result": {}}]
