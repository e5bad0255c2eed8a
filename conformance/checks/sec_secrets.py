"""SEC: places where no secret may appear: the log, messages to the client, other processes, other servers.

Every secret is a unique text; the journals hold those that an authorization server issues. An unused secret
cannot leak, so each check first finds it where it belongs.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import psutil

from conformance.checks import check
from conformance.checks.common import SESSIONS, must_answer_a_call, must_be_callable, sign_in, until
from conformance.checks.front_session import APPLIES_A_CHANGED_FILE
from conformance.checks.reads import try_to_read
from conformance.checks.sec_reload import HEADERS, VARIABLES, output_of_a_reload
from conformance.errors import NotApplicable, Untestable
from conformance.workbench.leak_scan import leaked, leaked_into_files
from mock_servers.oauth_script import Fault, OAuth
from mock_servers.remote_actions import respond, revoke_tokens
from mock_servers.script import Script, any_arguments, default_tools, on_call, tool

if TYPE_CHECKING:
    from conformance.workbench.mocks import StdioMockUpstream
    from conformance.workbench.protected import ProtectedMockUpstream
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.remotes import RemoteMockUpstream
    from conformance.workbench.workbench import Workbench

#: each makes some proxies write more
TALKATIVE = {"RUST_LOG": "trace", "DYNAMIC_MCP_LOG": "debug"}
CONFIGURED = {
    "a header": "canary/header+1",
    "a header from a variable": "canary/variable+2",
    "the environment of a child": "canary/env+3",
}
QUERY = "canary-query-4"
#: nothing listens there
NOWHERE = {"description": "gone", "url": f"http://127.0.0.1:1/mcp?key={QUERY}"}
ECHOES = [on_call("echo", respond(500, "$headers")), on_call("add", respond(400, "$headers"))]


def tokens_of(upstream: ProtectedMockUpstream) -> dict[str, str]:
    """Every token that the server issued."""
    access = {f"access token {place}": token for place, token in enumerate(upstream.access_tokens, 1)}
    refresh = {f"refresh token {place}": token for place, token in enumerate(upstream.refresh_tokens, 1)}
    return access | refresh


def issued_by(upstream: ProtectedMockUpstream) -> dict[str, str]:
    """Every secret of the sign-ins: tokens, codes and verifiers."""
    codes = [asked.params["code"] for asked in upstream.exchanges]
    verifiers = [asked.params["code_verifier"] for asked in upstream.exchanges]
    return {
        **tokens_of(upstream),
        **{f"code {place}": code for place, code in enumerate(codes, 1)},
        **{f"verifier {place}": verifier for place, verifier in enumerate(verifiers, 1)},
    }


@check("SEC-001", timeout=60, slow=True)
async def secrets_are_never_logged(workbench: Workbench) -> None:
    """The failures are a refused refresh, refused calls, an unreachable upstream and a configuration that is
    not JSON. What the profile declares absent is left out.
    """
    header, variable, child = CONFIGURED.values()
    refers = workbench.sut.profile.config.variables
    headers = {"X-Key": header, **({"X-Variable": "${CANARY}"} if refers else {})}
    env = {**workbench.sut.profile.log_switch, **TALKATIVE, "CANARY": variable}
    signed = [await _with_a_refused_refresh(workbench, headers)] if workbench.has("OAUTH") else []
    has_remotes = workbench.has_remotes
    failing = [await workbench.remote("failing", Script(on=ECHOES), headers=headers)] if has_remotes else []
    stdio = [workbench.stdio("stdio", env={"SECRET": child})] if workbench.has("STD") else []
    gone = [_unreachable(workbench, headers)] if has_remotes else []
    if not (failing or stdio):
        raise NotApplicable("the check needs a stdio server, or one behind a URL")
    workbench.browser()
    texts = {"stderr": "", "stdout": ""}
    for one in signed:
        async with workbench.proxy(one, env=env) as before:
            await before.handshake()
            with workbench.precondition("a sign-in works"):
                await before.ready(one)
        texts = {"stderr": before.stderr, "stdout": before.output}
        await until(workbench, one.exchanges[0].t + 2.2)
    async with workbench.proxy(*signed, *failing, *stdio, *gone, env=env) as proxy:
        await proxy.handshake()
        with workbench.precondition("a refresh and a call work"):
            await proxy.ready(*signed, *failing, *stdio)
            for one in signed:
                workbench.expect(one.refreshes, "a refresh", one.token_requests)
            for started in stdio:
                await must_be_callable(workbench, proxy, started)
        for remote in failing:
            await proxy.call(remote.name, "echo")
        for entry in gone:
            await _use_in_vain(proxy, entry.name)
        for one in signed:
            await proxy.call(one.name, "add", {"a": 1, "b": 2})
            await proxy.call(one.name, "echo")
    texts = {"stderr": texts["stderr"] + proxy.stderr, "stdout": texts["stdout"] + proxy.output}
    with workbench.precondition("the secrets are in use"):
        for remote in failing:
            sent = remote.posts("tools/call")[0].header("X-Key")
            workbench.expect(sent == header, "the header", remote.http)
            sent = remote.posts()[0].header("X-Variable")
            # A proxy that expands no variables passes the reference on.
            workbench.expect(sent in (variable, headers.get("X-Variable")), "the variable", remote.http)
        for started in stdio:
            seen = started.starts[0]
            workbench.expect(seen.env.get("SECRET") == child, "the environment", seen.args)
    if workbench.sut.profile.single is None:
        broken = workbench.config(*failing, *stdio).read_text() + ","
        outcome = await workbench.run_to_exit(config=workbench.config_text(broken), env=env, within=2.0)
        written = outcome.stderr + outcome.stdout.decode(errors="replace")
        texts["the output for a broken configuration"] = written
    if workbench.reloads:
        texts["the output of a reload"] = await output_of_a_reload(workbench, env)
    configured = {**CONFIGURED, **HEADERS, **VARIABLES}
    secrets = {**configured, **{name: text for one in signed for name, text in issued_by(one).items()}}
    for where, text in texts.items():
        found = leaked(text, secrets)
        workbench.expect(not found, f"no secret in {where}", found)


async def _with_a_refused_refresh(workbench: Workbench, headers: dict[str, str]) -> ProtectedMockUpstream:
    """Its first token lives two seconds. A call of `add` revokes all tokens, and the refresh after that is refused."""
    refused = Fault("token", grant="refresh_token", nth=2, status=400, body={"error": "invalid_grant"})
    script = Script(on=[on_call("add", revoke_tokens(all_later=True))])
    oauth = OAuth(lifetimes=[2, 3600], faults=[refused])
    return await workbench.oauth("signed", oauth, script, headers=headers)


def _unreachable(workbench: Workbench, headers: dict[str, str]) -> StdioMockUpstream:
    kind = workbench.remote_kind
    transport = {"type": "sse"} if kind == "sse" else {}
    entry: dict[str, Any] = {**transport, **workbench.required_fields(kind), **NOWHERE, "headers": headers}
    return workbench.stdio("gone").with_entry(entry)


async def _use_in_vain(proxy: Proxy, group: str) -> None:
    """List its tools and call one. A process that serves this group alone can have refused its handshake."""
    with suppress(Untestable):
        await proxy.tools_of(group)
        await proxy.call(group, "echo")


@check("SEC-002", timeout=60, slow=True)
async def tokens_reach_neither_the_client_nor_other_processes(workbench: Workbench) -> None:
    revokes = Script(
        tools=[*default_tools(), tool("revoke")], on=[*ECHOES, on_call("revoke", revoke_tokens())]
    )
    signed = await workbench.oauth("signed", script=revokes)
    stdio = workbench.stdio("stdio")
    browser = workbench.browser()
    with workbench.precondition("a first run signs in"):
        await sign_in(workbench, signed)
    config = workbench.config(signed)
    async with workbench.proxy(config=config) as proxy:
        await proxy.handshake()
        with workbench.precondition("the token is in use, and the upstream refuses calls"):
            await proxy.ready(signed)
            await _must_be_refused_both_ways(workbench, proxy, signed)
            used = set(signed.access_tokens) & set(signed.bearers)
            workbench.expect(used, "an access token", signed.http)
            # A proxy that refreshes tokens, or signs in again, shows the upstream a second one.
            await proxy.call("signed", "revoke")
            await _must_be_refused_both_ways(workbench, proxy, signed)
        if workbench.reloads:
            # This child starts after the proxy has a token, so the proxy's environment may hold the token by
            # then.
            workbench.save(config, signed, stdio)
            with workbench.precondition(APPLIES_A_CHANGED_FILE), workbench.must("the added server is usable"):
                await proxy.ready(stdio)
        await _ask_for_all_lists(proxy)
        tokens = tokens_of(signed)
        commands = "\n".join(process.command for process in proxy.processes.alive())
        environments = _environments_of_children(proxy)
    environments += "\n".join(json.dumps(start.env) for start in stdio.starts)
    argv = "\n".join(" ".join(page.argv) for page in browser.openings)
    for where, text in (
        ("a message to the client", proxy.output),
        ("a command line", f"{commands}\n{argv}"),
        ("the environment of a child", environments),
    ):
        found = leaked(text, tokens)
        workbench.expect(not found, f"no token in {where}", found)


@check("SEC-023", timeout=60, slow=True)
async def configured_secrets_do_not_reach_the_client(workbench: Workbench) -> None:
    header = CONFIGURED["a header"]
    headers = {"X-Key": header, "Authorization": f"Bearer {header}"}
    signed = [await workbench.oauth("signed", script=Script(on=ECHOES))] if workbench.has("OAUTH") else []
    failing = await workbench.remote("failing", Script(on=ECHOES), headers=headers)
    gone = _unreachable(workbench, {**headers, "X-Query": QUERY})
    workbench.browser()
    async with workbench.proxy(*signed, failing, gone) as proxy:
        await proxy.handshake()
        with workbench.precondition("the upstreams refuse calls"):
            await proxy.ready(*signed, failing)
            for upstream in (*signed, failing):
                await _must_be_refused_both_ways(workbench, proxy, upstream)
        await _use_in_vain(proxy, "gone")
        await _ask_for_all_lists(proxy)
        secrets = {"a header": header, "a query": QUERY}
        for one in signed:
            secrets |= issued_by(one)
    found = leaked(proxy.output, secrets)
    workbench.expect(not found, "no secret in a message to the client", found)


async def _must_be_refused_both_ways(
    workbench: Workbench, proxy: Proxy, upstream: RemoteMockUpstream
) -> None:
    for name in ("echo", "add"):
        await proxy.call(upstream.name, name, {"a": 1, "b": 2})
    statuses = {request.status for request in upstream.posts("tools/call")}
    workbench.expect({400, 500} <= statuses, "both refusals", upstream.http)


async def _ask_for_all_lists(proxy: Proxy) -> None:
    for method in ("tools/list", "resources/list", "resources/templates/list", "prompts/list"):
        await proxy.request_everywhere(method, {})


def _environments_of_children(proxy: Proxy) -> str:
    found = []
    for process in proxy.processes.alive():
        try:
            if process.pid != proxy.pid:
                found.append(json.dumps(psutil.Process(process.pid).environ()))
        except psutil.Error:
            continue  # has exited since
    return "\n".join(found)


@check("SEC-026", timeout=30)
async def configured_secrets_reach_no_other_child_and_no_open_file(workbench: Workbench) -> None:
    header, _, variable = CONFIGURED.values()
    remotes = [await workbench.remote("remote", headers={"X-Key": header})] if workbench.has_remotes else []
    own = workbench.stdio("own", env={"SECRET": variable})
    other = workbench.stdio("other")
    upstreams = (*remotes, own, other)
    async with workbench.proxy(*upstreams, umask=0o022) as proxy:
        await proxy.handshake()
        await proxy.ready(*upstreams)
        for upstream in upstreams:
            await must_be_callable(workbench, proxy, upstream)
        box = workbench.sandbox
        secrets = {"a header": header, "a variable": variable}
        files = leaked_into_files([box.home, box.tmp, box.cwd], secrets, readable_by_others=True)
    with workbench.precondition("the secrets are in use"):
        for remote in remotes:
            sent = remote.posts("tools/call")[0].header("X-Key")
            workbench.expect(sent == header, "the header", remote.http)
        workbench.expect(own.starts[0].env.get("SECRET") == variable, "the variable", own.starts[0].args)
    for child, foreign in ((own, {"a header": header}), (other, secrets)):
        start = child.starts[0]
        found = leaked(json.dumps([start.args, start.env]), foreign)
        workbench.expect(not found, f"{child.name} sees no secret of another server", found)
    workbench.expect(not files, "no secret in a file that other users can read", files)


@check("SEC-011", timeout=60, slow=True)
async def credentials_of_one_server_never_reach_another(workbench: Workbench) -> None:
    other, web = await workbench.collector(), await workbench.collector("web")
    lures = {"url": other.at("/lure"), "headers": {"X-Evil": "1"}, "Authorization": "Bearer evil"}
    echo = tool("echo", properties=any_arguments("x", "word", *lures))

    def script(name: str) -> Script:
        return Script(http=SESSIONS, tools=[echo], resources=[{"uri": web.at(f"/{name}"), "name": name}])

    keys = {"first": "canary-key-1", "second": "canary-key-2"}
    first = await workbench.oauth(
        "first", OAuth(any_resource=True), script("first"), headers={"X-Key": keys["first"]}
    )
    issuer = first.issuer
    endpoints = {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/authorize",
        "token_endpoint": f"{issuer}/token",
    }
    elsewhere = {"authorization_servers": [issuer]}
    oauth = OAuth(any_token=True, resource_fields=elsewhere, server_fields=endpoints)
    second = await workbench.oauth("second", oauth, script("second"), headers={"X-Key": keys["second"]})
    workbench.browser()
    async with workbench.proxy(first, second) as proxy:
        await proxy.handshake()
        for upstream in (first, second):
            await proxy.wake(upstream.name)
        with workbench.must("both become usable with one authorization server"):
            await workbench.eventually(
                lambda: len(first.exchanges) == 2,
                within=15.0,
                what="two sign-ins",
                seen=lambda: f"{len(first.exchanges)} sign-ins",
            )
        resources = {asked.issued["code"]: asked.params.get("resource") for asked in first.authorizations}
        owner = {
            asked.issued["access_token"]: resources[asked.params["code"]]
            for asked in first.exchanges
            if "access_token" in asked.issued
        }
        with workbench.precondition("both are usable and assign sessions"):
            await proxy.ready(first, second)
            await must_answer_a_call(workbench, proxy, first)
            await must_answer_a_call(workbench, proxy, second)
            workbench.expect(first.sessions and second.sessions, "a session of each", first.sessions)
        for upstream in (first, second):
            await proxy.call(upstream.name, "echo", lures)
            await proxy.call(upstream.name, other.at("/tool"), lures)
            params = {**proxy.call_params(upstream.name, "echo", {}), **lures, "_meta": {"x/headers": lures}}
            await proxy.request("tools/call", params)
            await try_to_read(proxy, upstream.name, web.at(f"/{upstream.name}"))
        await proxy.call(other.at("/group"), "echo", lures)
    for mine, theirs in ((first, second), (second, first)):
        foreign = {
            **{f"token {n}": token for n, token in enumerate(owner, 1) if owner[token] != mine.url},
            **{f"session {n}": session for n, session in enumerate(theirs.sessions, 1)},
            "header": keys[theirs.name],
        }
        kinds = {name.partition(" ")[0] for name in foreign}
        all_kinds = kinds == {"token", "session", "header"}
        workbench.expect(all_kinds, "a token, a session and a header of the other", foreign)
        for request in mine.mcp:
            whole = f"{request.target} {request.headers} {request.body.decode(errors='replace')}"
            found = leaked(whole, foreign)
            workbench.expect(not found, f"{mine.name} sees nothing of the other", found)
            sent = {name.lower(): value for name, value in request.headers}
            workbench.expect("x-evil" not in sent, "no header that the client wrote", request)
            workbench.expect("evil" not in sent.get("authorization", ""), "its own token", request)
    other.saw_nothing()
    # A proxy may read a web address by itself, without what belongs to a server.
    credentials = [*owner, *first.sessions, *second.sessions, *keys.values()]
    secrets = {f"credential {place}": one for place, one in enumerate(credentials, 1)}
    for request in web.http:
        whole = f"{request.target} {request.headers} {request.body.decode(errors='replace')}"
        found = leaked(whole, secrets)
        workbench.expect(not found, "no credentials go to the address of a resource", found)
