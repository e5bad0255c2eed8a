"""Discovery of the authorization server: the order of the addresses, and the checks of the metadata."""

from __future__ import annotations

import httpx
import pytest
import respx

from dynamic_mcp.config.model import OAuthSettings
from dynamic_mcp.errors import UpstreamFailed
from dynamic_mcp.oauth import metadata, request
from dynamic_mcp.oauth.challenge import Challenge
from dynamic_mcp.oauth.metadata import Discovered, NoSignIn, canonical, secure
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


async def discover(http: httpx.AsyncClient, url: str, challenge: Challenge) -> Discovered:
    return await metadata.discover(http, url, challenge, OAuthSettings())


async def test_address_in_the_challenge_comes_first(http: httpx.AsyncClient, requested: list[str]) -> None:
    publish()
    respx.get("https://mcp.test/custom.json").respond(json=resource_metadata(scopes_supported=["a"]))

    found = await discover(http, URL, Challenge("https://mcp.test/custom.json"))

    assert requested == ["https://mcp.test/custom.json", SERVER_METADATA]
    assert (found.resource, found.scopes_supported) == (URL, ["a"])
    assert found.server.token_endpoint == f"{ISSUER}/token"


async def test_well_known_address_with_the_path_comes_before_the_root(
    http: httpx.AsyncClient, requested: list[str]
) -> None:
    respx.get(RESOURCE_METADATA).respond(json=resource_metadata())
    respx.get(SERVER_METADATA).respond(json=server_metadata())

    await discover(http, f"{URL}?key={KEY}#here", Challenge("https://mcp.test/gone.json"))

    assert requested == [
        "https://mcp.test/gone.json",
        f"{RESOURCE_METADATA}/public/mcp",
        RESOURCE_METADATA,
        SERVER_METADATA,
    ]


@pytest.mark.parametrize("path", ["", "/"])
async def test_server_at_the_root_has_one_well_known_address(
    http: httpx.AsyncClient, requested: list[str], path: str
) -> None:
    respx.get(RESOURCE_METADATA).respond(json=resource_metadata(resource="https://mcp.test"))
    respx.get(SERVER_METADATA).respond(json=server_metadata())

    await discover(http, f"https://mcp.test{path}", NO_CHALLENGE)

    assert requested == [RESOURCE_METADATA, SERVER_METADATA]


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
async def test_metadata_addresses_of_an_issuer(
    http: httpx.AsyncClient, requested: list[str], issuer: str, addresses: list[str]
) -> None:
    publish(resource_metadata(authorization_servers=[issuer, "https://second.test"]))
    for address in addresses[:-1]:
        respx.get(ISSUER + address).respond(404)
    respx.get(ISSUER + addresses[-1]).respond(json=server_metadata(issuer=issuer))

    found = await discover(http, URL, NO_CHALLENGE)

    assert requested[1:] == [ISSUER + address for address in addresses]
    assert found.server.issuer == issuer


async def test_missing_server_metadata_is_an_error(http: httpx.AsyncClient) -> None:
    publish()
    respx.get(SERVER_METADATA).respond(404)

    with pytest.raises(UpstreamFailed, match="publishes no metadata"):
        await discover(http, URL, NO_CHALLENGE)


async def test_origin_is_the_authorization_server_without_resource_metadata(
    http: httpx.AsyncClient,
    requested: list[str],
) -> None:
    own = "https://mcp.test/.well-known/oauth-authorization-server"
    respx.get(own).respond(json=server_metadata(issuer="https://mcp.test"))

    found = await discover(http, URL, NO_CHALLENGE)

    assert requested[-1] == own
    assert (found.resource, found.scopes_supported) == (URL, None)


OPENID_OF_ORIGIN = "https://mcp.test/.well-known/openid-configuration"


async def test_origin_may_have_only_an_openid_configuration(http: httpx.AsyncClient) -> None:
    token = "https://mcp.test/t"
    respx.get(OPENID_OF_ORIGIN).respond(json=server_metadata(issuer="https://mcp.test", token_endpoint=token))

    found = await discover(http, URL, NO_CHALLENGE)

    assert (found.server.token_endpoint, found.published) == (token, True)


async def test_openid_configuration_of_an_origin_that_does_not_fit_is_no_way_to_sign_in(
    http: httpx.AsyncClient,
) -> None:
    """The host may be that of a service with a sign-in of its own, and the server may expect a key."""
    document = server_metadata(issuer="https://mcp.test", code_challenge_methods_supported=None)
    respx.get(OPENID_OF_ORIGIN).respond(json=document)

    with pytest.raises(NoSignIn, match="PKCE"):
        await discover(http, URL, NO_CHALLENGE)


