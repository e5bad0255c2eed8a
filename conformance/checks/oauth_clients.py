"""OAUTH, TOK, CFG: clients that were registered by hand, and machines without a person."""

from __future__ import annotations

import json
import re
import socket
from functools import partial
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from conformance.checks import check
from conformance.checks.common import must_answer_a_call, must_refuse_to_start, must_sign_in, sign_in, until
from conformance.checks.oauth_discovery import OPENID
from conformance.checks.oauth_flow import flow_of
from conformance.checks.revocations import let_tokens_be_revoked, rule_of_revocation
from conformance.checks.tok_refresh import SHORT
from conformance.workbench.leak_scan import leaked
from mock_servers.oauth_script import CLIENT, OAuth
from mock_servers.script import Script

if TYPE_CHECKING:
    from conformance.workbench.protected import ProtectedMockUpstream
    from conformance.workbench.workbench import Workbench

#: every character that an encoding can change
SECRET = "s3cret/+&=%: x-of-the-client"
VARIABLE = "CLIENT_SECRET_OF_THE_CHECK"
_ENVIRONMENT = {VARIABLE: SECRET}


async def _registered(
    workbench: Workbench,
    name: str,
    oauth: dict[str, Any],
    script: Script | None = None,
    **settings: Any,
) -> ProtectedMockUpstream:
    """An upstream whose authorization server knows one client; `settings` are those of the proxy."""
    fields = workbench.sut.profile.configured(**settings)
    upstream = await workbench.oauth(name, OAuth.from_dict(oauth), script, oauth_client_id=CLIENT)
    return upstream.variant(**fields)


def _wants(method: str, *, offers: list[str] | None) -> dict[str, Any]:
    """An authorization server whose client has the secret, and that announces these methods."""
    fields = {"token_endpoint_auth_methods_supported": offers}
    return {"client_auth": method, "client_secret": SECRET, "server_fields": fields}


@check("OAUTH-070", timeout=40, slow=True)
async def a_configured_secret_is_sent_as_the_server_says(workbench: Workbench) -> None:
    basic, post = "client_secret_basic", "client_secret_post"
    scripts = {
        "basic": _wants(basic, offers=[basic]),
        "post": _wants(post, offers=[post]),
        "silent": _wants(basic, offers=None),
    }
    upstreams = [
        await _registered(workbench, name, script, client_secret=f"${{{VARIABLE}}}")
        for name, script in scripts.items()
    ]
    workbench.browser()
    async with workbench.proxy(*upstreams, env=_ENVIRONMENT) as proxy:
        await proxy.handshake()
        for upstream in upstreams:
            with workbench.case(upstream.name):
                await must_sign_in(workbench, proxy, upstream)
    for upstream in upstreams:
        with workbench.case(upstream.name):
            flow_of(workbench, upstream)
            urls = [request.target for request in upstream.http]
            workbench.expect(not leaked("\n".join(urls), {"the secret": SECRET}), "no secret in a URL", urls)


@check("TOK-040", timeout=45, slow=True)
async def a_configured_secret_is_stored_nowhere(workbench: Workbench) -> None:
    script = {**_wants("client_secret_post", offers=["client_secret_post"]), "lifetimes": [SHORT, 3600]}
    upstream = await _registered(workbench, "a", script, client_secret=f"${{{VARIABLE}}}")
    workbench.browser()
    stderr = ""
    for number in range(2):
        async with workbench.proxy(upstream, env=_ENVIRONMENT) as proxy:
            await proxy.handshake()
            await must_sign_in(workbench, proxy, upstream)
        stderr += proxy.stderr
        if not number:
            await until(workbench, upstream.exchanges[-1].t + SHORT + 0.5)
    workbench.one(upstream.exchanges, "one sign-in")
    workbench.one(upstream.refreshes, "one refresh after the restart, with the configured secret")
    files = [path for path in workbench.sandbox.home.rglob("*") if path.is_file()]
    for path in workbench.some(files, "a file with the tokens"):
        found = leaked(path.read_text(errors="replace"), {"the secret": SECRET})
        workbench.expect(not found, "no file has the secret", found)
    workbench.expect(not leaked(stderr, {"the secret": SECRET}), "stderr does not have it", stderr)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


