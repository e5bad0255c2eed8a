"""OAUTH: metadata that are not by the book, and addresses that give none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from conformance.checks import check
from conformance.checks.common import must_be_callable, must_sign_in
from conformance.checks.http_modern import lacks_headers
from conformance.checks.oauth_discovery import OPENID, RESOURCE, SERVER, must_sign_in_to_the_good_one_only
from mock_servers.oauth_script import Fault, OAuth
from mock_servers.script import Rule, Script

if TYPE_CHECKING:
    from conformance.workbench.workbench import Workbench

#: nothing listens at the discard port of an ordinary machine
_NOTHING = "http://127.0.0.1:9"


async def _must_all_sign_in(workbench: Workbench, scripts: dict[str, OAuth]) -> None:
    """Raise `Violation` unless each upstream becomes usable with one sign-in."""
    upstreams = [await workbench.oauth(name, oauth) for name, oauth in scripts.items()]
    workbench.browser()
    async with workbench.proxy(*upstreams) as proxy:
        await proxy.handshake()
        for upstream in upstreams:
            with workbench.case(upstream.name):
                await must_sign_in(workbench, proxy, upstream)
                workbench.one(upstream.exchanges, "one sign-in")


@check("OAUTH-040", timeout=40, slow=True)
async def a_final_slash_of_a_bare_issuer_does_not_matter(workbench: Workbench) -> None:
    await _must_all_sign_in(
        workbench,
        {
            "published": OAuth(server_fields={"issuer": "$issuer/"}),
            "named": OAuth(resource_fields={"authorization_servers": ["$issuer/"]}),
            "origin": OAuth(resource_metadata=[], server_fields={"issuer": "$issuer/"}),
        },
    )


@check("OAUTH-041", timeout=40, slow=True)
async def any_other_difference_of_issuers_stays_an_error(workbench: Workbench) -> None:
    tenant = {"own_origin": True, "issuer_path": "/tenant"}
    await must_sign_in_to_the_good_one_only(
        workbench, OAuth.from_dict({**tenant, "server_fields": {"issuer": "$issuer/"}})
    )


@check("OAUTH-042", timeout=40, slow=True)
async def the_next_address_is_asked(workbench: Workbench) -> None:
    """The first request for each document fails, so that only the request to the next address can succeed."""
    failures: dict[str, dict[str, Any]] = {
        "gateway": {"status": 502},
        "unavailable": {"status": 503},
        "cut": {"cut": True},
        "nonsense": {"status": 200, "body": {"hello": "world"}},
        "moved": {"status": 302, "headers": {"Location": "/nowhere"}},
    }
    await _must_all_sign_in(
        workbench,
        {
            name: OAuth(
                own_origin=True,
                challenges=["Bearer"],
                resource_metadata=[f"{RESOURCE}$path", RESOURCE],
                server_metadata=[SERVER, OPENID],
                faults=[
                    Fault(at="resource_metadata", times=1, **failure),
                    Fault(at="server_metadata", times=1, **failure),
                ],
            )
            for name, failure in failures.items()
        },
    )


@check("OAUTH-043", timeout=40, slow=True)
async def another_authorization_server_or_address_replaces_an_unusable_one(workbench: Workbench) -> None:
    await _must_all_sign_in(
        workbench,
        {
            "down": OAuth(resource_fields={"authorization_servers": [_NOTHING, "$issuer"]}),
            "relative": OAuth(challenges=[f'Bearer resource_metadata="{RESOURCE}/mcp"']),
            "unreachable": OAuth(challenges=[f'Bearer resource_metadata="{_NOTHING}/metadata"']),
            "internal": OAuth(challenges=['Bearer resource_metadata="http://metadata.internal/oauth"']),
        },
    )


@check("OAUTH-044", timeout=40, slow=True)
async def members_that_are_not_needed_can_have_any_type(workbench: Workbench) -> None:
    odd = {"scopes_supported": [None], "service_documentation": 5, "registration_endpoint": []}
    await _must_all_sign_in(
        workbench,
        {
            "server": OAuth(server_fields=odd),
            "resource": OAuth(resource_fields={"scopes_supported": {}, "resource_name": [None]}),
        },
    )


@check("OAUTH-090", timeout=30)
async def a_demand_for_a_sign_in_says_nothing_about_the_era(workbench: Workbench) -> None:
    script = Script(era="modern", on=[Rule("initialize", [lacks_headers()])])
    upstream = await workbench.oauth("a", OAuth(), script)
    workbench.browser()
    async with workbench.proxy(upstream) as proxy:
        await proxy.handshake()
        await must_sign_in(workbench, proxy, upstream)
        await must_be_callable(workbench, proxy, upstream)
    workbench.one(upstream.exchanges, "one sign-in")
    refused = [request for request in upstream.http if request.rpc == "initialize"]
    workbench.expect(not refused, "no initialize arrives", refused)
