"""Where the authorization server is looked for, in which order, and what is not believed."""

from __future__ import annotations

import httpx
import pytest
import respx

from dynamic_mcp.errors import UpstreamFailed
from dynamic_mcp.oauth import request
from dynamic_mcp.oauth.challenge import Challenge
from dynamic_mcp.oauth.metadata import canonical, discover, secure
from dynamic_mcp.oauth.request import TransientFailure
from tests.dynamic_mcp.oauth.kit import (
    ISSUER,
    KEY,
    RESOURCE_METADATA,
    SERVER_METADATA,
    URL,
    publish,
    resource_metadata,
    server_metadata,
)

NO_CHALLENGE = Challenge()
DEEP = b'{"resource":' + b"[" * 100_000


async def test_the_address_in_the_challenge_comes_first(http: httpx.AsyncClient, asked: list[str]) -> None:
    publish()
    respx.get("https://mcp.test/custom.json").respond(json=resource_metadata(scopes_supported=["a"]))

    found = await discover(http, URL, Challenge("https://mcp.test/custom.json"))

    assert asked == ["https://mcp.test/custom.json", SERVER_METADATA]
    assert (found.resource, found.scopes_supported) == (URL, ["a"])
    assert found.server.token_endpoint == f"{ISSUER}/token"


async def test_well_known_addresses_are_asked_with_the_path_and_then_without(
    http: httpx.AsyncClient, asked: list[str]
) -> None:
    respx.get(RESOURCE_METADATA).respond(json=resource_metadata())
    respx.get(SERVER_METADATA).respond(json=server_metadata())

    await discover(http, f"{URL}?key={KEY}#here", Challenge("https://mcp.test/gone.json"))

    assert asked == [
        "https://mcp.test/gone.json",
        f"{RESOURCE_METADATA}/public/mcp",
        RESOURCE_METADATA,
        SERVER_METADATA,
    ]


@pytest.mark.parametrize("path", ["", "/"])
async def test_a_server_at_the_root_has_one_well_known_address(
    http: httpx.AsyncClient, asked: list[str], path: str
) -> None:
    respx.get(RESOURCE_METADATA).respond(json=resource_metadata(resource="https://mcp.test"))
    respx.get(SERVER_METADATA).respond(json=server_metadata())

    await discover(http, f"https://mcp.test{path}", NO_CHALLENGE)

    assert asked == [RESOURCE_METADATA, SERVER_METADATA]


