"""Many servers that need the processor, several sessions at once: all become usable, and the proxy hardly adds to the time."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from mock_servers.script import Script, compute, sleep
from tests.soak.direct import HELLO, Direct, request
from tests.wire import Wire

#: servers of each session, and sessions at once
SERVERS, SESSIONS = 35, 3
#: each server computes, waits as if for a network, and computes again
SCRIPT = Script(startup=[compute(0.1), sleep(0.2), compute(0.1)])
#: the maximum time with the proxy, in times without it, and seconds that the sessions themselves need
MOST, OWN = 1.3, 5.0
WITHIN = 120.0


async def start_directly(entry: dict[str, Any]) -> None:
    """Start one server as a client without a proxy does, until its tools are known."""
    async with Direct(entry) as server:
        await server.ask("tools/list", {})


def use_all(session: Wire) -> None:
    """Call the servers of a session until each has answered correctly once."""
    session.write(request(1, "initialize", HELLO))
    session.receive()
    left, id, end = set(session.servers), 1, time.monotonic() + WITHIN
    while left:
        assert time.monotonic() < end, f"{len(left)} of {SERVERS} servers are not usable after {WITHIN:g} s"
        asked = {}
        for name in sorted(left):
            id += 1
            asked[id] = name
            session.send_call(id, name)
        while asked:
            answer = session.receive(60.0)
            name = asked.pop(answer["id"])
            if not answer["result"].get("isError"):
                left.discard(name)
        time.sleep(0.2)


@pytest.mark.soak
@pytest.mark.timeout(3 * WITHIN)
async def test_all_of_many_servers_become_usable_in_time(tmp_path: Path) -> None:
    folders = [tmp_path / str(number) for number in range(SESSIONS)]
    scripts: dict[str, Any] = {f"server{number}": SCRIPT for number in range(SERVERS)}
    sessions: list[Wire] = []
    try:
        for folder in folders:
            folder.mkdir()
            sessions.append(Wire(folder, **scripts))
        began = time.monotonic()
        await asyncio.gather(*(asyncio.to_thread(use_all, session) for session in sessions))
        proxied = time.monotonic() - began
        entries = [entry for session in sessions for entry in session.servers.values()]
    finally:
        await asyncio.gather(*(asyncio.to_thread(session.__exit__) for session in sessions))
    began = time.monotonic()
    await asyncio.gather(*(start_directly(entry) for entry in entries))
    direct = time.monotonic() - began
    print(f"\n{proxied:.1f} s with the proxy, {direct:.1f} s without")  # noqa: T201  # `-s` shows it
    assert proxied <= MOST * direct + OWN, f"{proxied:.1f} s with the proxy, {direct:.1f} s without"
