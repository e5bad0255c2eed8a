"""SEC: what the proxy lets itself be talked into by certificates, redirects, strange values and foreign URLs.

The authorization server's side of these requirements is not covered here.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from conformance.checks import check
from conformance.checks.http_requests import SESSIONS, can_call
from conformance.workbench.certificates import Authority
from mock_servers.actions import reply
from mock_servers.remote_actions import redirect
from mock_servers.script import Rule, Script, default_tools, on_call, tool

if TYPE_CHECKING:
    from conformance.workbench import Proxy, RemoteUpstream, Workbench

#: what switches validation off elsewhere
SWITCHES = {"NODE_TLS_REJECT_UNAUTHORIZED": "0", "PYTHONHTTPSVERIFY": "0", "GIT_SSL_NO_VERIFY": "1"}
INJECTED = "a\r\nX-Evil: 1"


@check("SEC-004", timeout=60)
async def certificates_are_validated(bench: Workbench) -> None:
    """Upstreams with a self-signed, foreign, expired or unknown certificate fail before a byte of HTTP; one
    with a good certificate works beside them.
    """
    # grows with the authorization server: the same on metadata URLs and the token endpoint
    authority = Authority(bench.sandbox.root / "tls")
    good = await bench.http("good", tls=authority.good())
    bad = [await bench.http(name, tls=tls) for name, tls in authority.bad().items()]
    async with bench.proxy(good, *bad, env={**authority.environment, **SWITCHES}) as proxy:
        await proxy.handshake()
        with bench.witness("the trusted certificate is accepted"):
            await proxy.ready(good)
            await can_call(bench, proxy, good)
        await bench.together(*(partial(_is_refused, bench, proxy, upstream) for upstream in bad))


async def _is_refused(bench: Workbench, proxy: Proxy, upstream: RemoteUpstream) -> None:
    name = upstream.name
    await proxy.tools_of(name)  # wakes a lazy proxy
    with bench.witness(f"a connection to {name} is tried"):
        what = "a TLS handshake"
        await bench.eventually(lambda: upstream.events("tls-hello"), within=10.0, what=what)
    answer = await proxy.call(name, "echo")
    bench.expect(answer.is_error, f"a call to {name} is an error", answer.raw)
    bench.expect(not upstream.http, f"no request reaches {name}", upstream.http)


@check("SEC-005")
async def trusted_certificates_work(bench: Workbench) -> None:
    """An upstream whose certificate is signed by an authority that SSL_CERT_FILE names is connected to."""
    authority = Authority(bench.sandbox.root / "tls")
    upstream = await bench.http("a", tls=authority.good())
    async with bench.proxy(upstream, env=authority.environment) as proxy:
        await proxy.handshake()
        with bench.must("the trusted certificate is accepted"):
            await proxy.ready(upstream)
        await can_call(bench, proxy, upstream)


@check("SEC-006", timeout=40)
async def redirects_do_not_carry_credentials_away(bench: Workbench) -> None:
    """Calls, the handshake and the GET are redirected to another port: no header, session id or body gets
    there.
    """
    # grows with the authorization server: bearer tokens and the token endpoint
    other = await bench.collector()
    away = other.at("/elsewhere")
    headers = {"Authorization": "Bearer canary-header", "X-Key": "canary-key"}
    upstreams = [
        await bench.http(
            f"call{status}",
            Script(
                http=SESSIONS, on=[on_call("echo", redirect(away, status)), Rule("GET", [redirect(away)])]
            ),
            headers=headers,
        )
        for status in (302, 307, 308)
    ]
    first = await bench.http("first", Script(on=[Rule("initialize", [redirect(away)])]), headers=headers)
    async with bench.proxy(*upstreams, first) as proxy:
        await proxy.handshake()
        await proxy.tools_of("first")  # wakes a lazy proxy
        for upstream in upstreams:
            with bench.witness(f"{upstream.name} works where it does not redirect"):
                await proxy.ready(upstream)
                result = await proxy.call(upstream.name, "add", {"a": 1, "b": 2})
                bench.expect(not result.is_error, "a call succeeds", result.raw)
            await proxy.call(upstream.name, "echo", {"x": "canary-body"})
        with bench.witness("the redirects are met"):
            redirected = "each upstream has redirected a request"
            await bench.eventually(
                lambda: all(any(r.status in (302, 307, 308) for r in u.http) for u in (*upstreams, first)),
                within=10.0,
                what=redirected,
            )
        canaries = ["canary", *(session for upstream in upstreams for session in upstream.sessions)]

        def nothing_gets_there() -> None:
            for request in other.http:
                carried = f"{request.target} {request.headers} {request.body!r}"
                found = [canary for canary in canaries if canary in carried]
                bench.expect(not found, "no credential and no body at the other origin", request)
                bench.expect(not request.body, "no body at the other origin", request.body)

        await bench.throughout(2.0, nothing_gets_there)


@check("SEC-009", timeout=40)
async def values_cannot_add_headers_or_requests(bench: Workbench) -> None:
    """CR, LF and NUL in a header's variable, in the URL's and in the name of a tool: no header X-Evil, no
    request of another kind; plain values arrive.
    """
    plain = await bench.http("plain", headers={"X-Value": "${PLAIN}"})
    header = await bench.http("header", headers={"X-Value": "${EVIL}"})
    url = await bench.http("url")
    names = [f"echo{INJECTED}", "echo\0"]
    tools = [*default_tools(), *map(tool, names)]
    named = [
        await bench.http("legacy", Script(tools=tools)),
        await bench.http("modern", Script(era="both", tools=tools)),
    ]
    bad = [header, url.but(url=url.url + "?k=${EVIL}")]
    env = {"PLAIN": "as it is", "EVIL": INJECTED}
    async with bench.proxy(plain, *named, env=env) as proxy:
        await proxy.handshake()
        with bench.witness("upstreams with plain values work"):
            await proxy.ready(plain, *named)
            await can_call(bench, proxy, plain)
            sent = {post.header("X-Value") for post in plain.posts()}
            bench.expect(sent == {"as it is"}, "the value of the variable", sent)
        for upstream in named:
            for name in names:
                await proxy.call(upstream.name, name)  # may succeed, or be an error
    for upstream in bad:
        outcome = await bench.run_to_exit(config=bench.config(upstream), env=env, within=2.0)
        if outcome.code is not None:
            outcome.refused()  # refusing such a configuration is as good as failing the request
            continue
        async with bench.proxy(upstream, env=env) as proxy:
            await proxy.handshake()
            await proxy.call(upstream.name, "echo")
    # Of a URL many parsers drop CR and LF, as the URL standard says; a header value cannot be saved.
    calls = header.posts("tools/call")
    bench.expect(not calls, "no call with such a header is sent", calls)
    for upstream in (plain, header, url, *named):
        for request in upstream.http:
            evil = [pair for pair in request.headers if "evil" in pair[0].lower()]
            bench.expect(not evil, f"no injected header at {upstream.name}", request)
            usual = request.method in ("GET", "POST", "DELETE") and request.target.startswith("/mcp")
            bench.expect(usual, f"no injected request at {upstream.name}", request)


@check("SEC-010", timeout=30)
async def nothing_is_fetched_because_an_upstream_mentions_it(bench: Workbench) -> None:
    """URLs of a collector are in a schema, in icons, in a result and in the server's description: it sees no
    request.
    """
    other = await bench.collector()
    schema: dict[str, Any] = {"type": "object", "properties": {"x": {"$ref": other.at("/schema.json")}}}
    icons = [{"src": other.at("/icon.png"), "mimeType": "image/png"}]
    link = {"type": "resource_link", "uri": other.at("/linked"), "name": "linked"}
    about = {"description": f"See {other.at('/docs')}", "icons": icons}
    output = {"type": "object", "$ref": other.at("/out.json")}
    script = Script(
        tools=[
            {"name": "echo", "inputSchema": schema, **about},
            {"name": "typed", "inputSchema": {"type": "object"}, "outputSchema": output, **about},
        ],
        instructions=f"Read {other.at('/instructions')}",
        on=[on_call("echo", reply({"content": [link]}))],
    )
    upstreams = [bench.stdio("stdio", script), await bench.http("http", script)]
    async with bench.serving(*upstreams) as proxy:
        for upstream in upstreams:
            with bench.witness("the call that returns a link"):
                result = await proxy.call(upstream.name, "echo", {"x": 1})
                bench.expect(other.at("/linked") in result.raw, "the link in the result", result.raw)
            await proxy.call(upstream.name, "typed")  # its answer has a schema that cannot be resolved
        await bench.throughout(3.0, other.saw_nothing)