@check("OAUTH-071", timeout=40, slow=True)
async def a_registered_redirect_uri_is_used_exactly(workbench: Workbench) -> None:
    uris = [f"http://localhost:{_free_port()}/callback", f"http://127.0.0.1:{_free_port()}/a/b"]
    for number, uri in enumerate(uris):
        upstream = await _registered(workbench, f"a{number}", {"redirect_uris": [uri]}, redirect_uri=uri)
        browser = workbench.browser()
        with workbench.case(uri):
            await sign_in(workbench, upstream)
            page = workbench.one(browser.pages_of(upstream), "one page")
            workbench.expect(page.params.get("redirect_uri") == uri, f"redirect_uri={uri}", page)


@check("OAUTH-072", timeout=40, slow=True)
async def the_resource_can_be_left_out(workbench: Workbench) -> None:
    script = {"resource_refused": True, "lifetimes": [SHORT, 3600]}
    upstream = await _registered(workbench, "a", script, resource=False)
    workbench.browser()
    await sign_in(workbench, upstream)
    await until(workbench, upstream.exchanges[-1].t + SHORT + 0.5)
    await sign_in(workbench, upstream)
    flow_of(workbench, upstream)
    workbench.one(upstream.refreshes, "one refresh")
    for asked in workbench.some([*upstream.authorizations, *upstream.token_requests], "a request"):
        workbench.expect("resource" not in asked.params, "no parameter resource", asked)


@check("OAUTH-073", timeout=30)
async def more_parameters_reach_the_authorization_endpoint(workbench: Workbench) -> None:
    wanted = {"access_type": "offline", "audience": "a b&c"}
    upstream = await _registered(workbench, "a", {}, authorization_parameters=wanted)
    workbench.browser()
    await sign_in(workbench, upstream)
    authorized, _ = flow_of(workbench, upstream)
    for name, value in wanted.items():
        workbench.expect(authorized.params.get(name) == value, f"{name}={value}", authorized)


@check("OAUTH-074", timeout=30)
async def a_configured_issuer_replaces_the_discovery(workbench: Workbench) -> None:
    hidden = {
        "own_origin": True,
        "resource_metadata": [],
        "challenges": ["Bearer"],
        "server_metadata": [OPENID],
        "any_resource": True,
    }
    scouting = await _registered(workbench, "scout", hidden)
    # The issuer is known only once the authorization server listens.
    setting = workbench.sut.profile.configured(issuer=scouting.issuer)
    upstream = scouting.variant(**setting)
    names_its_own = await _registered(workbench, "own", {"any_token": True})
    browser = workbench.browser()
    await sign_in(workbench, upstream, names_its_own.variant(**setting))
    for resource in (upstream.url, names_its_own.url):
        asked = [one for one in scouting.authorizations if one.params.get("resource") == resource]
        workbench.one(asked, f"one sign-in for {resource} at the configured authorization server")
    workbench.expect(len(browser.openings) == 2, "one page for each server", browser.openings)
    workbench.expect(len(scouting.exchanges) == 2, "one exchange for each server", scouting.exchanges)
    names_its_own.got_no_token_request()


@check("OAUTH-075", timeout=30)
async def pkce_is_assumed_if_the_configuration_says_so(workbench: Workbench) -> None:
    silent = {"server_fields": {"code_challenge_methods_supported": None}}
    upstream = await _registered(workbench, "assumed", silent, assume_pkce=True)
    workbench.browser()
    await sign_in(workbench, upstream)
    authorized, exchanged = flow_of(workbench, upstream)
    workbench.expect(authorized.params.get("code_challenge_method") == "S256", "it uses S256", authorized)
    workbench.expect("code_verifier" in exchanged.params, "the exchange has the verifier", exchanged)