@pytest.mark.parametrize("status", [200, 500])
async def test_other_answers_in_place_of_an_openid_configuration_do_not_matter(
    http: httpx.AsyncClient, status: int
) -> None:
    respx.get(OPENID_OF_ORIGIN).respond(status, html="<html>")

    found = await discover(http, URL, NO_CHALLENGE)

    assert (found.server.token_endpoint, found.published) == ("https://mcp.test/token", False)


async def test_origin_without_metadata_has_default_endpoints(http: httpx.AsyncClient) -> None:
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
def test_resource_identifier_contains_no_secrets(url: str, resource: str) -> None:
    assert canonical(url) == resource


PATH = "/public/mcp"


@pytest.mark.parametrize(
    ("path", "resource"),
    [
        (PATH, URL),
        (PATH, "HTTPS://MCP.test:443/public/mcp"),
        ("", URL),
        # The well-known address of the origin belongs to the origin.
        ("", "https://mcp.test"),
        ("", "https://mcp.test/"),
    ],
)
async def test_metadata_name_the_server_or_the_owner_of_their_address(
    http: httpx.AsyncClient, path: str, resource: str
) -> None:
    publish()
    respx.get(f"{RESOURCE_METADATA}{PATH}").respond(404)
    respx.get(f"{RESOURCE_METADATA}{path}").respond(json=resource_metadata(resource=resource))

    assert (await discover(http, f"{URL}?key=1", NO_CHALLENGE)).resource == resource


@pytest.mark.parametrize(("url", "resource"), [("", "/"), ("/", "")])
async def test_slash_of_an_origin_makes_no_other_resource(
    http: httpx.AsyncClient, url: str, resource: str
) -> None:
    publish()
    respx.get(RESOURCE_METADATA).respond(json=resource_metadata(resource=f"https://mcp.test{resource}"))

    assert (
        await discover(http, f"https://mcp.test{url}", NO_CHALLENGE)
    ).resource == f"https://mcp.test{resource}"


@pytest.mark.parametrize(
    "resource", ["https://mcp.test", "https://mcp.test/public", "https://mcp.test/other"]
)
async def test_server_does_not_speak_for_its_whole_host(http: httpx.AsyncClient, resource: str) -> None:
    """One host can have servers of several owners; a token for all of them is not for one of them."""
    publish()
    respx.get("https://mcp.test/public/mine.json").respond(json=resource_metadata(resource=resource))

    with pytest.raises(UpstreamFailed, match="about another resource") as raised:
        await discover(http, URL, Challenge("https://mcp.test/public/mine.json"))
    assert resource in str(raised.value)
    assert URL in str(raised.value)


@pytest.mark.parametrize(
    "resource",
    [
        "",
        "https://evil.test/public/mcp",
        "http://mcp.test/public/mcp",
        "https://mcp.test:8443/public/mcp",
        "https://mcp.test.evil.test/public/mcp",
        "https://mcp.test@evil.test/public/mcp",
        f"{URL}/",
        "https://mcp.test/public",
        "https://mcp.test",
        "https://mcp.test/pub",
        "https://mcp.test/public/mcp/more",
        "https://mcp.test/public/mcp?tenant=2",
        f"{URL}#part",
        "https://[",
    ],
)
async def test_metadata_of_another_resource_is_refused(
    http: httpx.AsyncClient, requested: list[str], resource: str
) -> None:
    publish(resource_metadata(resource=resource))

    with pytest.raises(UpstreamFailed, match="about another resource"):
        await discover(http, URL, NO_CHALLENGE)
    assert SERVER_METADATA not in requested


@pytest.mark.parametrize(
    ("resource", "is_remedy"),
    [
        (f"{URL}/", True),
        ("https://public.test/mcp", True),
        ("https://mcp.test/public", False),
        ("https://mcp.test", False),
        ("http://public.test/mcp", False),
        ("https://mcp.test@evil.test/mcp", False),
        ("https://public.test/mcp?tenant=2", False),
        ("", False),
    ],
)
async def test_address_of_another_resource_may_be_the_right_one(
    http: httpx.AsyncClient, resource: str, is_remedy: bool
) -> None:
    publish(resource_metadata(resource=resource))

    with pytest.raises(UpstreamFailed, match="about another resource") as raised:
        await discover(http, URL, NO_CHALLENGE)
    assert ("write it as its url in the configuration" in str(raised.value)) is is_remedy


