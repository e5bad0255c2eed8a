"""SEC: bad certificates, redirects, strange values, and URLs that an upstream mentions."""

from __future__ import annotations

import re
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from conformance.checks import check
from conformance.checks.common import SESSIONS, must_be_callable, must_be_usable, until
from conformance.checks.reads import try_to_read, try_to_read_by_template
from conformance.errors import Untestable, Violation
from conformance.workbench.certificates import Authority
from mock_servers.actions import reply
from mock_servers.oauth_script import Fault, OAuth
from mock_servers.remote_actions import redirect
from mock_servers.script import Rule, Script, any_arguments, default_tools, on_call, tool

if TYPE_CHECKING:
    from conformance.workbench.certificates import Files
    from conformance.workbench.inbox import Answer
    from conformance.workbench.mocks import MockUpstream
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.remotes import RemoteMockUpstream
    from conformance.workbench.workbench import Workbench
    from mock_servers.script import Era

#: environment variables that switch validation off in other programs
SWITCHES = {"NODE_TLS_REJECT_UNAUTHORIZED": "0", "PYTHONHTTPSVERIFY": "0", "GIT_SSL_NO_VERIFY": "1"}
#: the argument of a call with a chain of redirects
_HOP = "canary-hop"
INJECTED = "a\r\nX-Evil: 1"
#: the targets of the mocks
_TARGETS = ("/mcp", "/messages?")
_NAMED: dict[str, Era] = {"legacy": "legacy", "modern": "both"}


@check("SEC-004", timeout=80, slow=True)
async def certificates_are_validated(workbench: Workbench) -> None:
    authority = Authority(workbench.sandbox.root / "tls")
    good = await workbench.remote("good", tls=authority.good())
    must_sign_in = workbench.has("OAUTH")
    signed = (
        [await workbench.oauth("signed", OAuth(own_origin=True), tls=authority.good())]
        if must_sign_in
        else []
    )
    cases: list[tuple[RemoteMockUpstream, RemoteMockUpstream]] = []

    async def make(name: str, tls: Files) -> None:
        server = await workbench.remote(name, tls=tls)
        cases.append((server, server))
        if not must_sign_in:
            return
        listener = await workbench.http(name, kind="collector", tls=tls)
        issuer = OAuth(resource_fields={"authorization_servers": [listener.at("")]})
        cases.append((await workbench.oauth(f"{name}-issuer", issuer), listener))
        token = await workbench.http(name, kind="collector", tls=tls)
        endpoint = OAuth(server_fields={"token_endpoint": token.at("/token")})
        cases.append((await workbench.oauth(f"{name}-token", endpoint), token))

    await workbench.run_cases(*(partial(make, name, tls) for name, tls in authority.bad().items()))
    workbench.browser()
    env = authority.environment
    async with workbench.proxy(good, *signed, *(upstream for upstream, _ in cases), env=env) as proxy:
        await proxy.handshake()
        with workbench.precondition("the proxy accepts the trusted certificate"):
            await proxy.ready(good, *signed)
            await must_be_callable(workbench, proxy, good)
        await workbench.run_cases(*(partial(_must_distrust, workbench, proxy, *case) for case in cases))
    switched = [await workbench.remote(name, tls=tls) for name, tls in authority.bad().items()]
    async with workbench.proxy(good, *switched, env={**env, **SWITCHES}) as proxy:
        await proxy.handshake()
        await proxy.ready(good)
        with workbench.case(f"with {', '.join(SWITCHES)}"):
            await workbench.run_cases(
                *(partial(_must_be_refused_or_warned_about, workbench, proxy, one) for one in switched)
            )
    if workbench.has("HTTP") and workbench.has("SSE"):
        await _must_validate_those_of_streams(workbench, authority)


async def _must_validate_those_of_streams(workbench: Workbench, authority: Authority) -> None:
    """The same for servers with HTTP+SSE."""
    good = await workbench.sse("good-stream", tls=authority.good())
    bad = [await workbench.sse(f"{name}-stream", tls=tls) for name, tls in authority.bad().items()]
    async with workbench.proxy(good, *bad, env=authority.environment) as proxy:
        await proxy.handshake()
        with workbench.precondition("the proxy accepts the trusted certificate of a stream"):
            await proxy.ready(good)
        await workbench.run_cases(*(partial(_must_distrust, workbench, proxy, one, one) for one in bad))


