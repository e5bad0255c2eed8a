"""TOK: token endpoints whose answers and demands are not by the book."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.checks import check
from conformance.checks.common import must_answer_a_call, must_sign_in, sign_in, until
from conformance.checks.tok_refresh import REFRESH, SHORT, refusals_must_lead_to_sign_ins
from mock_servers.oauth_script import Fault, OAuth

if TYPE_CHECKING:
    from conformance.workbench.workbench import Workbench


@check("TOK-030", timeout=60, slow=True)
async def a_refused_refresh_in_other_words_leads_to_one_sign_in(workbench: Workbench) -> None:
    refusals = {
        "ok": Fault("token", grant=REFRESH, status=200, body={"error": "bad_refresh_token"}),
        "forbidden": Fault("token", grant=REFRESH, status=403, body={"error": "access_denied"}),
        "own": Fault("token", grant=REFRESH, status=400, body={"error": "token_inactive"}),
    }
    upstreams = [
        await workbench.oauth(name, OAuth(lifetimes=[SHORT, 3600], faults=[fault]))
        for name, fault in refusals.items()
    ]
    await refusals_must_lead_to_sign_ins(workbench, *upstreams)


@check("TOK-031", timeout=40, slow=True)
async def token_answers_that_are_not_by_the_book_are_understood(workbench: Workbench) -> None:
    """A list of scopes in a form would be no known answer, so each case has one oddity."""
    odd = {
        "created": OAuth(token_status=201),
        "list": OAuth(token_fields={"scope": ["a", "b"]}),
        "empty": OAuth(token_fields={"expires_in": ""}),
        "zero": OAuth(token_fields={"expires_in": 0}),
        "text": OAuth(token_fields={"expires_in": "3600"}),
        "untyped": OAuth(token_fields={"token_type": None}),
        "mark": OAuth(token_form="json with a byte order mark"),  # no secret
        "form": OAuth(token_form="form"),  # no secret
    }
    upstreams = [await workbench.oauth(name, oauth) for name, oauth in odd.items()]
    workbench.browser()
    async with workbench.proxy(*upstreams) as proxy:
        await proxy.handshake()
        for upstream in upstreams:
            with workbench.case(upstream.name):
                await must_sign_in(workbench, proxy, upstream)
                await must_answer_a_call(workbench, proxy, upstream)
    for upstream in upstreams:
        with workbench.case(upstream.name):
            workbench.expect(len(upstream.token_requests) == 1, "one token request", upstream.token_requests)
            token = upstream.access_tokens[0]
            workbench.expect(upstream.bearers[-1] == token, "calls carry its token", upstream.bearers)


@check("TOK-032", timeout=40, slow=True)
async def basic_works_with_and_without_the_client_id_in_the_form(workbench: Workbench) -> None:
    shared = {"registration": True, "registered_auth": "client_secret_basic"}
    alone = await workbench.oauth(
        "alone",
        OAuth.from_dict({**shared, "basic_alone": True, "lifetimes": [SHORT, 3600]}),
        oauth_client_id=None,
    )
    usual = await workbench.oauth("usual", OAuth.from_dict(shared), oauth_client_id=None)
    workbench.browser()
    async with workbench.proxy(usual) as proxy:
        await proxy.handshake()
        with workbench.precondition("the proxy registers, and takes the secret"):
            await proxy.ready(usual)
    await sign_in(workbench, alone)
    await until(workbench, alone.exchanges[-1].t + SHORT + 0.5)
    browser = workbench.browser()
    await sign_in(workbench, alone)
    browser.must_not_have_opened()
    workbench.one(alone.refreshes, "one refresh request, in the form that the server takes")
    workbench.expect(len(alone.exchanges) <= 2, "at most two exchanges", alone.exchanges)