@pytest.mark.parametrize("resource", [{}, {"resource": None}, {"resource": 7}])
async def test_metadata_without_a_resource_are_named(
    http: httpx.AsyncClient, requested: list[str], resource: dict[str, object]
) -> None:
    document = f"{RESOURCE_METADATA}/public/mcp"
    respx.get(document).respond(json={**resource, "authorization_servers": [ISSUER]})
    respx.get(SERVER_METADATA).respond(json=server_metadata())

    with pytest.raises(
        NoSignIn, match=rf"^its protected resource metadata at {document} .*'resource' .RFC 9728"
    ):
        await discover(http, URL, NO_CHALLENGE)
    assert SERVER_METADATA not in requested

    # Another document, and the metadata of the origin, still count.
    respx.get("https://mcp.test/.well-known/oauth-authorization-server").respond(
        json=server_metadata(issuer="https://mcp.test")
    )
    assert (await discover(http, URL, NO_CHALLENGE)).published
    respx.get(RESOURCE_METADATA).respond(json=resource_metadata())
    assert (await discover(http, URL, NO_CHALLENGE)).server.issuer == ISSUER


@pytest.mark.parametrize("member", ["issuer", "authorization_endpoint", "token_endpoint"])
async def test_member_that_server_metadata_lack_is_named(http: httpx.AsyncClient, member: str) -> None:
    publish(server=server_metadata(**{member: None}))

    with pytest.raises(UpstreamFailed, match=rf"metadata at {SERVER_METADATA} .* valid '{member}' .RFC 8414"):
        await discover(http, URL, NO_CHALLENGE)


async def test_metadata_without_an_authorization_server_is_an_error(http: httpx.AsyncClient) -> None:
    publish(resource_metadata(authorization_servers=[]))

    with pytest.raises(UpstreamFailed, match="names no authorization server"):
        await discover(http, URL, NO_CHALLENGE)


@pytest.mark.parametrize(
    "issuer", [f"{ISSUER}//", f"{ISSUER}/?", "https://AS.test", "https://as.test:443", "https://honest.test"]
)
async def test_issuer_must_match_exactly(http: httpx.AsyncClient, issuer: str) -> None:
    publish(server=server_metadata(issuer=issuer))

    with pytest.raises(UpstreamFailed, match="names another issuer"):
        await discover(http, URL, NO_CHALLENGE)


async def test_template_of_an_issuer_leads_to_the_setting(http: httpx.AsyncClient) -> None:
    """The common addresses of Entra ID have the literal text {tenantid} in place of a tenant."""
    publish(server=server_metadata(issuer=f"{ISSUER}/{{tenantid}}/v2.0"))

    with pytest.raises(UpstreamFailed) as raised:
        await discover(http, URL, NO_CHALLENGE)
    assert str(raised.value) == (
        f"its authorization server's metadata names another issuer, {ISSUER}/{{tenantid}}/v2.0, and not {ISSUER} "
        '(RFC 8414, section 3.3); write the first one, with the id of your tenant, as "issuer" in its oauth table'
    )


@pytest.mark.parametrize("methods", [None, [], ["plain"], ["s256"]])
async def test_server_without_pkce_support_is_refused(
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
async def test_plain_http_endpoint_is_refused(http: httpx.AsyncClient, member: str, url: str) -> None:
    publish(server=server_metadata(**{member: url}))

    with pytest.raises(UpstreamFailed, match=r"^the address of its .* endpoint is not https: "):
        await discover(http, URL, NO_CHALLENGE)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8080", "127.9.9.9", "[::1]:1"])
def test_plain_http_is_allowed_on_loopback(host: str) -> None:
    assert secure(f"http://{host}/x", "endpoint") == f"http://{host}/x"


async def test_plain_http_metadata_addresses_are_not_requested(
    http: httpx.AsyncClient, requested: list[str]
) -> None:
    await discover(http, URL, Challenge("http://mcp.test/meta"))
    publish(resource_metadata(authorization_servers=["http://as.test"]))
    with pytest.raises(UpstreamFailed, match="authorization server is not https"):
        await discover(http, URL, NO_CHALLENGE)
    assert all(address.startswith("https://mcp.test/") for address in requested)


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"{}", b'{"resource":7}', b'{"resource":"\xff"}', DEEP]
)
async def test_unreadable_document_counts_as_missing(
    http: httpx.AsyncClient, requested: list[str], body: bytes
) -> None:
    publish()
    respx.get(f"{RESOURCE_METADATA}/public/mcp").respond(content=body)
    respx.get(RESOURCE_METADATA).respond(json=resource_metadata())

    assert (await discover(http, URL, NO_CHALLENGE)).server.issuer == ISSUER
    assert RESOURCE_METADATA in requested


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_redirects_are_not_followed(http: httpx.AsyncClient, status: int) -> None:
    publish()
    elsewhere = respx.get("https://evil.test/").respond(json=server_metadata())
    respx.get(SERVER_METADATA).respond(status, headers={"Location": "https://evil.test/"})

    with pytest.raises(UpstreamFailed, match="publishes no metadata"):
        await discover(http, URL, NO_CHALLENGE)
    assert not elsewhere.called


