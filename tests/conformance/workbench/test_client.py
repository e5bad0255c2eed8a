"""The raw client hands an answer to the request that it belongs to, and reads lists to their end."""

from __future__ import annotations

import pytest

from conformance.errors import Violation
from tests.conformance.workbench.test_workbench import python, workbench_for

#: two pages, the second behind an empty cursor; "endless/list" goes on, "broken/list" is refused
PAGES = python("""
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    answer = {"result": {"items": [message["params"]]}}
    if "cursor" not in message["params"]: answer["result"]["nextCursor"] = ""
    if message["method"] == "endless/list": answer["result"]["nextCursor"] = "again"
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


class TestARequest:
    async def test_for_a_list_follows_every_cursor(self) -> None:
        async with workbench_for(PAGES) as workbench, workbench.proxy(wire_types=False) as proxy:
            items = await proxy.items("some/list", "items", {"group": "a"})
        assert items == [{"group": "a"}, {"group": "a", "cursor": ""}]

    @pytest.mark.parametrize(
        ("method", "member", "what"),
        [
            ("endless/list", "items", "endless/list comes to an end"),
            ("broken/list", "items", "broken/list is answered with items"),
            ("some/list", "things", "some/list is answered with things"),
        ],
    )
    async def test_for_a_list_that_is_none_is_a_violation(self, method: str, member: str, what: str) -> None:
        async with workbench_for(PAGES) as workbench, workbench.proxy(wire_types=False) as proxy:
            with pytest.raises(Violation, match=what):
                await proxy.items(method, member)

    async def test_gets_the_answer_whose_id_has_the_same_type(self) -> None:
        async with workbench_for(MIXES_UP) as workbench, workbench.proxy(wire_types=False) as proxy:
            answer = await proxy.request("some/method", id="1")
            with pytest.raises(Violation, match="an answer to some/method"):
                await proxy.request("some/method", id=1, within=0.3)
        assert answer.message["id"] == "1"

    async def test_whose_answer_comes_twice_leaves_the_second_behind(self) -> None:
        async with workbench_for(ANSWERS_TWICE) as workbench, workbench.proxy(wire_types=False) as proxy:
            await proxy.request("some/method", id="twice")
            await workbench.eventually(lambda: proxy.received, within=5, what="the second answer")
            assert proxy.received == [{"id": "twice", "result": {}}]
