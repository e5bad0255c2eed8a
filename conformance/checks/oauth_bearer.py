"""OAUTH: the use of the access token, and what follows when it no longer suffices."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from conformance.checks import check
from conformance.checks.asides import provoke_asides, rules_of_asides
from conformance.checks.common import must_answer_a_call, must_sign_in
from conformance.checks.revocations import let_tokens_be_revoked, rule_of_revocation
from conformance.errors import Untestable
from mock_servers.hostile.sign_ins import is_never_satisfied, refuses_every_token, wants_more_each_time
from mock_servers.oauth_script import OAuth
from mock_servers.remote_actions import revoke_tokens
from mock_servers.script import Http, Script, on_call

if TYPE_CHECKING:
    from conformance.workbench.browsers import Opening
    from conformance.workbench.protected import ProtectedMockUpstream
    from conformance.workbench.workbench import Workbench
    from mock_servers.journal_views import HttpRequest


@check("OAUTH-024", timeout=40)
async def every_request_carries_the_bearer_once(workbench: Workbench) -> None:
    plain = await workbench.oauth("a")
    rules = [*rules_of_asides(), rule_of_revocation()]
    in_sessions = await workbench.oauth("b", script=Script(http=Http(sessions=True), on=rules))
    workbench.browser()
    async with workbench.proxy(plain, in_sessions) as proxy:
        await proxy.handshake()
        await must_sign_in(workbench, proxy, plain)
        await must_answer_a_call(workbench, proxy, plain)
        # Only a session ends with DELETE. Whether sessions work is another requirement (HTTP-007).
        with suppress(Untestable):
            await proxy.ready(in_sessions)
            await provoke_asides(workbench, proxy, in_sessions)
            await let_tokens_be_revoked(proxy, in_sessions)
            await provoke_asides(workbench, proxy, in_sessions)
    _must_have_the_bearer_alone(workbench, plain)
    if in_sessions.exchanges:
        _must_have_the_bearer_alone(workbench, in_sessions)


@check("OAUTH-036", timeout=30)
async def the_access_token_replaces_a_configured_header(workbench: Workbench) -> None:
    names = {"lower": "authorization", "upper": "AUTHORIZATION"}
    upstreams = [await workbench.oauth(case, headers={name: "Basic x"}) for case, name in names.items()]
    workbench.browser()
    async with workbench.proxy(*upstreams) as proxy:
        await proxy.handshake()
        for upstream in upstreams:
            with workbench.case(names[upstream.name]):
                await must_sign_in(workbench, proxy, upstream)
                await must_answer_a_call(workbench, proxy, upstream)
    for upstream in upstreams:
        with workbench.case(names[upstream.name]):
            _must_have_the_bearer_alone(workbench, upstream)


def _must_have_the_bearer_alone(workbench: Workbench, upstream: ProtectedMockUpstream) -> None:
    """Raise `Violation` unless each message after the sign-in has one Authorization header, with the access token.

    After a message with a newer token, no message has an older one. The tokens are in no URL.
    """
    tokens, signed_in = upstream.access_tokens, upstream.exchanges[0].t
    # A GET without a stream, or a HEAD, looks at the page of the server and is no message to it.
    messages = (one for one in upstream.mcp if one.opens_stream or one.method in ("POST", "DELETE"))
    later = [request for request in messages if request.t > signed_in]
    for request in workbench.some(later, "a message after the sign-in"):
        allowed = [f"Bearer {token}" for token in tokens]
        sent = request.header("Authorization") or ""
        workbench.expect(sent in allowed, f"{' or '.join(allowed)}, once", request)
        tokens = tokens[allowed.index(sent) :]
    for request in upstream.http:
        found = [token for token in upstream.access_tokens if token in request.target]
        workbench.expect(not found, "no token in a URL", request)


@check("OAUTH-025", timeout=60, slow=True)
async def a_later_401_is_handled_once(workbench: Workbench) -> None:
    once = await workbench.oauth("once", script=Script(on=[on_call("add", revoke_tokens())]))
    forever = await workbench.oauth(
        "forever", script=Script(on=[on_call("add", revoke_tokens(all_later=True))])
    )
    browser = workbench.browser()
    async with workbench.proxy(once, forever) as proxy:
        await proxy.handshake()
        with workbench.precondition("the sign-in works"):
            await proxy.ready(once, forever)
        for upstream in (once, forever):
            revokes = await proxy.call(upstream.name, "add", {"a": 1, "b": 2})
            with workbench.precondition("the call that makes the upstream revoke its tokens"):
                workbench.expect(not revokes.is_error, "it succeeds", revokes.raw)
        with workbench.case("after a revocation"):
            await must_answer_a_call(workbench, proxy, once)
        renewed = [*once.refreshes, *once.exchanges[1:]]
        workbench.expect(len(renewed) == 1, "one refresh or one new sign-in", once.token_requests)

        posts, pages = len(_calls(forever)), len(browser.pages_of(forever))
        result = await proxy.call("forever", "echo", {"x": 1}, within=20.0)
        workbench.expect(result.is_error, "a call that is always refused is an error", result.raw)
        sent = _calls(forever)[posts:]
        workbench.expect(1 <= len(sent) <= 4, "at most 4 requests for the call", sent)
        opened = browser.pages_of(forever)[pages:]
        workbench.expect(len(opened) <= 1, "at most one page for the call", opened)


def _calls(upstream: ProtectedMockUpstream) -> list[HttpRequest]:
    return [request for request in upstream.mcp if request.rpc == "tools/call"]


@check("OAUTH-026", timeout=60, slow=True)
async def insufficient_scope_leads_to_one_step_up(workbench: Workbench) -> None:
    enough = await workbench.oauth("enough", OAuth(tool_scopes={"echo": "b"}), oauth_scopes=["a"])
    # The first scope of this server is in its metadata, not in the configuration.
    listed = {"scopes_supported": ["a"]}
    never = await workbench.oauth(
        "never", OAuth(tool_scopes={"echo": "b"}, never_enough=True, resource_fields=listed)
    )
    browser = workbench.browser()
    async with workbench.proxy(enough, never) as proxy:
        await proxy.handshake()
        with workbench.precondition("the sign-in works"):
            await proxy.ready(enough, never)
        with workbench.case("after a step-up"):
            await must_answer_a_call(workbench, proxy, enough)
        pages = browser.pages_of(enough)
        workbench.expect(len(pages) == 2, "one more sign-in", pages)
        _must_ask_for_the_union(workbench, *pages)
        result = await proxy.call("never", "echo", {"x": 1}, within=25.0)
        workbench.expect(result.is_error, "a call that is always refused is an error", result.raw)
        workbench.expect(len(_calls(never)) <= 3, "at most 3 attempts", _calls(never))
        pages = browser.pages_of(never)
        workbench.expect(2 <= len(pages) <= 4, "one to three more sign-ins", pages)
        with workbench.case("no configured scopes"):
            _must_ask_for_the_union(workbench, *pages[:2])


def _must_ask_for_the_union(workbench: Workbench, first: Opening, second: Opening) -> None:
    """Raise `Violation` unless the second sign-in asks for the scopes of the first one, and for `b`."""
    before, after = (set(page.params.get("scope", "").split()) for page in (first, second))
    union = before | {"b"}
    workbench.expect(union <= after, f"the second sign-in asks for {sorted(union)}", second)


@check("OAUTH-032", timeout=60, slow=True)
async def a_server_opens_few_pages(workbench: Workbench) -> None:
    scripts = {
        "same": is_never_satisfied(),
        "other": wants_more_each_time(),
        "none": refuses_every_token(),
    }
    calls, most = 7, {"same": 2, "other": 5, "none": 5}
    upstreams = [await workbench.oauth(name, script=script) for name, script in scripts.items()]
    browser = workbench.browser()
    async with workbench.proxy(*upstreams) as proxy:
        await proxy.handshake()
        with workbench.precondition("the sign-in works"):
            await proxy.ready(*upstreams)
            # The attack of this server begins with its first call.
            await proxy.call("none", "attack")

        async def annoys(upstream: ProtectedMockUpstream) -> None:
            before = len(browser.pages_of(upstream))
            for _ in range(calls):
                answer = await proxy.call(upstream.name, "attack", within=20.0)
                told = answer.is_error and answer.text
                workbench.expect(told, f"a call to {upstream.name} says why it failed", answer.raw)
            opened = browser.pages_of(upstream)[before:]
            limit = most[upstream.name]
            workbench.expect(
                len(opened) <= limit, f"at most {limit} pages for {calls} calls to {upstream.name}", opened
            )

        await workbench.run_cases(*(partial(annoys, upstream) for upstream in upstreams))
        for upstream in upstreams:
            workbench.expect(_calls(upstream), f"a call reaches {upstream.name}", upstream.http)