@pytest.mark.parametrize("status", [408, 429, 500, 503])
async def test_default_endpoints_are_not_used_after_a_server_error(
    http: httpx.AsyncClient, requested: list[str], status: int
) -> None:
    respx.get(f"{RESOURCE_METADATA}/public/mcp").respond(status)

    with pytest.raises(TransientFailure, match=f"HTTP {status}"):
        await discover(http, URL, NO_CHALLENGE)
    assert requested[-1] == OPENID_OF_ORIGIN


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(502),
        httpx.Response(302, headers={"Location": "https://evil.test/x"}),
        httpx.Response(200, content=b"<html>"),
        httpx.ConnectError("x"),
    ],
)
async def test_next_address_is_asked_after_any_failure(
    http: httpx.AsyncClient, requested: list[str], answer: httpx.Response | Exception
) -> None:
    failing = [f"{RESOURCE_METADATA}/public/mcp", SERVER_METADATA]
    for address in failing:
        respx.get(address).mock(side_effect=[answer])
    respx.get(RESOURCE_METADATA).respond(json=resource_metadata(resource="https://mcp.test"))
    respx.get(f"{ISSUER}/.well-known/openid-configuration").respond(json=server_metadata())

    assert (await discover(http, URL, NO_CHALLENGE)).server.issuer == ISSUER
    assert not any(address.startswith("https://evil.test") for address in requested)


async def test_redirect_within_the_origin_is_followed(http: httpx.AsyncClient) -> None:
    publish()
    respx.get(SERVER_METADATA).respond(307, headers={"Location": "/elsewhere"})
    respx.get(f"{ISSUER}/elsewhere").respond(json=server_metadata())

    assert (await discover(http, URL, NO_CHALLENGE)).server.issuer == ISSUER


@pytest.mark.parametrize("status", [404, 503])
async def test_second_authorization_server_is_asked(http: httpx.AsyncClient, status: int) -> None:
    publish(resource_metadata(authorization_servers=["https://down.test", "http://plain.test", ISSUER]))
    respx.get(url__startswith="https://down.test").respond(status)

    assert (await discover(http, URL, NO_CHALLENGE)).server.issuer == ISSUER


#: metadata that cannot be used
UNFIT = [
    server_metadata(issuer="https://honest.test"),
    server_metadata(code_challenge_methods_supported=None),
    server_metadata(token_endpoint="http://as.test/token"),
]


@pytest.mark.parametrize("unfit", UNFIT)
async def test_next_address_is_asked_after_metadata_that_cannot_be_used(
    http: httpx.AsyncClient, unfit: dict[str, object]
) -> None:
    publish(server={**unfit, "authorization_endpoint": "https://as.test/wrong"})
    respx.get(f"{ISSUER}/.well-known/openid-configuration").respond(json=server_metadata())

    assert (await discover(http, URL, NO_CHALLENGE)).server.authorization_endpoint.endswith(
        "/authorize?tenant=1"
    )


@pytest.mark.parametrize("unfit", UNFIT)
async def test_next_authorization_server_is_asked_after_one_that_cannot_be_used(
    http: httpx.AsyncClient, requested: list[str], unfit: dict[str, object]
) -> None:
    first = "https://first.test"
    publish(resource_metadata(authorization_servers=[first, ISSUER]))
    wrong = unfit if unfit["issuer"] != ISSUER else {**unfit, "issuer": first}
    respx.get(url__startswith=first).respond(json=wrong)

    assert (await discover(http, URL, NO_CHALLENGE)).server.issuer == ISSUER
    assert len([address for address in requested if address.startswith(first)]) == 2


