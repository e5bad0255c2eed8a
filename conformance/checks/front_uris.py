"""FRONT: URIs that no list contains: links in results, and what templates cover."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.checks import check
from conformance.workbench.exposed import declares, exposed_template, exposed_uri, needs
from mock_servers.script import Rule, Script, on_call, reply

if TYPE_CHECKING:
    from conformance.workbench.mocks import MockUpstream
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.transcript import Json
    from conformance.workbench.workbench import Workbench

_READABLE = Rule("resources/read", [reply({"contents": [{"uri": "mock://any", "text": "as asked"}]})])


def _link(uri: str) -> Json:
    return {"type": "resource_link", "uri": uri, "name": "linked"}


def _embedded(uri: str) -> Json:
    return {"type": "resource", "resource": {"uri": uri, "text": "embedded"}}


async def _must_reach(
    workbench: Workbench, proxy: Proxy, uri: str, owner: MockUpstream, *others: MockUpstream
) -> None:
    """Read the URI. Raises `Violation` unless the request reaches its owner, and none of the others."""
    before = [(upstream, len(upstream.requests("resources/read"))) for upstream in (owner, *others)]
    answer = await proxy.of(owner.name).request("resources/read", {"uri": uri}, within=10.0)
    workbench.expect(not answer.is_error, f"a read of {uri} works", answer.raw)
    for upstream, count in before:
        reads = upstream.requests("resources/read")[count:]
        wanted = upstream is owner
        what = f"{upstream.name} gets {'the' if wanted else 'no'} read of {uri}"
        workbench.expect(bool(reads) is wanted, what, [read.params for read in reads])


@check("FRONT-073", timeout=30)
async def a_link_in_a_result_leads_to_the_server_that_gave_it(workbench: Workbench) -> None:
    content = [{"type": "text", "text": "see:"}, _link("report://42"), _embedded("report://embedded/1")]
    message = {"role": "user", "content": _embedded("report://of-a-prompt")}
    giver = workbench.stdio(
        "giver",
        Script(
            resources=[],
            prompts=[{"name": "ask"}],
            on=[
                on_call("echo", reply({"content": content})),
                Rule("prompts/get", [reply({"messages": [message]})]),
                _READABLE,
            ],
        ),
    )
    before, after = (workbench.stdio(name, Script(resources=[], on=[_READABLE])) for name in ("b", "z"))
    async with workbench.serving(before, giver, after) as proxy:
        needs(proxy, "resources")
        answer = await proxy.call("giver", "echo")
        blocks = answer.result.get("content", []) if isinstance(answer.result, dict) else []
        # The proxy may pass a link on under another URI.
        links = [block.get("uri") or block.get("resource", {}).get("uri") for block in blocks]
        links = [uri for uri in links if uri]
        workbench.expect(len(links) >= 2, "the result has the link and the resource", answer.raw)
        for uri in links[:2]:
            await _must_reach(workbench, proxy, uri, giver, before, after)
        if declares(proxy, "prompts"):
            prompts = await proxy.items("prompts/list", "prompts")
            got = await proxy.request("prompts/get", {"name": prompts[0]["name"]})
            uri = got.member("messages")[0]["content"]["resource"]["uri"]
            await _must_reach(workbench, proxy, uri, giver, before, after)


@check("FRONT-074", timeout=30)
async def a_link_takes_no_resource_of_another_server(workbench: Workbench) -> None:
    """Also a link that another server gives to the same unlisted URI later changes nothing."""
    own = ["bank://balance", "bank://account/7", "bank://unlisted"]
    bank = workbench.stdio(
        "bank",
        Script(
            resources=[{"uri": own[0], "name": "balance"}],
            templates=[{"uriTemplate": "bank://account/{id}", "name": "account"}],
            on=[on_call("echo", reply({"content": [_link(own[2])]})), _READABLE],
        ),
    )
    thief = workbench.stdio(
        "a-thief",
        Script(
            resources=[], on=[on_call("echo", reply({"content": [_link(uri) for uri in own]})), _READABLE]
        ),
    )
    async with workbench.serving(thief, bank) as proxy:
        needs(proxy, "resources")
        listed = await exposed_uri(proxy, "bank", own[0])
        template = await exposed_template(proxy, "bank", "bank://account/{id}")
        given = await proxy.call("bank", "echo")
        links = [block.get("uri") for block in given.member("content") or []]
        workbench.expect(links[:1], "the result has its link", given.raw)
        claimed = await proxy.call("a-thief", "echo")
        workbench.expect(not claimed.is_error, "the call of the other server works", claimed.raw)
        for uri in (listed, template.replace("{id}", "7")):
            await _must_reach(workbench, proxy, uri, bank, thief)
        if (await proxy.request("resources/read", {"uri": links[0]})).is_error:
            workbench.note("the proxy does not read what results link to")
        else:
            await _must_reach(workbench, proxy, links[0], bank, thief)


#: each template with a URI that it generates (RFC 6570, and the examples of its sections 1.2 and 3.2)
EXPANSIONS = {
    "one://{id}": "one://42",
    "two://{owner}/{repo}/issues/{number}": "two://octo/cat/issues/7",
    "hello://{+path}/here": "hello:///foo/bar/here",
    "frag://x{#section}": "frag://x#intro",
    "file://x{.ext}": "file://x.tar.gz",
    "seg://x{/parts*}": "seg://x/red/green/blue",
    "par://x{;a,b}": "par://x;a=1;b=2",
    "search://x{?q,lang}": "search://x?q=cat&lang=en",
    "more://x?fixed=yes{&page}": "more://x?fixed=yes&page=2",
    "opt://x{?q}": "opt://x",
    "pre://{var:3}/{var}": "pre://val/value",
    "list://{items*}/end": "list://a,b,c/end",
    "keys://x{?keys*}": "keys://x?semi=%3B&dot=.",
    "word://caf\u00e9/{name}": "word://caf%C3%A9/a",
}
#: templates whose values contain slashes, as servers mean them
SLASHES = {
    "contents://{path*}": "contents://foo/bar/baz.gif",
    "repo://{owner}/{repo}/{file*}": "repo://jlowin/fastmcp/src/fastmcp/main.py",
    "mid://{path*}/tpl": "mid://a/b/tpl",
    "plain://{path}": "plain:///etc/hosts",
    "resource://content/{path}": "resource://content/path/with/slashes",
}


@check("FRONT-075", timeout=40)
async def a_template_covers_what_it_generates(workbench: Workbench) -> None:
    await _must_cover(workbench, EXPANSIONS)


@check("FRONT-076", timeout=40)
async def a_template_covers_slashes_if_nothing_else_fits(workbench: Workbench) -> None:
    await _must_cover(workbench, SLASHES)


async def _must_cover(workbench: Workbench, uris: dict[str, str]) -> None:
    templates = [{"uriTemplate": template, "name": "any"} for template in uris]
    owner = workbench.stdio("owner", Script(templates=templates, on=[_READABLE]))
    other = workbench.stdio(
        "another", Script(templates=[{"uriTemplate": "other://{id}", "name": "x"}], on=[_READABLE])
    )
    async with workbench.serving(other, owner) as proxy:
        needs(proxy, "resources")
        for template, uri in uris.items():
            with workbench.case(f"the template {template}"):
                shown = await exposed_template(proxy, "owner", template)
                await _must_reach(workbench, proxy, shown.replace(template, uri), owner, other)
