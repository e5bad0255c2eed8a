"""A request that names one group gets the reason of its failure. The error for an unknown name has the groups that were not searched."""

from __future__ import annotations

import pytest

from tests.dynamic_mcp.fakes import Client


@pytest.mark.parametrize("method", ["resources/list", "resources/templates/list", "prompts/list"])
async def test_list_of_a_broken_group_is_an_error(method: str) -> None:
    client = Client()

    answer = await client.ask(method, {"group": "broken"})
    whole = await client.ask(method, {})

    assert "it is broken" in answer["error"]["message"]
    assert "result" in whole


@pytest.mark.parametrize(
    ("method", "params"), [("resources/read", {"uri": "x://y"}), ("prompts/get", {"name": "nobody"})]
)
async def test_name_that_is_not_found_may_belong_to_a_broken_group(
    method: str, params: dict[str, object]
) -> None:
    answer = await Client().ask(method, params)

    assert "so not searched" in answer["error"]["message"]
    assert "broken" in answer["error"]["message"]