@pytest.mark.parametrize(
    ("issuer", "addresses"),
    [
        (ISSUER, ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"]),
        (f"{ISSUER}/", ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"]),
        (
            f"{ISSUER}/t/1",
            [
                "/.well-known/oauth-authorization-server/t/1",
                "/.well-known/openid-configuration/t/1",
                "/t/1/.well-known/openid-configuration",
            ],
        ),
    ],
)
async def test_the_addresses_of_an_issuer(
    http: httpx.AsyncClient, asked: list[str], issuer: str, addresses: list[str]
) -> None:
    publish(resource_metadata(authorization_servers=[issuer, "https://second.test"]))
    for address in addresses[:-1]:
        respx.get(ISSUER + address).respond(404)
    respx.get(ISSUER + addresses[-1]).respond(json=server_metadata(issuer=issuer))

    found = await discover(http, URL, NO_CHALLENGE)

    assert asked[1:] == [ISSUER + address for address in addresses]
    assert found.server.issuer == issuer


async def test_without_any_metadata_of_the_server_that_is_the_end(http: httpx.AsyncClient) -> None:
    publish()
    respx.get(SERVER_METADATA).respond(404)

    with pytest.raises(UpstreamFailed, match="publishes no metadata"):
        await discover(http, URL, NO_CHALLENGE)


async def test_without_resource_metadata_the_origin_is_the_authorization_server(
    http: httpx.AsyncClient,
    asked: list[str],
) -> None:
    own = "https://mcp.test/.well-known/oauth-authorization-server"
    respx.get(own).respond(json=server_metadata(issuer="https://mcp.test"))

    found = await discover(http, URL, NO_CHALLENGE)

    assert asked[-1] == own
    assert (found.resource, found.scopes_supported) == (URL, None)


async def test_an_origin_that_says_nothing_has_the_default_endpoints(http: httpx.AsyncClient) -> None:
    server = (await discover(http, "https://user:canary@mcp.test/mcp", NO_CHALLENGE)).server

    assert [
        server.issuer,
        server.authorization_endpoint,
        server.token_endpoint,
        server.registration_endpoint,
    ] == [
        "https://mcp.test",
        "https://mcp.test/authorize",
        "https://mcp.test/token",
        "https://mcp.test/register",
    ]


@pytest.mark.parametrize(
    ("url", "resource"),
    [
        (URL, URL),
        (f"{URL}/", f"{URL}/"),
        (f"{URL}?key={KEY}#part", URL),
        (f"https://user:{KEY}@mcp.test/mcp", "https://mcp.test/mcp"),
    ],
)
def test_a_resource_is_named_without_what_may_be_secret(url: str, resource: str) -> None:
    assert canonical(url) == resource


@pytest.mark.parametrize(
    "resource",
    [
        URL,
        f"{URL}/",
        "https://mcp.test/public",
        "https://mcp.test/",
        "https://mcp.test",
        "HTTPS://MCP.test/public",
    ],
)
async def test_metadata_of_the_server_or_a_parent_path_is_believed(
    http: httpx.AsyncClient, resource: str
) -> None:
    publish(resource_metadata(resource=resource))

    assert (await discover(http, f"{URL}?key=1", NO_CHALLENGE)).resource == resource


@pytest.mark.parametrize(
    "resource",
    [
        "",
        "https://evil.test/public/mcp",
        "http://mcp.test/public/mcp",
        "https://mcp.test:8443/public/mcp",
        "https://mcp.test.evil.test/public/mcp",
        "https://mcp.test@evil.test/public/mcp",
        "https://mcp.test/pub",
        "https://mcp.test/public/mcp/more",
        "https://mcp.test/public/mcp?tenant=2",
        f"{URL}#part",
        "https://[",
    ],
)
async def test_metadata_of_another_resource_is_not(
    http: httpx.AsyncClient, asked: list[str], resource: str
) -> None:
    publish(resource_metadata(resource=resource))

    with pytest.raises(UpstreamFailed, match="about another resource"):
        await discover(http, URL, NO_CHALLENGE)
    assert SERVER_METADATA not in asked


async def test_metadata_without_an_authorization_server_is_of_no_use(http: httpx.AsyncClient) -> None:
    publish(resource_metadata(authorization_servers=[]))

    with pytest.raises(UpstreamFailed, match="names no authorization server"):
        await discover(http, URL, NO_CHALLENGE)


@pytest.mark.parametrize(
    "issuer", [f"{ISSUER}/", "https://AS.test", "https://as.test:443", "https://honest.test"]
)
async def test_an_issuer_is_compared_letter_by_letter(http: httpx.AsyncClient, issuer: str) -> None:
    publish(server=server_metadata(issuer=issuer))

    with pytest.raises(UpstreamFailed, match="names another issuer"):
        await discover(http, URL, NO_CHALLENGE)


@pytest.mark.parametrize("methods", [None, [], ["plain"], ["s256"]])
async def test_a_server_that_does_not_say_that_it_has_pkce_is_not_used(
    http: httpx.AsyncClient, methods: list[str] | None
) -> None:
    publish(server=server_metadata(code_challenge_methods_supported=methods))

    with pytest.raises(UpstreamFailed, match="PKCE with S256"):
        await discover(http, URL, NO_CHALLENGE)


@pytest.mark.parametrize(
    "url",
    [
        "http://as.test/x",
        "http://localhost.evil.test/x",
        "http://127.0.0.1.evil.test/x",
        "http://127.0.0.1@evil.test/x",
        "javascript:alert(1)",
        "file:///etc/passwd",
        "data:text/html,x",
        "-flag",
        "",
        "https://",
        "https:///x",
        "//as.test/x",
        "https://[::1",
        "https://as.test:port/x",
        "https://as.test:99999/x",
    ],
)
@pytest.mark.parametrize("member", ["authorization_endpoint", "token_endpoint", "registration_endpoint"])
async def test_an_endpoint_that_is_not_https_is_refused(
    http: httpx.AsyncClient, member: str, url: str
) -> None:
    publish(server=server_metadata(**{member: url}))

    with pytest.raises(UpstreamFailed, match=r"^the address of its .* endpoint is not https$"):
        await discover(http, URL, NO_CHALLENGE)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8080", "127.9.9.9", "[::1]:1"])
def test_http_is_enough_on_this_machine(host: str) -> None:
    assert secure(f"http://{host}/x", "endpoint") == f"http://{host}/x"


async def test_addresses_of_metadata_are_not_asked_without_https(
    http: httpx.AsyncClient, asked: list[str]
) -> None:
    with pytest.raises(UpstreamFailed, match="protected resource metadata is not https"):
        await discover(http, URL, Challenge("http://mcp.test/meta"))
    assert asked == []

    publish(resource_metadata(authorization_servers=["http://as.test"]))
    with pytest.raises(UpstreamFailed, match="authorization server is not https"):
        await discover(http, URL, NO_CHALLENGE)
    assert all(address.startswith("https://mcp.test/") for address in asked)


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"{}", b'{"resource":7}', b'{"resource":"\xff"}', DEEP]
)
async def test_a_document_that_cannot_be_read_is_none(
    http: httpx.AsyncClient, asked: list[str], body: bytes
) -> None:
    publish()
    respx.get(f"{RESOURCE_METADATA}/public/mcp").respond(content=body)
    respx.get(RESOURCE_METADATA).respond(json=resource_metadata())

    assert (await discover(http, URL, NO_CHALLENGE)).server.issuer == ISSUER
    assert RESOURCE_METADATA in asked


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_not_followed(http: httpx.AsyncClient, status: int) -> None:
    publish()
    elsewhere = respx.get("https://evil.test/").respond(json=server_metadata())
    respx.get(SERVER_METADATA).respond(status, headers={"Location": "https://evil.test/"})

    with pytest.raises(UpstreamFailed, match="publishes no metadata"):
        await discover(http, URL, NO_CHALLENGE)
    assert not elsewhere.called


