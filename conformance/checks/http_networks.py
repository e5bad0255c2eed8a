"""HTTP-050 to HTTP-057, HTTP-073: lost sessions, cookies, redirects, proxies of the environment, odd types and reasons of replies."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from conformance.checks import check
from conformance.checks.common import SESSION, SESSIONS, must_be_callable, must_be_echoed, must_be_usable
from conformance.checks.sec_signin import an_address
from conformance.errors import NotApplicable, Violation
from mock_servers.remote_actions import answer_as, expire_session, redirect, respond
from mock_servers.script import Http, Rule, Script, any_arguments, echo_tool, on_call, tool

if TYPE_CHECKING:
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.remotes import RemoteMockUpstream
    from conformance.workbench.workbench import Workbench

_FORMS: tuple[Literal["400", "401", "error"], ...] = ("400", "401", "error")
#: no exceptions, so that the proxy of the environment counts
_NO_EXCEPTIONS = {"NO_PROXY": "", "no_proxy": ""}


@check("HTTP-050", timeout=40)
async def a_session_that_is_lost_in_other_words_begins_again(workbench: Workbench) -> None:
    browser = workbench.browser()
    upstreams = [
        await workbench.http(
            f"says-{form}",
            Script(http=Http(sessions=True, lost=form), on=[on_call("add", expire_session())]),
        )
        for form in _FORMS
    ]
    async with workbench.serving(*upstreams) as proxy:
        await workbench.run_cases(*(partial(_must_be_renewed, workbench, proxy, one) for one in upstreams))
    workbench.expect(not browser.openings, "no browser opens", browser.openings)


async def _must_be_renewed(workbench: Workbench, proxy: Proxy, upstream: RemoteMockUpstream) -> None:
    with workbench.case(f"the server {upstream.name}"):
        forgets = await proxy.call(upstream.name, "add", {"a": 1, "b": 2})
        with workbench.precondition("the call that makes the upstream forget"):
            workbench.expect(not forgets.is_error, "it succeeds", forgets.raw)
        await must_be_echoed(workbench, proxy, upstream.name, {"x": 1})
        forgot = upstream.posts("tools/call")[0].t
        begun = [post for post in upstream.posts("initialize") if post.t > forgot]
        # More than one where each request has a session of its own.
        workbench.expect(begun, "a new initialize", upstream.posts("initialize"))
        last = upstream.posts("tools/call")[-1]
        new = upstream.sessions[-1]
        workbench.expect(last.header(SESSION) == new, f"the last call carries {new}", last)


_BANK = "The bank session of this account has expired"
#: errors of a tool: the status of the reply, the code and the words
_OWN_ERRORS: dict[str, tuple[int, int, str]] = {
    "bad-request": (400, -32602, _BANK),
    "unprocessable": (422, -32602, _BANK),
    "session": (200, -32001, "Session expired"),
    "mismatch": (200, -32020, "The names on the two cards do not match"),
}


@check("HTTP-073", timeout=60)
async def the_own_error_of_a_tool_does_not_run_its_call_again(workbench: Workbench) -> None:
    rules = [
        on_call(name, respond(status, _error(code, text), headers={"Content-Type": "application/json"}))
        for name, (status, code, text) in _OWN_ERRORS.items()
    ]
    tools = [echo_tool(), *(tool(name, properties=any_arguments("x")) for name in _OWN_ERRORS)]
    upstream = await workbench.http("a", Script(http=SESSIONS, tools=tools, on=rules))
    async with workbench.serving(upstream) as proxy:
        for name in _OWN_ERRORS:
            with workbench.case(f"the error {name}"):
                answer = await proxy.call("a", name, {"x": name})
                workbench.expect(answer.is_error, "an error", answer.raw)
                await must_be_callable(workbench, proxy, upstream)
                calls = [
                    post for post in upstream.posts("tools/call") if post.message["params"]["name"] == name
                ]
                workbench.expect(len(calls) == 1, "the upstream gets the call once", calls)


def _error(code: int, text: str) -> str:
    return f'{{"jsonrpc": "2.0", "id": "$id", "error": {{"code": {code}, "message": "{text}"}}}}'


@check("HTTP-051")
async def a_cookie_of_the_server_goes_back_to_it(workbench: Workbench) -> None:
    upstream = await workbench.http("a", Script(http=Http(sessions=True, sticky=True)))
    other = await workbench.http("other", Script(http=SESSIONS))
    async with workbench.proxy(upstream, other) as proxy:
        await proxy.handshake()
        await must_be_usable(
            workbench, proxy, upstream, what="a server behind a sticky load balancer is usable"
        )
        await must_be_usable(workbench, proxy, other)
    for request in workbench.some(other.http, "a request to the other server"):
        workbench.expect(request.header("Cookie") is None, "no cookie at another server", request)


@check("HTTP-052", timeout=40)
async def redirects_within_the_origin_are_followed(workbench: Workbench) -> None:
    headers = {"X-Key": "key"}
    script = Script(http=Http(path="/mcp/", redirects={"/mcp": 307, "/old": 308}))
    remotes = [await workbench.http(name, script, headers=headers) for name in ("temporary", "permanent")]
    upstreams = [
        remote.variant(url=remote.at(path)) for remote, path in zip(remotes, ("/mcp", "/old"), strict=True)
    ]
    good = await workbench.http("good")
    async with workbench.proxy(good, *upstreams) as proxy:
        await proxy.handshake()
        await proxy.ready(good)
        for upstream in upstreams:
            what = f"the server with the {upstream.name} redirect becomes usable"
            await must_be_usable(workbench, proxy, upstream, what=what)
    for remote in remotes:
        reached = [request for request in remote.posts("tools/call") if request.target == "/mcp/"]
        call = workbench.one(reached, "one call reaches the target of the redirect")
        workbench.expect(call.header("X-Key") == "key", "the call has the configured header", call)


@check("HTTP-053", timeout=40)
async def a_redirect_to_another_origin_is_refused_and_named(workbench: Workbench) -> None:
    other = await workbench.collector()
    upstream = await workbench.http("a", Script(on=[Rule("POST", [redirect(other.at("/mcp/canary"))])]))
    good = await workbench.http("good")
    async with workbench.proxy(good, upstream) as proxy:
        await proxy.handshake()
        await proxy.ready(good)
        reason = await proxy.failure_of("a")
    with workbench.precondition("the proxy meets the redirect"):
        met = [request for request in upstream.http if request.status == 307]
        workbench.expect(met, "a redirected request", upstream.http)
    place = urlsplit(other.url).netloc
    workbench.expect(reason is not None and place in reason, f"an error that names {place}", reason)
    other.saw_nothing()


@check("HTTP-054")
async def this_machine_is_reached_without_a_proxy(workbench: Workbench) -> None:
    company = await workbench.collector()
    upstream = await workbench.http("address")
    name = await workbench.http("name")
    port = urlsplit(name.url).port
    upstreams = [upstream, name.variant(url=f"http://localhost:{port}/mcp")]
    environment = {
        variable: company.at("") for variable in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")
    }
    async with workbench.proxy(*upstreams, env={**environment, **_NO_EXCEPTIONS}) as proxy:
        await proxy.handshake()
        for one in upstreams:
            await must_be_usable(
                workbench, proxy, one, what=f"a server on loopback ({one.name}) becomes usable"
            )
    # A program may have requests of its own for other machines, such as a look for updates.
    seen = [request for request in company.http if _is_for_this_machine(request.target)]
    workbench.expect(not seen, f"no request for this machine reaches the proxy {company.url}", seen)


def _is_for_this_machine(target: str) -> bool:
    """Whether a client asks a proxy for a server on loopback, by a URL or by `CONNECT host:port`."""
    return any(host in target for host in ("127.0.0.1", "localhost"))


@check("HTTP-055", timeout=60)
async def proxies_and_exceptions_have_the_forms_of_curl(workbench: Workbench) -> None:
    company = await workbench.collector()
    host = an_address()
    near = await workbench.http("near", host=host)
    far = (await workbench.http("far")).variant(url="http://far.invalid/mcp")
    port = urlsplit(company.url).port
    network = f"{host}/24" if "." in host else f"{host}/64"
    exceptions = f"10.255.255.1/32, .example  {network}"
    exempt = {"NO_PROXY": exceptions, "no_proxy": exceptions}
    async with workbench.proxy(near, far, env={"http_proxy": f"127.0.0.1:{port}", **exempt}) as proxy:
        await proxy.handshake()
        await must_be_usable(workbench, proxy, near, what="a server in a network of NO_PROXY becomes usable")
        if await _goes_through(workbench, proxy, company, far.name):
            return
    async with workbench.proxy(near, far, env={"http_proxy": company.at(""), **exempt}) as proxy:
        await proxy.handshake()
        if not await _goes_through(workbench, proxy, company, far.name):
            raise NotApplicable("it uses no proxy of the environment: that in `http_proxy` got no connection")
    what = "a proxy without a scheme gets a connection for another server"
    workbench.expect(False, what, "a connection only with the scheme `http://`", timed=True)


async def _goes_through(workbench: Workbench, proxy: Proxy, company: RemoteMockUpstream, group: str) -> bool:
    """Whether the company's proxy gets a connection for the server of a group. It answers nothing that helps."""
    await proxy.wake(group)
    with suppress(Violation):
        what = "a connection at the company's proxy"
        await workbench.eventually(lambda: company.events("connection"), within=10.0, what=what)
    return bool(company.events("connection"))


