"""A server leads the proxy to no address that is more inward than its own, however the address is written."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamic_mcp.errors import UpstreamFailed
from dynamic_mcp.oauth import reach as reach_module
from dynamic_mcp.oauth.reach import AddressLevel, NetworkReach, TooInward, level_of, literal
from dynamic_mcp.oauth.request import http_client, send_request

SERVER = "https://mcp.test/mcp"
PUBLIC, OTHER_PUBLIC = "93.184.216.34", "2606:2800:220:1::1"

LEVELS = {
    PUBLIC: AddressLevel.PUBLIC,
    OTHER_PUBLIC: AddressLevel.PUBLIC,
    "10.1.2.3": AddressLevel.PRIVATE,
    "172.16.0.1": AddressLevel.PRIVATE,
    "172.32.0.1": AddressLevel.PUBLIC,
    "192.168.0.1": AddressLevel.PRIVATE,
    "100.64.0.1": AddressLevel.PRIVATE,
    "100.128.0.1": AddressLevel.PUBLIC,
    "192.0.2.1": AddressLevel.PRIVATE,
    "198.18.0.1": AddressLevel.PRIVATE,
    "240.0.0.1": AddressLevel.PRIVATE,
    "fd00::1": AddressLevel.PRIVATE,
    "fec0::1": AddressLevel.PRIVATE,
    "2001:db8::1": AddressLevel.PRIVATE,
    "4000::1": AddressLevel.PRIVATE,
    "64:ff9b:1::a00:1": AddressLevel.PRIVATE,
    "169.254.169.254": AddressLevel.LINK_LOCAL,
    "fe80::1": AddressLevel.LINK_LOCAL,
    "fe80::1%eth0": AddressLevel.LINK_LOCAL,
    "127.0.0.1": AddressLevel.LOOPBACK,
    "127.255.255.254": AddressLevel.LOOPBACK,
    "0.0.0.0": AddressLevel.LOOPBACK,
    "0.1.2.3": AddressLevel.LOOPBACK,
    "::": AddressLevel.LOOPBACK,
    "::1": AddressLevel.LOOPBACK,
    "::1%lo": AddressLevel.LOOPBACK,
    "::ffff:127.0.0.1": AddressLevel.LOOPBACK,
    "::ffff:0.0.0.0": AddressLevel.LOOPBACK,
    "::ffff:10.0.0.1": AddressLevel.PRIVATE,
    f"::ffff:{PUBLIC}": AddressLevel.PUBLIC,
    "::127.0.0.1": AddressLevel.LOOPBACK,
    "::10.0.0.1": AddressLevel.PRIVATE,
    "64:ff9b::7f00:1": AddressLevel.LOOPBACK,
    "64:ff9b::a9fe:a9fe": AddressLevel.LINK_LOCAL,
    f"64:ff9b::{PUBLIC}": AddressLevel.PUBLIC,
    "2002:7f00:1::": AddressLevel.LOOPBACK,
    "2002:c0a8:1::1": AddressLevel.PRIVATE,
    "2002:5db8:d822::1": AddressLevel.PUBLIC,
    # Teredo: the server is 65.54.227.120, the client 127.0.0.1, inverted.
    "2001:0:4136:e378:8000:63bf:80ff:fffe": AddressLevel.LOOPBACK,
    "224.0.0.1": AddressLevel.NOWHERE,
    "ff02::1": AddressLevel.NOWHERE,
    "255.255.255.255": AddressLevel.NOWHERE,
    "::ffff:255.255.255.255": AddressLevel.NOWHERE,
}


@pytest.mark.parametrize(("address", "level"), LEVELS.items())
def test_level_of_an_address(address: str, level: AddressLevel) -> None:
    assert level_of(address) is level


@given(st.ip_addresses(v=4))
def test_each_spelling_in_ipv6_has_the_level_in_ipv4(address: object) -> None:
    level = level_of(str(address))
    assert level_of(f"::ffff:{address}") is level
    assert level_of(f"64:ff9b::{address}") is level


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.1.",
        "127.1",
        "127.0.1",
        "2130706433",
        "0x7f.1",
        "0X7F000001",
        "0177.0.0.1",
        "017700000001",
        "127%2e0%2e0%2e1",
        "\uff11\uff12\uff17.0.0.1",
        "127\u30020\u30020\u30021",
        "\u2460\u2461\u2466.0.0.1",
        "::1",
        "[::1]",
        "::1%25lo",
        "0:0:0:0:0:0:0:1",
        "::ffff:127.0.0.1",
        "::ffff:7f00:1",
        "localhost",
        "localhost.",
        "LOCALHOST",
        "a.localhost",
        "loc%61lhost",
        "0.0.0.0",
        "0",
    ],
)
def test_spellings_of_this_machine(host: str) -> None:
    address = literal(host)
    assert address is not None
    assert level_of(address) is AddressLevel.LOOPBACK


@pytest.mark.parametrize(
    "host", ["", "example.com", "127.0.0.1.example", "localhost.example", "dead", "256.1"]
)
def test_names_are_no_addresses(host: str) -> None:
    assert literal(host) is None or host == "256.1"


Names = dict[str, list[str]]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    """The addresses of names; a test may change them, as the owner of a name may."""
    known: Names = {"mcp.test": [PUBLIC]}

    async def resolve(host: str, port: int | None = None) -> list[str]:
        address = literal(host)
        if address is not None:
            return [address]
        name = host.lower().removesuffix(".")
        if name not in known:
            raise OSError("unknown")
        return known[name]

    monkeypatch.setattr(reach_module, "resolve", resolve)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return known


#: The address of the server, an address that it names, and whether the proxy goes there.
LEADS = [
    (PUBLIC, OTHER_PUBLIC, True),
    (PUBLIC, "10.0.0.5", False),
    (PUBLIC, "169.254.169.254", False),
    (PUBLIC, "127.0.0.1", False),
    (PUBLIC, "::ffff:127.0.0.1", False),
    (PUBLIC, "0.0.0.0", False),
    (PUBLIC, "224.0.0.1", False),
    ("10.0.0.5", PUBLIC, True),
    ("10.0.0.5", "192.168.0.1", True),
    ("10.0.0.5", "169.254.169.254", False),
    ("10.0.0.5", "127.0.0.1", False),
    ("0.0.0.0", "127.0.0.1", False),
    ("127.0.0.1", "127.0.0.1", True),
    ("127.0.0.1", "::1", True),
    ("127.0.0.1", "10.0.0.5", True),
    ("127.0.0.1", "224.0.0.1", False),
]


@pytest.mark.parametrize("by_name", [False, True])
@pytest.mark.parametrize(("own", "named", "goes"), LEADS)
async def test_server_leads_to_nothing_more_inward(
    names: Names, own: str, named: str, goes: bool, by_name: bool
) -> None:
    names["as.test"] = [named]
    host = f"[{own}]" if ":" in own else own
    reach = NetworkReach(f"http://{host}:80/mcp")
    if goes:
        assert await reach.addresses("as.test" if by_name else named, 443) == [named]
        return
    with pytest.raises(TooInward, match=r"^leads to "):
        await reach.addresses("as.test" if by_name else named, 443)
    with pytest.raises(TooInward):
        await reach.check(f"https://{'as.test' if by_name or ':' in named else named}/authorize")


@pytest.mark.parametrize("listed", ["login.corp.test", "LOGIN.corp.test."])
async def test_user_lets_a_server_lead_to_a_private_host(names: Names, listed: str) -> None:
    names |= {
        "login.corp.test": ["10.0.0.5"],
        "other.corp.test": ["10.0.0.5"],
        "local.corp.test": ["127.0.0.1"],
    }
    reach = NetworkReach(SERVER, (listed, "local.corp.test"))

    assert await reach.addresses("login.corp.test", 443) == ["10.0.0.5"]
    with pytest.raises(TooInward, match=r'"oauth_private_hosts": \["other.corp.test"\]'):
        await reach.addresses("other.corp.test", 443)
    with pytest.raises(TooInward, match="this machine"):
        await reach.addresses("local.corp.test", 443)


async def test_only_judged_addresses_of_a_name_are_used(names: Names) -> None:
    names["as.test"] = ["127.0.0.1", OTHER_PUBLIC, "10.0.0.5"]
    assert await NetworkReach(SERVER).addresses("as.test", 443) == [OTHER_PUBLIC]


async def test_name_of_the_server_does_not_become_one_of_this_machine(names: Names) -> None:
    reach = NetworkReach(SERVER)
    assert reach.of_server([PUBLIC]) == [PUBLIC]
    # Companies give one name a public and a private address.
    assert reach.of_server([PUBLIC, "10.0.0.5"]) == [PUBLIC, "10.0.0.5"]
    names["mcp.test"] = ["127.0.0.1"]

    for host in ("mcp.test", "MCP.test."):
        with pytest.raises(TooInward):
            await reach.addresses(host, 443)
    with pytest.raises(TooInward):
        reach.of_server(["127.0.0.1"])
    # The change of the name brings the server no nearer either.
    with pytest.raises(TooInward):
        await reach.addresses("127.0.0.1", 443)


async def test_server_that_cannot_be_looked_up_counts_as_public(names: Names) -> None:
    names.clear()
    with pytest.raises(TooInward):
        await NetworkReach(SERVER).addresses("10.0.0.5", 443)


async def test_http_proxy_resolves_names_and_addresses_are_judged(
    names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    names.clear()
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    reach = NetworkReach(SERVER)
    for host in ("127.1", "2130706433", "localhost", "10.0.0.5"):
        with pytest.raises(TooInward):
            await reach.check(f"https://{host}/")
        async with http_client(reach) as http:
            with pytest.raises(UpstreamFailed, match=r"^it .*leads to"):
                await send_request(http, "it", "GET", f"https://{host}/")
    await reach.check("https://as.test/")


# The connections

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], object]


@pytest.fixture
async def service() -> AsyncIterator[tuple[int, list[bytes]]]:
    """A service of this machine: its port, and the requests that reached it."""
    requests: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            requests.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1], requests
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.1", "2130706433", "0x7f.1", "LOCALHOST", "as.test", "u:p@127.0.0.1"]
)
async def test_nothing_reaches_a_service_of_this_machine(
    names: Names, service: tuple[int, list[bytes]], host: str
) -> None:
    port, requests = service
    names["as.test"] = ["127.0.0.1"]
    async with http_client(NetworkReach(SERVER)) as http:
        with pytest.raises(UpstreamFailed, match=r"^its token endpoint .*leads to this machine"):
            await send_request(http, "its token endpoint", "POST", f"http://{host}:{port}/", form={"a": "b"})
    assert requests == []

    async with http_client(NetworkReach("http://localhost/mcp")) as http:
        assert await send_request(http, "it", "GET", f"http://{host}:{port}/") == (200, b"{}")
    assert len(requests) == 1


async def test_connection_goes_to_the_judged_address_under_the_name(
    names: Names, service: tuple[int, list[bytes]]
) -> None:
    port, requests = service
    # Nothing listens at the first address.
    names["as.test"] = ["127.0.0.2", "127.0.0.1"]
    async with http_client(NetworkReach("http://127.0.0.1/mcp")) as http:
        assert (await send_request(http, "it", "GET", f"http://as.test:{port}/x"))[0] == 200

    assert b"GET /x HTTP/1.1" in requests[0]
    assert f"Host: as.test:{port}".encode() in requests[0]


@pytest.mark.parametrize(
    "url", ["https://[::1%25lo]/", "https://\uff11\uff12\uff17.0.0.1/", "https://127%2e0%2e0%2e1/"]
)
async def test_odd_spellings_reach_nothing(names: Names, url: str) -> None:
    async with http_client(NetworkReach(SERVER)) as http:
        with pytest.raises(UpstreamFailed):
            await send_request(http, "it", "GET", url)


def test_client_of_a_sign_in_follows_no_redirect() -> None:
    client = http_client(NetworkReach(SERVER))
    assert isinstance(client, httpx.AsyncClient)
    assert not client.follow_redirects
