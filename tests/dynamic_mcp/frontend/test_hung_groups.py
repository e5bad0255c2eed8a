"""A server that does not list its resources or prompts delays the requests to the other servers a moment only."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from dynamic_mcp.config.model import Timeouts
from dynamic_mcp.errors import UpstreamTimeout
from dynamic_mcp.frontend import patience
from dynamic_mcp.frontend.session import ClientSession
from dynamic_mcp.frontend.subscriptions import Subscriptions
from dynamic_mcp.groups.listing import PROMPTS, RESOURCES, TEMPLATES, Freshness, Kind, Listing
from dynamic_mcp.protocol.jsonrpc import Refusal
from dynamic_mcp.protocol.pending import Options
from tests.dynamic_mcp.fakes import FakeUpstream, server
from tests.dynamic_mcp.frontend.test_owners import Lister, call, catalog_of, get, read

#: Seconds that a list waits for a group, and that one of its requests may take.
LISTS, REQUEST = 0.02, 60.0
#: Seconds for a request that such a group does not concern.
SOON = 5.0


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "KNOWN_AS_LATE", LISTS)


class Hung(Lister):
    """A group that answers the lists of these kinds only once ``may_answer`` is set."""

    def __init__(self, name: str, *kinds: Kind, timeout: float = REQUEST, **names: Any) -> None:
        super().__init__(name, **names)
        timeouts = Timeouts(resources=timeout, prompts=timeout, lists=LISTS)
        self.server = msgspec.structs.replace(server(name), timeouts=timeouts)
        self.kinds = kinds
        self.may_answer = asyncio.Event()

    async def listing(
        self, kind: Kind, timeout: float | None = None, freshness: Freshness = Freshness.KNOWN
    ) -> Listing:
        if kind in self.kinds:
            await self.may_answer.wait()
        return await super().listing(kind, timeout, freshness)


class Silent(Lister):
    """A group whose cached lists lack what ``added`` names."""

    def __init__(self, name: str, added: dict[Kind, list[str]], **names: Any) -> None:
        super().__init__(name, **names)
        self.added = added

    async def listing(
        self, kind: Kind, timeout: float | None = None, freshness: Freshness = Freshness.KNOWN
    ) -> Listing:
        if freshness is Freshness.RENEWED:
            self.lists[kind].extend(self.added.pop(kind, []))
        return await super().listing(kind, timeout, freshness)


async def complete(catalog: Any, name: str) -> str:
    ref = {"type": "ref/prompt", "name": name} if "/" not in name else {"type": "ref/resource", "uri": name}
    argument = {"name": "id", "value": ""}
    return str((await catalog.complete(call("completion/complete", ref=ref, argument=argument))).decode())


async def subscribe(catalog: Any, uri: str) -> str:
    subscriptions = Subscriptions(ClientSession(lambda line: None), catalog, [])
    await subscriptions.subscribe(call("resources/subscribe", uri=uri))
    return "good"


def good() -> Lister:
    group = Lister("good", prompts=["p"], uris=["x://1"], templates=["y://{id}"])
    assert isinstance(group.upstream, FakeUpstream)
    group.upstream.agreed.capabilities["completions"] = Raw(b"{}")
    return group


@pytest.mark.parametrize("kind", [RESOURCES, TEMPLATES, PROMPTS], ids=lambda kind: kind.method)
@pytest.mark.parametrize("is_first", [True, False], ids=["first", "last"])
@pytest.mark.parametrize(
    ("use", "name"),
    [
        (read, "x://1"),
        (read, "y://1"),
        (read, "linked://1"),
        (subscribe, "x://1"),
        (subscribe, "y://1"),
        (get, "p"),
        (complete, "p"),
        (complete, "y://{id}"),
    ],
)
async def test_a_hung_group_does_not_delay_another_one(
    use: Any, name: str, is_first: bool, kind: Kind
) -> None:
    groups = [Hung("bad", kind), good()]
    catalog = catalog_of(*groups[:: 1 if is_first else -1])
    await catalog.result_uris.note("good", b'[{"uri":"linked://1"}]')
    async with asyncio.timeout(SOON):
        assert (await use(catalog, name)).startswith("good")


async def test_many_hung_groups_delay_as_one() -> None:
    bad = [Hung(f"bad{number}", RESOURCES, TEMPLATES) for number in range(50)]
    async with asyncio.timeout(SOON):
        assert await read(catalog_of(*bad, good()), "y://1") == "good y://1"


@pytest.mark.parametrize(("use", "name", "kind"), [(read, "x://2", RESOURCES), (get, "q", PROMPTS)])
async def test_an_entry_that_was_added_in_silence_is_found_beside_a_hung_group(
    use: Any, name: str, kind: Kind
) -> None:
    catalog = catalog_of(Hung("bad", kind), Silent("good", {kind: [name]}))
    async with asyncio.timeout(SOON):
        assert await use(catalog, name) == f"good {name}"


@pytest.mark.parametrize(
    ("use", "kind", "name"),
    [(read, RESOURCES, "x://late"), (read, TEMPLATES, "z://1"), (get, PROMPTS, "late")],
)
async def test_a_name_that_only_a_slow_group_has_is_waited_for(use: Any, kind: Kind, name: str) -> None:
    slow = Hung("slow", kind, prompts=["late"], uris=["x://late"], templates=["z://{id}"])
    asyncio.get_running_loop().call_later(20 * LISTS, slow.may_answer.set)
    catalog = catalog_of(good(), Hung("bad", kind), slow)
    async with asyncio.timeout(SOON):
        assert await use(catalog, name) == f"slow {name}"


@pytest.mark.parametrize(("use", "kind"), [(read, RESOURCES), (get, PROMPTS)])
async def test_a_name_that_no_group_has_is_refused_after_the_timeout(use: Any, kind: Kind) -> None:
    catalog = catalog_of(good(), Hung("bad", kind, timeout=10 * LISTS))
    async with asyncio.timeout(SOON):
        with pytest.raises(Refusal, match=r"not found|Unknown prompt"):
            await use(catalog, "none:x")


async def test_a_slow_group_that_comes_first_takes_its_place_once_it_lists() -> None:
    slow = Hung("slow", RESOURCES, uris=["x://1"])
    catalog = catalog_of(slow, good())
    assert await read(catalog, "x://1") == "good x://1"
    slow.may_answer.set()
    await slow.listing(RESOURCES)
    assert await read(catalog, "x://1") == "slow x://1"


class Mute(FakeUpstream):
    """An upstream whose requests run into their timeout once all of these groups have one."""

    def __init__(self, all_asked: asyncio.Barrier) -> None:
        super().__init__()
        self.all_asked = all_asked

    async def request(self, method: str, params: bytes, options: Options) -> bytes:
        await self.all_asked.wait()
        raise UpstreamTimeout("no answer")


async def test_a_listener_waits_for_all_hung_groups_at_once() -> None:
    bad = [Lister(f"bad{number}", uris=[f"bad://{number}"]) for number in range(5)]
    all_asked = asyncio.Barrier(len(bad))
    for group in bad:
        group._state.set_ready(Mute(all_asked))
    uris = [*(f"bad://{number}" for number in range(len(bad))), "x://1"]
    request = call("subscriptions/listen", notifications={"resourceSubscriptions": uris})
    sent: asyncio.Queue[bytes] = asyncio.Queue()
    request.incoming.send = sent.put_nowait
    subscriptions = Subscriptions(ClientSession(lambda line: None), catalog_of(*bad, good()), [])
    listening = asyncio.ensure_future(subscriptions.listen(request))
    async with asyncio.timeout(SOON):
        acknowledged = json.loads(await sent.get())
    listening.cancel()
    await asyncio.wait([listening])
    assert acknowledged["params"]["notifications"]["resourceSubscriptions"] == ["x://1"]