async def test_first_reason_is_named_if_no_metadata_can_be_used(http: httpx.AsyncClient) -> None:
    publish(resource_metadata(authorization_servers=[ISSUER, "https://second.test"]), UNFIT[0])
    respx.get(url__startswith="https://second.test").respond(json=UNFIT[1])

    with pytest.raises(UpstreamFailed, match=r"issuer, https://honest.test, and not https://as.test "):
        await discover(http, URL, NO_CHALLENGE)


@pytest.mark.parametrize(("named", "issuer"), [(f"{ISSUER}/", ISSUER), (ISSUER, f"{ISSUER}/")])
async def test_final_slash_of_an_issuer_without_a_path_does_not_matter(
    http: httpx.AsyncClient, named: str, issuer: str
) -> None:
    publish(resource_metadata(authorization_servers=[named]), server_metadata(issuer=issuer))

    assert (await discover(http, URL, NO_CHALLENGE)).server.issuer == issuer


async def test_final_slash_of_a_path_matters(http: httpx.AsyncClient) -> None:
    publish(resource_metadata(authorization_servers=[f"{ISSUER}/t"]))
    respx.get(f"{SERVER_METADATA}/t").respond(json=server_metadata(issuer=f"{ISSUER}/t/"))

    with pytest.raises(UpstreamFailed, match="names another issuer"):
        await discover(http, URL, NO_CHALLENGE)


@pytest.mark.parametrize(
    "named", ["/meta", "http://mcp.test/meta", "https://down.test/meta", "https://[", ""]
)
async def test_unusable_address_in_a_challenge_leads_to_the_well_known_one(
    http: httpx.AsyncClient, named: str
) -> None:
    publish()
    respx.get("https://down.test/meta").mock(side_effect=httpx.ConnectError("x"))

    assert (await discover(http, URL, Challenge(named))).published


async def test_relative_address_in_a_challenge_is_that_of_the_server(http: httpx.AsyncClient) -> None:
    publish()
    respx.get("https://mcp.test/meta").respond(json=resource_metadata(scopes_supported=["a"]))

    assert (await discover(http, URL, Challenge("/meta"))).scopes_supported == ["a"]


async def test_wrong_types_of_other_members_cost_only_themselves(http: httpx.AsyncClient) -> None:
    resource = resource_metadata(scopes_supported=None, authorization_servers=ISSUER, resource_name=5)
    odd = {"registration_endpoint": 5, "scopes_supported": ["a", None], "response_types_supported": None}
    publish({**resource, "scopes_supported": None}, {**server_metadata(), **odd})

    server = (await discover(http, URL, NO_CHALLENGE)).server
    assert (server.registration_endpoint, server.scopes_supported) == (None, ["a"])


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (httpx.ConnectError(KEY), "no connection came about"),
        (httpx.ConnectError("[Errno 111] x"), "Connection refused"),
        (httpx.ConnectError("[Errno -2] x"), "its name has no address"),
        (httpx.ReadTimeout(KEY), "it did not answer in time"),
        (
            httpx.RemoteProtocolError(KEY),
            "its answer is not valid HTTP, or the connection was lost before it",
        ),
        (httpx.DecodingError(KEY), "its answer cannot be decompressed"),
        (UnicodeError(KEY), "its address is not valid"),
    ],
)
async def test_failure_hides_the_text_of_the_library(
    http: httpx.AsyncClient, error: Exception, reason: str
) -> None:
    publish()
    respx.get(SERVER_METADATA).mock(side_effect=error)

    with pytest.raises(TransientFailure, match=f"gave no answer: {reason}$") as raised:
        await discover(http, URL, NO_CHALLENGE)
    assert raised.value.__suppress_context__


@pytest.mark.parametrize(
    "address", ["https://mcp.test/\x01", "https://\u2603.test/x", "https://" + "a" * 70 + ".test"]
)
async def test_unusable_address_is_a_failure_of_the_server(address: str) -> None:
    """Without respx, because httpx or the resolver refuses these addresses."""
    async with httpx.AsyncClient() as http:
        with pytest.raises(UpstreamFailed):
            await discover(http, URL, Challenge(address))


async def test_endless_answer_is_not_read_to_its_end(http: httpx.AsyncClient) -> None:
    respx.get(f"{RESOURCE_METADATA}/public/mcp").respond(content=b" " * (request.MAX_ANSWER + 1))

    with pytest.raises(TransientFailure, match="larger than 1 MiB"):
        await discover(http, URL, NO_CHALLENGE)