@pytest.mark.parametrize("status", [408, 429, 500, 503])
async def test_a_server_that_is_in_trouble_ends_the_search_for_now(
    http: httpx.AsyncClient, asked: list[str], status: int
) -> None:
    respx.get(f"{RESOURCE_METADATA}/public/mcp").respond(status)

    with pytest.raises(TransientFailure, match=f"HTTP {status}"):
        await discover(http, URL, NO_CHALLENGE)
    assert len(asked) == 1


@pytest.mark.parametrize(
    "error",
    [
        httpx.ConnectError(KEY),
        httpx.ReadTimeout(KEY),
        httpx.RemoteProtocolError(KEY),
        httpx.DecodingError(KEY),
        UnicodeError(KEY),
    ],
)
async def test_a_failure_is_told_without_its_text(http: httpx.AsyncClient, error: Exception) -> None:
    publish()
    respx.get(SERVER_METADATA).mock(side_effect=error)

    with pytest.raises(TransientFailure, match=f"cannot be reached .{type(error).__name__}.$") as told:
        await discover(http, URL, NO_CHALLENGE)
    assert told.value.__suppress_context__


@pytest.mark.parametrize(
    "address", ["https://mcp.test/\x01", "https://\u2603.test/x", "https://" + "a" * 70 + ".test"]
)
async def test_an_address_that_cannot_be_asked_is_a_failure_of_the_server(address: str) -> None:
    """Without respx: it is httpx and the resolver that do not take these."""
    async with httpx.AsyncClient() as http:
        with pytest.raises(UpstreamFailed):
            await discover(http, URL, Challenge(address))


async def test_an_answer_without_end_is_not_read_to_its_end(http: httpx.AsyncClient) -> None:
    respx.get(f"{RESOURCE_METADATA}/public/mcp").respond(content=b" " * (request.MAX_ANSWER + 1))

    with pytest.raises(TransientFailure, match="larger than 1 MiB"):
        await discover(http, URL, NO_CHALLENGE)
