"""HARD: http:// servers, with and without required HTTPS."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from conformance.checks import check
from conformance.checks.common import must_be_callable
from conformance.checks.sec_signin import an_address, speaks_of_plain_text
from conformance.workbench.certificates import Authority
from mock_servers.oauth_script import OAuth
from mock_servers.remote_actions import redirect
from mock_servers.script import Http, Rule, Script, on_call

if TYPE_CHECKING:
    from conformance.workbench.remotes import RemoteMockUpstream
    from conformance.workbench.workbench import Workbench


@check("HARD-003", timeout=90, slow=True)
async def https_can_be_required(workbench: Workbench) -> None:
    """An https:// upstream may lead to http:// by a redirect, a token endpoint or an endpoint event. Nothing
    arrives there either. The same holds for an http:// upstream that a save adds.
    """
    host = an_address()
    await _must_be_required(workbench, host)
    free = await workbench.http("free", host=host)
    async with workbench.serving(free) as proxy:
        await must_be_callable(workbench, proxy, free)
    said = [line for line in proxy.stderr.splitlines() if speaks_of_plain_text(line)]
    workbench.expect(len(said) == 1, "without the option, one line on stderr about it", proxy.stderr)


async def _must_be_required(workbench: Workbench, host: str) -> None:
    required = workbench.sut.profile.configured(require_https=True)
    authority = Authority(workbench.sandbox.root / "tls")
    refused = [await workbench.http("refused", host=host, **required)]
    if workbench.has("SSE"):
        refused.append(await workbench.http("refused-sse", kind="sse", host=host, **required))
    loopback = await workbench.http("loopback", **required)
    plain = await workbench.collector(host=host)
    away = redirect(plain.at("/away"))
    first, call = Script(on=[Rule("initialize", [away])]), Script(on=[on_call("echo", away)])
    token = OAuth(server_fields={"token_endpoint": plain.at("/token")})
    stream = Script(http=Http(endpoint=plain.at("/post")))
    secure = {"tls": authority.good(), **required}
    calls = await workbench.http("calls", call, **secure)
    lured = [await workbench.http("first", first, **secure)]
    if workbench.has("OAUTH"):
        lured.append(await workbench.oauth("token", token, **secure))
    if workbench.has("SSE"):
        lured.append(await workbench.http("stream", stream, kind="sse", **secure))
    workbench.browser()
    upstreams = (*refused, loopback, calls, *lured)
    config = workbench.config(*upstreams)
    async with workbench.proxy(config=config, env=authority.environment) as proxy:
        await proxy.handshake()
        with workbench.must("http:// on loopback is allowed"):
            await proxy.ready(loopback)
            await must_be_callable(workbench, proxy, loopback)
        with workbench.precondition("https:// works"):
            await proxy.ready(calls)
        await proxy.call("calls", "echo")
        for upstream in lured:
            await proxy.wake(upstream.name)
            with workbench.precondition(f"the proxy contacts {upstream.name}"):
                await workbench.eventually(partial(_is_visited, upstream), within=10.0, what="a request")
        if workbench.reloads:
            later = await workbench.http("refused-later", host=host, **required)
            beside = await workbench.http("loopback-later", **required)
            workbench.save(config, *upstreams, later, beside)
            with workbench.precondition("the proxy notices the change"):
                await proxy.ready(beside)
            refused.append(later)
        for upstream in refused:
            answer = await proxy.tools_of(upstream.name)
            told = answer.is_error and speaks_of_plain_text(answer.text)
            workbench.expect(told, f"{upstream.name} has failed, with the reason", answer.raw)

        def must_receive_nothing() -> None:
            for upstream in (*refused, plain):
                upstream.saw_nothing()

        await workbench.holds_for(3.0, must_receive_nothing)


def _is_visited(upstream: RemoteMockUpstream) -> bool:
    return bool(upstream.http)