async def _must_distrust(
    workbench: Workbench, proxy: Proxy, upstream: RemoteMockUpstream, listener: RemoteMockUpstream
) -> None:
    """Raise `Violation` unless the upstream fails because of the certificate at the listener."""
    answer = await _answer_after_the_handshake(workbench, proxy, upstream, listener)
    workbench.expect(answer.is_error, f"a call to {upstream.name} is an error", answer.raw)
    workbench.expect(not listener.http, f"{upstream.name}: no request reaches {listener.url}", listener.http)


async def _answer_after_the_handshake(
    workbench: Workbench, proxy: Proxy, upstream: RemoteMockUpstream, listener: RemoteMockUpstream
) -> Answer:
    name = upstream.name
    await proxy.tools_of(name)  # wakes a lazy proxy
    with workbench.precondition(f"{name}: the proxy tries a connection to {listener.url}"):
        what = "a TLS handshake"
        await workbench.eventually(lambda: listener.events("tls-hello"), within=10.0, what=what)
    return await proxy.call(name, "echo")


async def _must_be_refused_or_warned_about(
    workbench: Workbench, proxy: Proxy, upstream: RemoteMockUpstream
) -> None:
    """Raise `Violation` if a variable of the environment switches the validation off silently."""
    await _answer_after_the_handshake(workbench, proxy, upstream, upstream)
    warned = re.search("|".join(SWITCHES) + "|certificate|TLS|insecure", proxy.stderr, re.IGNORECASE)
    is_allowed = warned and not workbench.promises("certificates-always")
    workbench.expect(
        is_allowed or not upstream.http, f"{upstream.name}: no request without a warning", upstream.http
    )


@check("SEC-005", timeout=40)
async def trusted_certificates_work(workbench: Workbench) -> None:
    authority = Authority(workbench.sandbox.root / "tls")
    upstream = await workbench.remote("a", tls=authority.good())
    async with workbench.proxy(upstream, env=authority.environment) as proxy:
        await proxy.handshake()
        await must_be_usable(workbench, proxy, upstream, what="the proxy accepts the trusted certificate")


@check("SEC-006", timeout=60, slow=True)
async def redirects_do_not_carry_tokens_away(workbench: Workbench) -> None:
    """The handshake, a list, a read, the exchange of a code and a refresh get redirects, too. One call and one exchange get a first
    redirect within the origin.
    """
    other = await workbench.collector()
    away = other.at("/elsewhere")
    to = {"Location": away}
    exchanges = [
        await workbench.oauth(f"code{status}", OAuth(faults=[Fault("token", status=status, headers=to)]))
        for status in (302, 307, 308)
    ]
    hops = [
        Fault("token", times=1, status=307, headers={"Location": "/token?hop"}),
        Fault("token", status=307, headers=to),
    ]
    exchanges.append(await workbench.oauth("code-hops", OAuth(faults=hops)))
    renewal = OAuth(lifetimes=[2], faults=[Fault("token", grant="refresh_token", status=307, headers=to)])
    page = {"uri": "mock://one", "name": "one"}
    calls = Script(
        resources=[page],
        on=[_first_hop(), on_call("echo", redirect(away)), Rule("resources/read", [redirect(away)])],
    )
    protected = [await workbench.oauth("bearer", script=calls), await workbench.oauth("refresh", renewal)]
    early = [
        await workbench.oauth(
            f"at-{method.replace('/', '-')}", script=Script(on=[Rule(method, [redirect(away)])])
        )
        for method in ("initialize", "tools/list")
    ]
    workbench.browser()
    async with workbench.proxy(*exchanges, *early, *protected) as proxy:
        await proxy.handshake()
        for upstream in (*exchanges, *early):
            await proxy.wake(upstream.name)
        with workbench.precondition("sign-ins work where the token endpoint does not redirect"):
            await proxy.ready(*protected)
            with suppress(Violation):  # that they get an answer is the subject of HTTP-053
                await proxy.call("bearer", "echo", {"x": "canary-body"})
                await proxy.call("bearer", "echo", {"x": _HOP})
                await try_to_read(proxy, "bearer", page["uri"])
            await until(workbench, protected[1].exchanges[-1].t + 2.2)
            await proxy.call("refresh", "echo")
        await _must_meet_the_redirects(workbench, *exchanges, *early, *protected)
        secrets = []
        for signed in (*exchanges, *early, *protected):
            secrets += [*signed.access_tokens, *signed.refresh_tokens]
            for asked in signed.exchanges:
                secrets += [asked.params["code"], asked.params["code_verifier"]]
        await _must_get_nowhere(workbench, other, secrets)