_MACHINE = {
    "client_auth": "client_secret_basic",
    "client_secret": SECRET,
    "client_credentials": True,
    "server_fields": {
        "token_endpoint_auth_methods_supported": ["client_secret_basic"],
        "authorization_endpoint": None,
        "code_challenge_methods_supported": None,
    },
}


@check("OAUTH-081", timeout=45, slow=True)
async def a_machine_signs_in_without_a_person(workbench: Workbench) -> None:
    script = {**_MACHINE, "lifetimes": [SHORT, 3600]}
    settings: dict[str, Any] = {"client_secret": f"${{{VARIABLE}}}", "grant": "client_credentials"}
    upstream = await _registered(workbench, "a", script, **settings)
    browser = workbench.browser()
    async with workbench.proxy(upstream, env=_ENVIRONMENT) as proxy:
        await proxy.handshake()
        await must_sign_in(workbench, proxy, upstream)
        await must_answer_a_call(workbench, proxy, upstream)
        await until(workbench, upstream.token_requests[0].t + SHORT + 0.5)
        await must_answer_a_call(workbench, proxy, upstream)
    browser.must_not_have_opened()
    asked = upstream.machine_requests
    workbench.expect(2 <= len(asked) <= 3, "a token, and another one after its end", asked)
    workbench.expect(asked == upstream.token_requests, "no other grant", upstream.token_requests)
    resource = [request.params.get("resource") for request in asked]
    workbench.expect({*resource} == {upstream.url}, "each request names the resource", resource)


@check("OAUTH-082", timeout=30, slow=True)
async def a_private_key_can_prove_the_client(workbench: Workbench) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    script = {
        "client_auth": "private_key_jwt",
        "client_key": public.decode(),
        "client_credentials": True,
        "server_fields": {
            "token_endpoint_auth_methods_supported": ["private_key_jwt"],
            "token_endpoint_auth_signing_alg_values_supported": ["ES256"],
        },
    }
    file = workbench.sandbox.home / "client.pem"
    file.write_bytes(private)
    file.chmod(0o600)
    revokes = Script(on=[rule_of_revocation()])
    settings: dict[str, Any] = {"private_key_jwt": {"file": str(file)}}
    machine = await _registered(workbench, "machine", script, revokes, grant="client_credentials", **settings)
    person = await _registered(workbench, "person", script, revokes, **settings)
    browser = workbench.browser()
    async with workbench.proxy(machine, person) as proxy:
        await proxy.handshake()
        await must_sign_in(workbench, proxy, machine, person)
        workbench.one(machine.machine_requests, "one request for a token")
        flow_of(workbench, person)
        for upstream in (machine, person):
            await let_tokens_be_revoked(proxy, upstream)
    workbench.expect(not browser.pages_of(machine), "no page for the machine", browser.openings)
    for upstream in (machine, person):
        with workbench.case(upstream.name):
            proofs = [asked.params.get("client_assertion") for asked in upstream.token_requests]
            workbench.expect(len({*proofs}) == len(proofs), "a new proof in each token request", proofs)


@check("CFG-060", timeout=60, slow=True)
async def mistakes_about_a_client_end_the_start(workbench: Workbench) -> None:
    upstream = await workbench.oauth("a", OAuth(), oauth_client_id=CLIENT)
    mistakes: dict[str, dict[str, Any]] = {
        "state": {"authorization_parameters": {"state": "fixed"}},
        "redirect_uri": {"redirect_uri": "https://elsewhere.example/callback"},
        "grant": {"grant": "client_credentials"},
    }

    async def ends_the_start(name: str, settings: dict[str, Any]) -> None:
        entry = {**upstream.entry, **workbench.sut.profile.configured(**settings)}
        config = workbench.config_text(json.dumps({"mcpServers": {"a": entry}}))
        await must_refuse_to_start(workbench, name, config, re.escape(name))

    await workbench.run_cases(*(partial(ends_the_start, *case) for case in mistakes.items()))
    workbench.expect(not upstream.http, "no request reaches the server", upstream.http)
