"""FRONT: how the client learns where its user signs in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio

from conformance.checks import check
from conformance.checks.common import must_be_usable, must_sign_in
from conformance.checks.oauth_waiting import page_of
from conformance.errors import NotApplicable
from conformance.workbench.transcript import part
from mock_servers.browser import User

if TYPE_CHECKING:
    from conformance.workbench.browsers import Browser, Opening
    from conformance.workbench.protected import ProtectedMockUpstream
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.workbench import Workbench

ELICIT = "elicitation/create"
#: MCP 2025-11-25, client/elicitation: the error that asks for elicitations instead of a request
URL_ELICITATION_REQUIRED = -32042
SHOWS_PAGES: dict[str, Any] = {"elicitation": {"url": {}}}


@check("FRONT-150", timeout=40, slow=True)
async def the_answer_says_where_to_sign_in(workbench: Workbench) -> None:
    upstream, browser = await workbench.oauth("a"), workbench.browser(works=False)
    async with workbench.proxy(upstream) as proxy:
        await proxy.handshake()
        answers: list[str] = []
        with anyio.move_on_after(10.0):
            while not answers or page_of(upstream, answers[-1]) is None:
                answers.append((await proxy.tools_of("a")).text)
                await anyio.sleep(0.2)
        last = answers[-1] if answers else ""
        page = page_of(upstream, last)
        workbench.expect(page, "the address of the page in the answer for the group", last)
        called = await proxy.call("a", "echo")
        workbench.expect(page_of(upstream, called.text), "the address in the error of a call", called.raw)
        browser.open(page or "")
        await must_sign_in(workbench, proxy, upstream)
        await must_be_usable(workbench, proxy, upstream, what="a call succeeds after the sign-in")
        secrets = [asked.params["code_verifier"] for asked in upstream.exchanges]
        secrets += upstream.access_tokens + upstream.refresh_tokens
        for secret in workbench.some(secrets, "a secret of the sign-in"):
            shown = secret in called.text or any(secret in answer for answer in answers)
            workbench.expect(not shown, "no secret in an answer", secret)


@check("FRONT-151", timeout=60, slow=True)
async def a_legacy_client_shows_the_page(workbench: Workbench) -> None:
    with workbench.case("accept"):
        await _must_ask_a_legacy_client(workbench, "accept")
    with workbench.case("decline"):
        await _must_ask_a_legacy_client(workbench, "decline")
    with workbench.case("without URL mode"):
        upstream = await workbench.oauth("a")
        workbench.browser()
        async with workbench.proxy(upstream) as proxy:
            proxy.capabilities = {"elicitation": {"form": {}}}
            await proxy.handshake()
            await must_sign_in(workbench, proxy, upstream)
            asked = proxy.transcript.asked(ELICIT)
            workbench.expect(not asked, "no question", asked)


async def _must_ask_a_legacy_client(workbench: Workbench, action: str) -> None:
    upstream, browser = await workbench.oauth("a"), workbench.browser()
    async with workbench.proxy(upstream) as proxy, proxy.answering({ELICIT: {"action": action}}):
        proxy.capabilities = SHOWS_PAGES
        await proxy.handshake()
        await proxy.begin("tools/call", proxy.call_params("a", "echo"), id="call")
        await workbench.eventually(
            lambda: proxy.transcript.asked(ELICIT) or _answer(proxy),
            within=10.0,
            what="the proxy asks the client",
        )
        asked = [heard.message["params"] for heard in proxy.transcript.asked(ELICIT)]
        asked = asked or part(_answer(proxy), "error", "data", "elicitations") or []
        page = _page(workbench, upstream, workbench.one(asked, "one question"))
        if action == "accept":
            browser.open(page)
        answer = await workbench.eventually(lambda: _answer(proxy), within=10.0, what="an answer to the call")
        if action == "decline":
            workbench.expect(page in str(answer), "the address in the answer", answer)
        elif part(answer, "error", "code") != URL_ELICITATION_REQUIRED:
            is_success = "result" in answer and not part(answer, "result", "isError")
            workbench.expect(is_success, "the call in flight succeeds", answer)
        if action == "accept":
            await must_be_usable(workbench, proxy, upstream, what="a further call succeeds")
            workbench.some(upstream.bearers, "a bearer reaches the server")
        _must_have_opened_no_browser(workbench, browser)


def _answer(proxy: Proxy) -> dict[str, Any]:
    return next(
        (found for found in proxy.received if found.get("id") == "call" and "method" not in found), {}
    )


def _page(workbench: Workbench, upstream: ProtectedMockUpstream, question: dict[str, Any]) -> str:
    workbench.expect(question.get("mode") == "url", "a question in URL mode", question)
    workbench.expect("a" in str(question.get("message")), "a message for the user", question)
    page = page_of(upstream, str(question.get("url")))
    workbench.expect(page, "the address of the page", question)
    return page or ""


def _must_have_opened_no_browser(workbench: Workbench, browser: Browser) -> None:
    opened: list[Opening] = [page for page in browser.openings if "by-hand" not in page.argv]
    workbench.expect(not opened, "no browser beside the question", opened)


@check("FRONT-152", timeout=40, slow=True)
async def a_modern_client_shows_the_page(workbench: Workbench) -> None:
    if workbench.sut.profile.face == "flat":
        raise NotApplicable("the check asks with the listing tool, and the face of the program is flat")
    upstream, browser = await workbench.oauth("a"), workbench.browser(User())
    async with workbench.proxy(upstream) as proxy:
        proxy.modern, proxy.capabilities = True, SHOWS_PAGES
        params = {"name": workbench.sut.profile.tools["list"], "arguments": {"group": "a"}}
        answer = await proxy.request("tools/call", params, within=10.0)
        needed = answer.member("inputRequests")
        is_question = answer.member("resultType") == "input_required" and isinstance(needed, dict)
        workbench.expect(is_question, "an input_required result", answer.raw)
        key, question = workbench.one([*(needed or {}).items()], "one question")
        workbench.expect(part(question, "method") == ELICIT, ELICIT, question)
        browser.open(_page(workbench, upstream, part(question, "params") or {}))
        state = answer.member("requestState")
        params = {
            **params,
            "inputResponses": {key: {"action": "accept"}},
            **({} if state is None else {"requestState": state}),
        }
        answer = await proxy.request("tools/call", params, within=12.0)
        is_final = not answer.is_error and answer.member("resultType") == "complete"
        workbench.expect(is_final, "a result after the sign-in", answer.raw)
        await must_be_usable(workbench, proxy, upstream, what="a call succeeds")
        workbench.some(upstream.bearers, "a bearer reaches the server")
        _must_have_opened_no_browser(workbench, browser)