@check("SEC-020", timeout=40, slow=True)
async def redirects_take_no_header_and_no_body_away(workbench: Workbench) -> None:
    """The handshake and the GET of a stream get redirects, too. One call of each upstream gets a first redirect within the origin."""
    other = await workbench.collector()
    away = other.at("/elsewhere")
    headers = {"Authorization": "Bearer canary-header", "X-Key": "canary-key"}
    stream, handshake = Rule("GET", [redirect(away)]), Rule("initialize", [redirect(away)])
    # Over HTTP+SSE no call works without the stream, so the first server alone redirects it.
    beside, begin = ([], stream) if workbench.remote_kind == "sse" else ([stream], handshake)
    upstreams = [
        await workbench.remote(
            f"call{status}",
            Script(http=SESSIONS, on=[*beside, _first_hop(status), on_call("echo", redirect(away, status))]),
            headers=headers,
        )
        for status in (302, 307, 308)
    ]
    first = await workbench.remote("first", Script(on=[begin]), headers=headers)
    async with workbench.proxy(*upstreams, first) as proxy:
        await proxy.handshake()
        await proxy.wake(first.name)
        for upstream in upstreams:
            with workbench.precondition(f"{upstream.name} works where it does not redirect"):
                await proxy.ready(upstream)
                result = await proxy.call(upstream.name, "add", {"a": 1, "b": 2})
                workbench.expect(not result.is_error, "a call succeeds", result.raw)
            for text in ("canary-body", _HOP):
                await proxy.call(upstream.name, "echo", {"x": text})
        await _must_meet_the_redirects(workbench, *upstreams, first)
        canaries = ["canary", *(session for upstream in upstreams for session in upstream.sessions)]
        await _must_get_nowhere(workbench, other, canaries)
        workbench.expect(not any(request.body for request in other.http), "no body there", other.http)


def _first_hop(status: int = 307) -> Rule:
    """A redirect within the origin. The same call after it gets the next rule."""
    return on_call("echo", redirect("/mcp?hop", status), nth=1, params={"arguments": {"x": _HOP}})


async def _must_meet_the_redirects(workbench: Workbench, *upstreams: RemoteMockUpstream) -> None:
    with workbench.precondition("the proxy meets the redirects"):
        await workbench.eventually(
            lambda: all(map(_has_redirected, upstreams)),
            within=10.0,
            what="each upstream has redirected a request",
        )


async def _must_get_nowhere(workbench: Workbench, other: RemoteMockUpstream, texts: list[str]) -> None:
    """Raise `Violation` if one of the texts reaches the other origin."""

    def must_receive_nothing() -> None:
        for request in other.http:
            carried = f"{request.target} {request.headers} {request.body!r}"
            found = [text for text in texts if text in carried]
            workbench.expect(not found, f"none of {texts} at the other origin", request)

    await workbench.holds_for(2.0, must_receive_nothing)


def _has_redirected(upstream: RemoteMockUpstream) -> bool:
    """Whether the upstream has redirected the proxy. The authorization endpoint always redirects, but only
    the browser.
    """
    met = [request for request in upstream.http if request.status in (302, 307, 308)]
    return any(not request.target.startswith("/authorize") for request in met)


