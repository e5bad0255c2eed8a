"""Progress of a request begins its timeout again, up to a maximum."""

from __future__ import annotations

import asyncio
import json

import pytest
from msgspec import Raw

from dynamic_mcp.errors import UpstreamTimeout
from dynamic_mcp.protocol import pending
from dynamic_mcp.protocol.peer import Peer
from dynamic_mcp.protocol.pending import Options, Pending
from dynamic_mcp.protocol.pieces import LARGE
from dynamic_mcp.protocol.progress import deliver

TIMEOUT = 0.2


class Working:
    """A peer with one request, whose other side reports progress."""

    def __init__(self, *, wants_progress: bool = True) -> None:
        self.heard: list[dict[str, Raw]] = []
        self.peer = Peer(lambda message: None, lambda message: None)
        on_progress = self.heard.append if wants_progress else None
        self.call = asyncio.ensure_future(
            self.peer.request("tools/call", b"{}", Options(TIMEOUT, on_progress))
        )

    async def report(self, *values: float, token: object = 1) -> None:
        for value in values:
            await asyncio.sleep(TIMEOUT / 4)
            params = {"progressToken": token, "progress": value}
            message = {"jsonrpc": "2.0", "method": "notifications/progress", "params": params}
            self.peer.receive(json.dumps(message).encode())

    async def fails(self) -> str:
        with pytest.raises(UpstreamTimeout) as failure:
            await self.call
        return str(failure.value)


@pytest.mark.parametrize("values", [range(12), [0.5] * 12], ids=["growing", "always the same"])
async def test_progress_keeps_a_request_alive(values: list[float]) -> None:
    work = Working()
    await work.report(*values)
    work.peer.receive(b'{"jsonrpc":"2.0","id":1,"result":{"a":1}}')
    assert await work.call == b'{"a":1}'
    assert len(work.heard) == len(set(values)), "the client gets only what grows"


async def test_a_request_ends_at_the_maximum(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending, "MAX_TIMES", 3)
    work = Working()
    began = asyncio.get_running_loop().time()
    reports = asyncio.ensure_future(work.report(*range(100)))
    text = await work.fails()
    assert asyncio.get_running_loop().time() - began < 10 * TIMEOUT
    assert text.endswith("although it reported progress: that is 3 times its timeout of 0.2 s")
    reports.cancel()


async def test_a_request_ends_when_its_progress_ends() -> None:
    work = Working()
    await work.report(1, 2)
    assert (await work.fails()).endswith("and no further progress within 0.2 s")


@pytest.mark.parametrize("token", [2, "nobody", None])
async def test_progress_of_another_request_does_not_count(token: object) -> None:
    work = Working()
    reports = asyncio.ensure_future(work.report(*range(100), token=token))
    assert await work.fails() == "no answer to tools/call within 0.2 s"
    reports.cancel()


async def test_progress_that_nobody_asked_for_does_not_count() -> None:
    work = Working(wants_progress=False)
    reports = asyncio.ensure_future(work.report(*range(100)))
    assert await work.fails() == "no answer to tools/call within 0.2 s"
    reports.cancel()


@pytest.mark.parametrize(
    ("wrong", "left"),
    [
        ({"total": "9", "message": "m"}, {"message": "m"}),
        ({"total": 9.5, "message": ["m"]}, {"total": 9.5}),
        ({"_meta": 5, "more": 1}, {"more": 1}),
        ({"message": 5, "more": "x" * LARGE}, None),
    ],
)
async def test_members_of_a_wrong_type_do_not_reach_the_client(
    wrong: dict[str, object], left: dict[str, object] | None
) -> None:
    oddities: list[str] = []
    pending_request = Pending(asyncio.get_running_loop().create_future(), "tools/call", 9.0, None, None)
    heard: list[dict[str, Raw]] = []
    pending_request.on_progress = heard.append
    for number in (1, 2):
        params = json.dumps({"progressToken": 1, "progress": number, **wrong}).encode()
        assert deliver(Raw(params), {1: pending_request}, 0.0, oddities.append)
    found = [{name: json.loads(bytes(raw)) for name, raw in each.items()} for each in heard]
    expected = [] if left is None else [{"progressToken": 1, "progress": number, **left} for number in (1, 2)]
    assert found == expected
    assert len(set(oddities)) == 1
