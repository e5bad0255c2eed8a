"""FRONT: why a list, a sign-in or a request of one server failed, and what would help."""

from __future__ import annotations

import json
import re
from functools import partial
from typing import TYPE_CHECKING

from conformance.checks import check
from conformance.checks.common import must_be_callable
from conformance.workbench.exposed import declared_methods, declares, exposed_prompt, exposed_uri
from conformance.workbench.listing_forms import LISTS
from mock_servers.remote_actions import respond
from mock_servers.script import Rule, Script, error, on_call, silence, tool

if TYPE_CHECKING:
    from conformance.workbench.inbox import Answer
    from conformance.workbench.mocks import MockUpstream
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.remotes import RemoteMockUpstream
    from conformance.workbench.transcript import Json
    from conformance.workbench.workbench import Workbench

DOWN = "the database is down"
MISSING = "no-such-program"


def _offering(name: str, *rules: Rule) -> Script:
    """A script with a resource, a template and a prompt, each with this name."""
    return Script(
        resources=[{"uri": f"test://{name}", "name": name}],
        templates=[{"uriTemplate": f"test://{name}/{{id}}", "name": name}],
        prompts=[{"name": name}],
        on=list(rules),
    )


@check("FRONT-060")
async def a_list_of_one_group_says_why_it_failed(workbench: Workbench) -> None:
    """Where a proxy has no parameter `group`, only its listing tool is judged."""
    fine, other = workbench.stdio("fine", _offering("fine")), workbench.stdio("other", _offering("other"))
    failing = workbench.stdio(
        "failing", _offering("failing", *(Rule(one, [error(-32000, DOWN)]) for one in LISTS))
    )
    absent = workbench.stdio("absent").variant(command=f"/nowhere/{MISSING}")
    async with workbench.proxy(fine, other, failing, absent) as proxy:
        await proxy.handshake()
        await proxy.ready(fine, other, failing)
        _must_say(
            workbench, await proxy.tools_of("absent"), f"{MISSING}|not found|no such", "the tools of absent"
        )
        for method in declared_methods(proxy, LISTS):
            with workbench.case(method):
                usual = json.dumps(await proxy.items(method, LISTS[method][0], {"group": "fine"}))
                workbench.expect("fine" in usual, "the list of a group that works", usual)
                if "other" in usual:
                    workbench.note("the proxy has no parameter group")
                    continue
                _must_say(
                    workbench, await proxy.request(method, {"group": "failing"}), DOWN, "the list of failing"
                )
                workbench.some(failing.requests(method), f"{method} reaches failing")
                reason = f"{MISSING}|not found|no such"
                _must_say(
                    workbench, await proxy.request(method, {"group": "absent"}), reason, "the list of absent"
                )
                whole = await proxy.request(method, {})
                workbench.expect(not whole.is_error, "the list of all groups has the others", whole.raw)


def _must_say(workbench: Workbench, answer: Answer, pattern: str, what: str) -> None:
    workbench.expect(answer.is_error, f"{what} is an error", answer.raw)
    found = re.search(pattern, answer.raw, re.IGNORECASE)
    workbench.expect(found, f"the error matches /{pattern}/", answer.raw)


WORDS = "Authentication required: send X-Atlassian-Jira-Personal-Token"
#: what a proxy can name as missing in its configuration. A sign-in is no remedy, because the server publishes none.
REMEDY = re.compile(
    r"\b(headers?|credentials?|tokens?|(api[ _-]?)?keys?|passwords?|secrets?)\b", re.IGNORECASE
)
SECRET = "canary-9f8e7d6c5b4a"
TYPE = {"Content-Type": "application/json"}


@check("FRONT-061", slow=True, timeout=40)
async def a_401_without_oauth_shows_the_words_of_the_server(workbench: Workbench) -> None:
    body = f'{{"error": "{WORDS}", "got": "{SECRET}", "more": "{"x" * 50_000}"}}'
    forms = {
        "plain": TYPE,
        "basic": {**TYPE, "WWW-Authenticate": 'Basic realm="jira"'},
        "bearer": {**TYPE, "WWW-Authenticate": "Bearer"},
    }
    good = await workbench.http("good")
    servers = [
        await workbench.http(
            name, Script(on=[Rule("*", [respond(401, body, headers=headers)])]), headers={"X-Key": SECRET}
        )
        for name, headers in forms.items()
    ]
    workbench.secret(SECRET)
    browser = workbench.browser()
    async with workbench.proxy(good, *servers) as proxy:
        await proxy.handshake()
        await proxy.ready(good)
        await workbench.run_cases(*(partial(_must_explain, workbench, proxy, server) for server in servers))
        await must_be_callable(workbench, proxy, good)
    browser.must_not_have_opened()


async def _must_explain(workbench: Workbench, proxy: Proxy, server: RemoteMockUpstream) -> None:
    with workbench.case(server.name):
        failure = await proxy.failure_of(server.name)
        workbench.some(server.http, "a request reaches the server")
        with workbench.must("no tool of the server works"):
            workbench.expect(failure, "an error", failure)
        text = str(failure)
        workbench.expect(WORDS in text, f"the error has the words of the server, {WORDS!r}", text)
        workbench.expect(
            names_a_remedy(text),
            "other words of the error tell what the server may need, such as a header",
            text,
        )
        workbench.expect(len(text) < 10_000, "an error of less than 10,000 characters", len(text))


def names_a_remedy(text: str) -> bool:
    """Whether an error names what a server may need to let the proxy in, in words that are not those of the server."""
    return bool(REMEDY.search(text.replace(WORDS, "").replace("\\n", " ")))


@check("FRONT-062", slow=True)
async def a_timeout_names_the_setting_that_lengthens_it(workbench: Workbench) -> None:
    hanging = [
        on_call("hang", silence()),
        Rule("resources/read", [silence()]),
        Rule("prompts/get", [silence()]),
    ]
    script = _offering("slow", *hanging)
    script.tools = [tool("echo"), tool("hang")]
    timeout = dict.fromkeys(("tools", "resources", "prompts"), "700ms")
    upstream = workbench.stdio("slow", script, timeout=timeout)
    async with workbench.proxy(upstream) as proxy:
        await proxy.handshake()
        await proxy.ready(upstream)
        requests = {"tools/call": proxy.call_params("slow", "hang", {})}
        if declares(proxy, "resources"):
            requests["resources/read"] = {"uri": await exposed_uri(proxy, "slow", "test://slow")}
        if declares(proxy, "prompts"):
            requests["prompts/get"] = {"name": await exposed_prompt(proxy, "slow", "slow")}
        await workbench.run_cases(
            *(partial(_must_name, workbench, proxy, upstream, *request) for request in requests.items())
        )


async def _must_name(
    workbench: Workbench, proxy: Proxy, upstream: MockUpstream, method: str, params: Json
) -> None:
    setting = method.partition("/")[0]
    with workbench.case(method):
        answer = await proxy.request(method, params)
        workbench.some(upstream.requests(method), f"{method} reaches the server")
        _must_say(workbench, answer, rf"timeout\W{{1,4}}{setting}\b", "a request that takes too long")
