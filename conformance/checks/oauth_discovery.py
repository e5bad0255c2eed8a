"""OAUTH: how the proxy finds the authorization server, and which metadata it must not use.

A proxy that never signs in would pass every check of a flow that must not start. So each of these checks has
a precondition in the same proxy: an upstream that differs in this one point becomes usable.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from conformance.checks import check
from conformance.checks.common import must_sign_in
from mock_servers.hostile.sign_ins import claims_its_host
from mock_servers.oauth_script import OAuth
from mock_servers.script import Http, Script

if TYPE_CHECKING:
    from conformance.workbench.protected import ProtectedMockUpstream
    from conformance.workbench.workbench import Workbench

WELL_KNOWN = "/.well-known/"
RESOURCE = f"{WELL_KNOWN}oauth-protected-resource"
SERVER = f"{WELL_KNOWN}oauth-authorization-server"
OPENID = f"{WELL_KNOWN}openid-configuration"
#: The path of endpoints that no other metadata name. So a request there shows that the proxy used the metadata of another issuer.
FOREIGN = "/foreign/"
_ENDPOINTS = {"authorization": "authorize", "token": "token", "registration": "register"}
_AT_FOREIGN_ENDPOINTS = {f"{name}_endpoint": f"$issuer{FOREIGN}{path}" for name, path in _ENDPOINTS.items()}
_OF_ANOTHER_ISSUER = {"issuer": "https://honest.example", **_AT_FOREIGN_ENDPOINTS}
_OF_ITS_ISSUER = {
    "issuer": "$issuer",
    **{f"{name}_endpoint": f"$issuer/{path}" for name, path in _ENDPOINTS.items()},
}


_METHODS = "code_challenge_methods_supported"


def documents(upstream: ProtectedMockUpstream, base: str) -> list[str]:
    """The paths of the metadata requests at the origin of this URL, each once, in order."""
    places = [urlsplit(place) for place in upstream.elsewhere]
    netloc = urlsplit(base).netloc
    asked = [place.path for place in places if place.netloc == netloc and WELL_KNOWN in place.path]
    return list(dict.fromkeys(asked))


@check("OAUTH-002", timeout=40, slow=True)
async def the_resource_metadata_of_the_challenge_is_used(workbench: Workbench) -> None:
    forms = {
        "alone": ['Bearer resource_metadata="$metadata"'],
        "among": ['Basic realm="a, b"', 'Bearer realm="m", resource_metadata="$metadata", x="y"', "Other z"],
    }
    await _must_use_the_named_metadata(workbench, forms)


@check("OAUTH-046", timeout=30)
async def a_resource_metadata_without_quotation_marks_is_read(workbench: Workbench) -> None:
    await _must_use_the_named_metadata(workbench, {"bare": ["Bearer resource_metadata=$metadata"]})


async def _must_use_the_named_metadata(workbench: Workbench, forms: dict[str, list[str]]) -> None:
    """Raise `Violation` unless the proxy signs in by the metadata that a challenge names, for each form of the challenge."""
    custom = ["/custom/prm.json"]
    upstreams = [
        await workbench.oauth(name, OAuth(own_origin=True, resource_metadata=custom, challenges=challenges))
        for name, challenges in forms.items()
    ]
    workbench.browser()
    async with workbench.proxy(*upstreams) as proxy:
        await proxy.handshake()
        for upstream in upstreams:
            with workbench.case(f"the parameter of {upstream.name}: {forms[upstream.name]}"):
                await must_sign_in(workbench, proxy, upstream)
    for upstream in upstreams:
        named, metadata = upstream.at(custom[0]), f"{upstream.issuer}{SERVER}"
        asked = upstream.elsewhere
        found = named in asked and metadata in asked and asked.index(named) < asked.index(metadata)
        with workbench.case(f"the parameter of {upstream.name}: {forms[upstream.name]}"):
            workbench.expect(found, f"a request for {named}, then one for {metadata}", asked)


@check("OAUTH-003", timeout=30)
async def resource_metadata_is_sought_with_the_path_then_at_the_root(workbench: Workbench) -> None:
    oauth = OAuth(own_origin=True, challenges=["Bearer"], resource_metadata=[RESOURCE])
    upstream = await workbench.oauth("a", oauth, Script(http=Http(path="/public/mcp")))
    workbench.browser()
    async with workbench.proxy(upstream) as proxy:
        await proxy.handshake()
        await must_sign_in(workbench, proxy, upstream)
    asked = [path for path in documents(upstream, upstream.url) if path.startswith(RESOURCE)]
    wanted = [f"{RESOURCE}/public/mcp", RESOURCE]
    # Other places between them break no rule.
    in_order = [path for path in asked if path in wanted] == wanted
    workbench.expect(in_order, f"{wanted} in this order", upstream.elsewhere)


@check("OAUTH-004", timeout=30)
async def without_resource_metadata_the_mcp_origin_is_asked(workbench: Workbench) -> None:
    upstream = await workbench.oauth("a", OAuth(resource_metadata=[]))
    workbench.browser()
    async with workbench.proxy(upstream) as proxy:
        await proxy.handshake()
        await must_sign_in(workbench, proxy, upstream)
    asked = documents(upstream, upstream.url)
    workbench.expect(SERVER in asked, f"a request for {SERVER}", upstream.elsewhere)
    workbench.expect(
        upstream.access_tokens[0] in upstream.bearers, "the access token arrives", upstream.bearers
    )


@check("OAUTH-005", timeout=40, slow=True)
async def server_metadata_is_tried_in_the_standard_order(workbench: Workbench) -> None:
    with_path = [f"{SERVER}/tenant", f"{OPENID}/tenant", f"/tenant{OPENID}"]
    without = [SERVER, OPENID]
    upstreams = [
        await workbench.oauth(
            "path", OAuth(own_origin=True, issuer_path="/tenant", server_metadata=with_path[-1:])
        ),
        await workbench.oauth("root", OAuth(own_origin=True, server_metadata=without[-1:])),
    ]
    workbench.browser()
    async with workbench.proxy(*upstreams) as proxy:
        await proxy.handshake()
        await must_sign_in(workbench, proxy, *upstreams)
    for upstream, wanted in zip(upstreams, (with_path, without), strict=True):
        asked = documents(upstream, upstream.issuer)
        # Other places between them break no rule.
        in_order = [path for path in asked if path in wanted] == wanted
        workbench.expect(in_order, f"{upstream.name}: {wanted} in this order", asked)


async def must_sign_in_to_the_good_one_only(
    workbench: Workbench, *bad: OAuth, half_bad: tuple[OAuth, ...] = ()
) -> None:
    """Raise `Violation` unless the upstream without a defect alone becomes usable.

    For the others the proxy opens no page and requests no token, and a call says that they failed. The proxy may sign in to a `half_bad`
    upstream, for example at the default endpoints of MCP 2025-03-26, but not at a place with `FOREIGN`.
    """
    good = await workbench.oauth("good")
    upstreams = [await workbench.oauth(f"bad{number}", oauth) for number, oauth in enumerate(bad, start=1)]
    others = [
        await workbench.oauth(f"half-bad{number}", oauth) for number, oauth in enumerate(half_bad, start=1)
    ]
    browser = workbench.browser()
    async with workbench.proxy(good, *upstreams, *others) as proxy:
        await proxy.handshake()
        with workbench.precondition("the upstream without a defect becomes usable"):
            await proxy.ready(good)
        for upstream in (*upstreams, *others):
            await proxy.wake(upstream.name)

        def must_do_nothing() -> None:
            for upstream in (*upstreams, *others):
                places = [*(page.url for page in browser.pages_of(upstream)), *upstream.elsewhere]
                used = [place for place in places if FOREIGN in place]
                workbench.expect(
                    not used, f"the proxy uses no endpoint that wrong metadata of {upstream.name} name", used
                )
            for upstream in upstreams:
                workbench.expect(
                    not browser.pages_of(upstream), f"no page for {upstream.name}", browser.openings
                )
                upstream.got_no_token_request()

        await workbench.holds_for(5.0, must_do_nothing)
        for upstream in upstreams:
            answer = await proxy.call(upstream.name, "echo", within=15.0)
            workbench.expect(
                answer.is_error and answer.text, f"a call to {upstream.name} says why it failed", answer.raw
            )
        for upstream in others:
            answer = await proxy.call(upstream.name, "echo", within=15.0)
            workbench.expect(
                answer.text, f"a call to {upstream.name} succeeds, or says why it failed", answer.raw
            )
        for upstream in (*upstreams, *others):
            workbench.expect(upstream.http, f"a request reaches {upstream.name}", upstream.http)
        must_do_nothing()


@check("OAUTH-006", timeout=40, slow=True)
async def metadata_of_another_issuer_is_not_used(workbench: Workbench) -> None:
    wrong = OAuth(registration=True, server_fields=_OF_ANOTHER_ISSUER)
    next_is_right = replace(wrong, server_metadata=[SERVER, OPENID], openid_fields=_OF_ITS_ISSUER)
    other_port, other_path = (
        replace(wrong, server_fields={**_OF_ANOTHER_ISSUER, "issuer": issuer})
        for issuer in ("http://127.0.0.1:9", "$issuer/tenant")
    )
    openid = replace(wrong, server_metadata=[OPENID])
    await must_sign_in_to_the_good_one_only(
        workbench, wrong, other_port, other_path, half_bad=(next_is_right, openid)
    )


@check("OAUTH-007", timeout=40, slow=True)
async def metadata_of_another_resource_stops_the_flow(workbench: Workbench) -> None:
    resources = ("https://evil.example/mcp", "$origin/other", "$origin/mc", "$mcp/more")
    await must_sign_in_to_the_good_one_only(
        workbench, *(OAuth(resource_fields={"resource": resource}) for resource in resources)
    )


@check("OAUTH-010", timeout=40, slow=True)
async def without_announced_s256_there_is_no_flow(workbench: Workbench) -> None:
    lists: tuple[list[str] | None, ...] = (None, [], ["plain"], ["plain", "S512"])
    bad = [OAuth(server_fields={_METHODS: methods}) for methods in lists]
    openid = OAuth(
        server_metadata=[OPENID],
        server_fields={**_OF_ITS_ISSUER, **_AT_FOREIGN_ENDPOINTS, _METHODS: None},
    )
    await must_sign_in_to_the_good_one_only(workbench, *bad, half_bad=(openid,))


@check("OAUTH-030", timeout=40, slow=True)
async def metadata_of_its_own_choice_name_the_server_exactly(workbench: Workbench) -> None:
    scripts = [
        claims_its_host(resource) for resource in ("$origin", "$origin/", "$origin/other", "$mcp/more")
    ]
    await must_sign_in_to_the_good_one_only(workbench, *(script.oauth for script in scripts if script.oauth))