_ODD = {
    "charset": answer_as("json", 'Application/JSON; Charset="UTF-8"'),
    "suffix": answer_as("json", "application/vnd.mcp+json"),
    "plain": answer_as("json", "text/plain; charset=utf-8"),
    "bytes": answer_as("json", "application/octet-stream"),
    "untyped": respond(200, "$answer"),
    "mark": respond(200, "\ufeff$answer", headers={"Content-Type": "application/json"}),
}


@check("HTTP-056")
async def a_json_answer_counts_whatever_its_type(workbench: Workbench) -> None:
    script = Script(
        tools=[echo_tool(), *(tool(name, properties=any_arguments("x")) for name in _ODD)],
        on=[on_call(name, action) for name, action in _ODD.items()],
    )
    upstream = await workbench.http("a", script)

    async def must_be_taken(name: str) -> None:
        with workbench.case(f"the answer {name}"):
            result = await proxy.call("a", name, {"x": name})
            workbench.expect(not result.is_error and name in result.text, "the answer", result.raw)

    async with workbench.serving(upstream) as proxy:
        await workbench.run_cases(*(partial(must_be_taken, name) for name in _ODD))
    workbench.expect(len(upstream.posts("tools/call")) == len(_ODD), "each call once", upstream.http)


@check("HTTP-057")
async def the_reason_of_a_refusal_reaches_the_client_without_secrets(workbench: Workbench) -> None:
    reason, secret = "the quota of this project is used up", "canary-k3y-0001"
    kinds: dict[str, tuple[int, str, str]] = {
        "text": (400, "text/plain", reason),
        "json": (422, "application/json", f'{{"detail": "{reason}"}}'),
        "page": (403, "text/html", f"<html><body><h1>{reason}</h1></body></html>"),
    }
    rules = [
        on_call(name, respond(status, f"{body}\n$headers\n{'x' * 200_000}", headers={"Content-Type": kind}))
        for name, (status, kind, body) in kinds.items()
    ]
    upstream = await workbench.http(
        "a", Script(tools=[echo_tool(), *map(tool, kinds)], on=rules), headers={"X-Api-Key": secret}
    )
    async with workbench.serving(upstream) as proxy:
        for name in kinds:
            with workbench.case(f"a refusal with {name}"):
                answer = await proxy.call("a", name)
                text = str(answer.raw)
                workbench.expect(answer.is_error, "an error", text[:2000])
                workbench.expect(reason in text, f"the error contains {reason!r}", text[:2000])
                workbench.expect(secret not in text, "the error shows no configured header", text[:2000])
                workbench.expect(len(text) < 10_000, "an error of at most 10,000 characters", len(text))
        await must_be_callable(workbench, proxy, upstream)
