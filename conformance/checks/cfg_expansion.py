"""CFG: `${VAR}` expansion."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from conformance.checks import check
from conformance.checks.common import must_be_callable, must_sign_in
from mock_servers.oauth_script import OAuth

if TYPE_CHECKING:
    from conformance.workbench.mocks import StdioMockUpstream
    from conformance.workbench.workbench import Workbench


async def start_with(
    workbench: Workbench, upstream: StdioMockUpstream, env: dict[str, str]
) -> tuple[list[str], str]:
    """The arguments that the upstream starts with, and what the proxy has written to stderr."""
    async with workbench.proxy(upstream, env=env) as proxy:
        await proxy.handshake()
        await proxy.ready(upstream)
        await must_be_callable(workbench, proxy, upstream)
    return upstream.starts[-1].args, proxy.stderr


@check("CFG-009", slow=True)
async def var_expands_in_every_documented_place(workbench: Workbench) -> None:
    mixed, expanded = "pre-${FIRST}-mid-${SECOND}", "pre-VAL-mid-VAL2"
    upstream = workbench.stdio("a", args=[mixed, "${FIRST}", "${FIRST}${FIRST}/x"], env={"MIXED": mixed})
    remote = await workbench.remote("b", headers={"X-Mixed": mixed})
    entry = remote.variant(url=f"{remote.url}?k=${{FIRST}}-${{FIRST}}")
    # A proxy without sign-ins has no client id to expand.
    protected = (
        [await workbench.oauth("c", OAuth(clients=[expanded]), oauth_client_id=mixed)]
        if workbench.has("OAUTH")
        else []
    )
    browser = workbench.browser()
    async with workbench.proxy(upstream, entry, *protected, env={"FIRST": "VAL", "SECOND": "VAL2"}) as proxy:
        await proxy.handshake()
        await proxy.ready(upstream)
        with workbench.must("an upstream whose url and headers hold references becomes usable"):
            await proxy.ready(entry)
        for one in protected:
            await proxy.wake(one.name)
            page = await browser.opened()
            workbench.expect(page.params.get("client_id") == expanded, f"client_id={expanded}", page)
            await must_sign_in(workbench, proxy, one)
    start = upstream.starts[-1]
    workbench.expect(
        start.args == [expanded, "VAL", "VALVAL/x"], "every reference in args is expanded", start.args
    )
    value = start.env.get("MIXED")
    workbench.expect(value == expanded, "every reference in a value of env is expanded", value)
    messages = "/messages?"  # where the mock of HTTP+SSE takes them
    for request in workbench.some(remote.http, "a request to the url with references"):
        is_message = remote.kind == "sse" and request.target.startswith(messages)
        workbench.expect(
            is_message or request.target == "/mcp?k=VAL-VAL", "every reference in url is expanded", request
        )
        header = request.header("X-Mixed")
        workbench.expect(header == expanded, "every reference in a header is expanded", request)


@check("CFG-010")
async def no_other_expansion_syntax_exists(workbench: Workbench) -> None:
    """A value of env holds the literals, too."""
    marker = workbench.sandbox.root / "marker"
    literals = ["$VAR", "%VAR%", "~", "~/x", "$(touch " + str(marker) + ")", f"`touch {marker}`", "$$", "*"]
    literals += ["${}", "${1X}", "${VAR:-default}", "${VAR", "$ {VAR}", "#{VAR}"]
    upstream = workbench.stdio("a", args=literals, env={"MIXED": " ".join(literals)})
    args, _ = await start_with(workbench, upstream, {"VAR": "value", "1X": "value"})
    workbench.expect(args == literals, f"the arguments are the literals {literals}", args)
    value = upstream.starts[-1].env.get("MIXED")
    workbench.expect(value == " ".join(literals), "the value of env is the literals too", value)
    workbench.expect(not marker.exists(), "no command in the configuration runs", f"{marker} exists")


@check("CFG-011", timeout=30)
async def an_undefined_variable_stays_literal_and_is_warned_about(workbench: Workbench) -> None:
    """The values around the references are recognizable, so a warning that shows them is a violation."""
    upstream = workbench.stdio("a", args=["canary-${NOPE_X}"], env={"MIXED": "canary-${NOPE_X}"})
    note = {"X-Note": "canary-${NOPE_X}"}
    remotes = [await workbench.remote("b", headers=note)] if workbench.has_remotes else []
    async with workbench.proxy(upstream, *remotes) as proxy:
        with workbench.must("the start continues"):
            await proxy.handshake()
            await proxy.ready(upstream, *remotes)
        start = upstream.starts[-1]
        workbench.expect(start.args == ["canary-${NOPE_X}"], "the argument is literal", start.args)
        value = start.env.get("MIXED")
        workbench.expect(value == "canary-${NOPE_X}", "the environment value is literal", value)
        for remote in remotes:
            headers = {request.header("X-Note") for request in remote.http}
            workbench.expect(headers == {"canary-${NOPE_X}"}, "the header is literal", headers)
        what = "stderr names the undefined variable NOPE_X"
        await workbench.eventually(
            lambda: _seen("NOPE_X", proxy.stderr),
            within=3.0,
            what=what,
            seen=lambda: f"stderr: {proxy.stderr!r}",
        )
    workbench.expect("canary" not in proxy.stderr, "the warning shows no value, only the name", proxy.stderr)
    workbench.expect(not proxy.junk, "only JSON messages on stdout", proxy.junk)


def _seen(name: str, stderr: str) -> re.Match[str] | None:
    return re.search(rf"\b{name}\b", stderr)


@check("CFG-012")
async def empty_is_a_value_and_names_are_case_sensitive(workbench: Workbench) -> None:
    upstream = workbench.stdio("a", args=["${SET_EMPTY}x${SET_EMPTY}", "${foo_case}"])
    args, stderr = await start_with(workbench, upstream, {"SET_EMPTY": "", "FOO_CASE": "wrong"})
    workbench.expect(args[:1] == ["x"], "${SET_EMPTY}x${SET_EMPTY} arrives as x", args)
    workbench.expect(
        args[1:] == ["${foo_case}"], "${foo_case} arrives literally when only FOO_CASE is set", args
    )
    workbench.expect(not _seen("SET_EMPTY", stderr), "no warning about the empty variable", stderr)


@check("CFG-013")
async def expansion_works_on_parsed_values_and_only_once(workbench: Workbench) -> None:
    value = 'a","b\\\n${HOME}\\"}'
    upstream = workbench.stdio("a", args=["${VALUE}", "${OUTER}"], env={"COPY": "${VALUE}"})
    with workbench.must("a value cannot break the configuration"):
        args, _ = await start_with(
            workbench, upstream, {"VALUE": value, "OUTER": "${INNER}", "INNER": "twice"}
        )
    workbench.expect(args == [value, "${INNER}"], f"two arguments, {value!r} and '${{INNER}}'", args)
    copy = upstream.starts[-1].env.get("COPY")
    workbench.expect(copy == value, f"the environment value {value!r}", copy)