@check("SEC-009", timeout=60, slow=True)
async def values_cannot_add_headers_or_requests(workbench: Workbench) -> None:
    refers = workbench.sut.profile.config.variables
    plain = await workbench.remote("plain", headers={"X-Value": "as it is"})
    header = await workbench.remote("header", headers={"X-Value": "${EVIL}" if refers else INJECTED})
    literal = await workbench.remote("literal", headers={"X-Value": INJECTED})
    url = await workbench.remote("url")
    names = [f"echo{INJECTED}", "echo\0"]
    tools = [*default_tools(), *map(tool, names)]
    named = [
        await workbench.remote(
            name,
            Script(era=era, tools=tools, templates=[{"uriTemplate": f"{name}://{{+id}}", "name": "any"}]),
        )
        for name, era in _NAMED.items()
        if workbench.has("HTTP") or era == "legacy"
    ]
    bad = [header, literal, url.variant(url=f"{url.url}?k={'${EVIL}' if refers else INJECTED}")]
    env = {"EVIL": INJECTED}
    async with workbench.proxy(plain, *named, env=env) as proxy:
        await proxy.handshake()
        with workbench.precondition("upstreams with plain values work"):
            await proxy.ready(plain, *named)
            await must_be_callable(workbench, proxy, plain)
            sent = {post.header("X-Value") for post in plain.posts()}
            workbench.expect(sent == {"as it is"}, "the configured value", sent)
        for upstream in named:
            for name in names:
                await proxy.call(upstream.name, name)  # may succeed, or be an error
            await try_to_read_by_template(proxy, upstream.name, f"{upstream.name}://{{+id}}", id=INJECTED)
    for upstream in bad:
        outcome = await workbench.run_to_exit(config=workbench.config(upstream), env=env, within=2.0)
        if outcome.code is not None:
            outcome.refused()  # a refused configuration is as good as a failed request
            continue
        async with workbench.proxy(upstream, env=env) as proxy:
            # A program with one server can refuse the handshake, which is as good too.
            with suppress(Untestable):
                await proxy.handshake()
                await proxy.call(upstream.name, "echo")
    # Many parsers drop CR and LF from a URL, as the WHATWG URL standard says. A header value cannot be saved
    # like this.
    # A proxy that expands no variables sends the reference, and one that refuses the header alone sends none. Both harm nothing.
    calls = [one for one in header.posts("tools/call") if one.header("X-Value") != "${EVIL}"]
    calls = [one for one in (*calls, *literal.posts("tools/call")) if one.header("X-Value") is not None]
    workbench.expect(not calls, "the proxy sends no call with such a header", calls)
    for upstream in (plain, header, literal, url, *named):
        for request in upstream.http:
            evil = [pair for pair in request.headers if "evil" in pair[0].lower()]
            workbench.expect(not evil, f"no injected header at {upstream.name}", request)
            usual = request.method in ("GET", "POST", "DELETE") and request.target.startswith(_TARGETS)
            usual = usual or request.is_discovery  # some programs look for documents of a sign-in first
            workbench.expect(usual, f"no injected request at {upstream.name}", request)


@check("SEC-010", timeout=30, slow=True)
async def no_schema_is_fetched_because_another_refers_to_it(workbench: Workbench) -> None:
    other = await workbench.collector()
    await _must_fetch_nothing(workbench, other, Script(tools=_tools_that_refer_to(other)))


@check("SEC-024", timeout=30, slow=True)
async def nothing_is_fetched_because_an_upstream_mentions_it(workbench: Workbench) -> None:
    other = await workbench.collector()
    icons = [{"src": other.at("/icon.png"), "mimeType": "image/png"}]
    link = {"type": "resource_link", "uri": other.at("/linked"), "name": "linked"}
    about = {"description": f"See {other.at('/docs')}", "icons": icons}
    script = Script(
        tools=[{**definition, **about} for definition in _tools_that_refer_to(other)],
        instructions=f"Read {other.at('/instructions')}",
        on=[on_call("plain", reply({"content": [link]}))],
    )
    await _must_fetch_nothing(workbench, other, script, link["uri"])


def _tools_that_refer_to(other: RemoteMockUpstream) -> list[dict[str, Any]]:
    schema: dict[str, Any] = {"type": "object", "properties": {"x": {"$ref": other.at("/schema.json")}}}
    output = {"type": "object", "$ref": other.at("/out.json")}
    return [
        tool("plain", properties=any_arguments("x")),
        {"name": "echo", "inputSchema": schema},
        {"name": "typed", "inputSchema": {"type": "object"}, "outputSchema": output},
    ]


async def _must_fetch_nothing(
    workbench: Workbench, other: RemoteMockUpstream, script: Script, shown: str = ""
) -> None:
    """List and call the tools of two upstreams. Raises `Violation` if the collector has a request.

    The proxy may refuse each tool whose schema refers to the collector. The results of the other tool contain the text `shown`.
    """
    upstreams: list[MockUpstream] = [workbench.stdio("stdio", script)]
    if workbench.has_remotes:
        upstreams.append(await workbench.remote("remote", script))
    async with workbench.serving(*upstreams) as proxy:
        for upstream in upstreams:
            with workbench.precondition("a call succeeds"):
                result = await proxy.call(upstream.name, "plain", {"x": 1})
                workbench.expect(not result.is_error and shown in result.raw, "its result", result.raw)
            await proxy.call(upstream.name, "echo", {"x": 1})
            await proxy.call(upstream.name, "typed")  # its answer has a schema that the proxy cannot resolve
        await workbench.holds_for(3.0, other.saw_nothing)
