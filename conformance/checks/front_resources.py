"""FRONT: resources and prompts of several upstreams behind one proxy: listing, routing, equal names."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from conformance.checks import check
from conformance.checks.common import must_be_callable
from conformance.checks.front_names import ALIKE_PROMPTS, must_keep_names_of_prompts
from conformance.workbench.exposed import (
    declared_methods,
    exposed_among,
    exposed_template,
    exposed_uri,
    find_exposed,
    needs,
)
from conformance.workbench.listing_forms import LISTS
from conformance.workbench.transcript import Json, part
from mock_servers.script import Rule, Script, error, on_call, reply, silence, sleep

if TYPE_CHECKING:
    from conformance.workbench.inbox import Answer
    from conformance.workbench.mocks import StdioMockUpstream
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.workbench import Workbench

RESOURCES: list[Json] = [
    {
        "uri": "mock://full",
        "name": "full",
        "title": "Every field",
        "description": "A resource with everything",
        "mimeType": "text/plain",
        "size": 7,
        "annotations": {"audience": ["assistant"], "priority": 1, "lastModified": "2025-01-01T00:00:00Z"},
        "icons": [{"src": "data:image/png;base64,AA==", "mimeType": "image/png"}],
        "_meta": {"example.invalid/note": [None, 1]},
    },
    {"uri": "mock://plain", "name": "plain"},
]
TEMPLATES: list[Json] = [
    {
        "uriTemplate": "notes://{year}/{name}",
        "name": "notes",
        "title": "Every field",
        "description": "A template with everything",
        "mimeType": "text/plain",
        "annotations": {"priority": 0},
        "icons": [{"src": "data:image/png;base64,AA=="}],
        "_meta": {"example.invalid/note": {}},
    }
]


OTHER: list[Json] = [{"uri": "other://one", "name": "one"}]
CASES: list[tuple[str, str, list[Json]]] = [
    ("resources/list", "resources", [*RESOURCES, *OTHER]),
    ("resources/templates/list", "resourceTemplates", TEMPLATES),
]


@check("FRONT-017", timeout=50, slow=True)
async def resource_lists_are_the_union_of_all_groups(workbench: Workbench) -> None:
    """More upstreams have no resources, or fail to list them with an error of their own."""
    full = workbench.stdio("full", Script(resources=RESOURCES, templates=TEMPLATES))
    other = workbench.stdio("other", Script(resources=OTHER))
    without = workbench.stdio("without")
    refusing = workbench.stdio("refusing", _listing_is(error(-32601, "Method not found")))
    failing = workbench.stdio("failing", _listing_is(error(-32050, "boom")))
    silent = workbench.stdio("silent", _listing_is(silence()), timeout={"resources": "10s"})
    async with workbench.serving(without, refusing, full, failing, other) as proxy:
        needs(proxy, "resources")
        for case in CASES:
            await _must_list_all(workbench, proxy, *case, within=2.0)

    async def beside_a_silent_one(*case: Any) -> None:
        # Each list has a session of its own: FRONT-047 judges whether one request waits for another.
        async with workbench.serving(silent, full, other) as proxy:
            await _must_list_all(workbench, proxy, *case, within=12.0)

    await workbench.run_cases(*(partial(beside_a_silent_one, *case) for case in CASES))


def _listing_is(*actions: Json) -> Script:
    lists = ("resources/list", "resources/templates/list")
    return Script(resources=[], templates=[], on=[Rule(method, list(actions)) for method in lists])


async def _must_list_all(
    workbench: Workbench, proxy: Proxy, method: str, member: str, wanted: list[Json], *, within: float
) -> None:
    shown = await proxy.items(method, member, within=within)
    workbench.expect(len(shown) == len(wanted), f"{method} holds {len(wanted)} entries", shown)
    key = LISTS[method][1]
    for entry in wanted:
        owner = "other" if entry in OTHER else "full"
        exposed = exposed_among(proxy.of(owner), method, shown, owner, entry[key])
        workbench.expect({**entry, key: exposed} in shown, f"{method} holds {entry} with all fields", shown)


@check("FRONT-018", timeout=30)
async def a_resource_is_read_from_the_group_that_owns_its_uri(workbench: Workbench) -> None:
    uris = ("mock://one/path", "mock://one/Path")
    listing = workbench.stdio("listing", Script(resources=[{"uri": uri, "name": uri} for uri in uris]))
    covering = workbench.stdio("covering", Script(templates=[{"uriTemplate": "x://{id}", "name": "x"}]))
    owners = {**dict.fromkeys(uris, listing), "x://42": covering}
    async with workbench.serving(listing, covering) as proxy:
        needs(proxy, "resources")
        template = await exposed_template(proxy, covering.name, "x://{id}")
        listed = [await exposed_uri(proxy, listing.name, uri) for uri in uris]
        shown = [*listed, template.replace("{id}", "42")]
        for (uri, owner), asked in zip(owners.items(), shown, strict=True):
            with workbench.case(f"reading {asked}"):
                answer = await proxy.request("resources/read", {"uri": asked}, within=10.0)
                contents = answer.member("contents")
                right = [
                    [{"uri": one, "mimeType": "text/plain", "text": f"contents of {uri}"}]
                    for one in (uri, asked)
                ]
                workbench.expect(contents in right, f"the contents from {owner.name}", answer.raw)
        for owner in (listing, covering):
            read = [request.param("uri") for request in owner.requests("resources/read")]
            own = [uri for uri in owners if owners[uri] is owner]
            workbench.expect(read == own, f"{owner.name} gets reads of {own} and of nothing else", read)


WHO: Json = {"name": "who", "title": "Who", "description": "To whom", "required": True}
GREET: Json = {
    "name": "greet",
    "title": "Greet",
    "description": "Greet",
    "arguments": [WHO],
    "_meta": {"a": None},
}
PART: Json = {"name": "part"}
#: what a client needs to know of a prompt and of its arguments
_NEEDED = ("name", "description", "arguments", "required")


@check("FRONT-019", timeout=30)
async def prompts_are_aggregated_and_routed_by_name(workbench: Workbench) -> None:
    first, second = (
        workbench.stdio("first", Script(prompts=[GREET])),
        workbench.stdio("second", Script(prompts=[PART, *ALIKE_PROMPTS])),
    )
    async with workbench.serving(first, second) as proxy:
        needs(proxy, "prompts")
        shown = await proxy.items("prompts/list", "prompts")
        names = {}
        for owner, prompt in ((first, GREET), (second, PART)):
            own = str(prompt["name"])
            names[own] = find_exposed([one.get("name") for one in shown], owner.name, own)
            wanted = _needed({**prompt, "name": names[own]})
            held = any(_is_like(_needed(one), wanted) for one in shown)
            workbench.expect(held, f"prompts/list holds {wanted}", shown)
        workbench.expect(
            len(shown) == 2 + len(ALIKE_PROMPTS),
            "prompts/list holds each prompt once, and nothing else",
            shown,
        )
        arguments = {"who": 'W\u00f6rld "\n\u2028', "empty": "", "number": "1"}
        answer = await proxy.request(
            "prompts/get", {"name": names["greet"], "arguments": arguments}, within=10.0
        )
        asked = [request.param("arguments") for request in first.requests("prompts/get")]
        workbench.expect(asked == [arguments], f"the owner gets the arguments {arguments}", asked)
        workbench.expect("prompt greet(" in answer.raw, "the messages of the prompt", answer.raw)
        workbench.expect(
            not second.requests("prompts/get"), "no other upstream gets the request", second.lines
        )
        other = await proxy.request("prompts/get", {"name": names["part"]}, within=10.0)
        workbench.expect("prompt part()" in other.raw, "the prompt of the other upstream", other.raw)
        await must_keep_names_of_prompts(workbench, proxy, second)


@check("FRONT-167")
async def prompt_definitions_reach_the_client_complete(workbench: Workbench) -> None:
    upstream = workbench.stdio("a", Script(prompts=[PART, GREET]))
    async with workbench.serving(upstream) as proxy:
        needs(proxy, "prompts")
        await must_be_callable(workbench, proxy, upstream)
        shown = await proxy.items("prompts/list", "prompts")
        for prompt in (PART, GREET):
            own = str(prompt["name"])
            name = find_exposed([one.get("name") for one in shown], upstream.name, own)
            held = any(_is_like(one, {**prompt, "name": name}) for one in shown)
            workbench.expect(held, f"prompts/list holds {prompt}", shown)


def _needed(definition: Any) -> Any:
    """The definition with those members alone that a client needs; one that is not required may say so."""
    if isinstance(definition, list):
        return [_needed(one) for one in definition]
    if not isinstance(definition, dict):
        return definition
    return {name: _needed(definition[name]) for name in _NEEDED if definition.get(name) not in (None, False)}


def _is_like(shown: Json, prompt: Json) -> bool:
    """Whether a list shows the prompt. A proxy may add members to `_meta`, and say that there are no arguments."""
    extra = {**(shown.get("_meta") or {}), **prompt.get("_meta", {})}
    expected = {**prompt, "arguments": prompt.get("arguments", []), "_meta": extra}
    return expected == {"arguments": [], "_meta": {}, **shown}


SAME = "same"
SAME_URI = "mock://same"
_RESTARTS = 10


@check("FRONT-020", slow=True, timeout=90)
async def equal_names_in_two_groups_stay_reachable(workbench: Workbench) -> None:
    """At each start one of the two upstreams is slow, in turn. This must not change the choice."""
    owners = [workbench.stdio(name, _says(name)) for name in ("zeta", "alpha")]
    config = workbench.config(*owners)
    choices: list[tuple[str, str]] = []
    for number in range(_RESTARTS):
        for place, owner in enumerate(owners):
            is_slow = number % len(owners) == place
            _says(owner.name, startup=[sleep(0.3)] if is_slow else []).save(owner.folder / "script.json")
        async with workbench.serving(*owners, config=config) as proxy:
            if not choices:
                await _must_reach_both(workbench, proxy, owners)
            prompt = await proxy.request("prompts/get", {"name": SAME})
            resource = await proxy.request("resources/read", {"uri": SAME_URI})
            choices.append((_who(prompt), _who(resource)))
    workbench.expect(
        len(set(choices)) == 1, "every start takes the same prompt and resource by default", choices
    )


def _says(name: str, **how: Any) -> Script:
    said = {"type": "text", "text": f"said by {name}"}
    return Script(
        resources=[{"uri": SAME_URI, "name": SAME}],
        prompts=[{"name": SAME}],
        contents={SAME_URI: [{"uri": SAME_URI, "text": said["text"]}]},
        on=[
            on_call("echo", reply({"content": [said]})),
            Rule("prompts/get", [reply({"messages": [{"role": "user", "content": said}]})]),
        ],
        **how,
    )


def _who(answer: Answer) -> str:
    """The upstream that has answered. A refusal counts as a choice."""
    spoke = [name for name in ("zeta", "alpha") if f"said by {name}" in answer.raw]
    return " and ".join(spoke) or "nobody"


async def _must_reach_both(workbench: Workbench, proxy: Proxy, owners: list[StdioMockUpstream]) -> None:
    """Raise `Violation` unless each owner is reachable by a name that the lists show, or by the bare name with its group."""
    tools = [await proxy.call(owner.name, "echo") for owner in owners]
    lists = declared_methods(proxy, ("prompts/list", "resources/list"))
    prompts, resources = [
        await proxy.items(method, LISTS[method][0]) if method in lists else []
        for method in ("prompts/list", "resources/list")
    ]
    groups = [owner.name for owner in owners]
    ways: dict[str, list[Json]] = {
        "prompts/get": [{"name": part(prompt, "name")} for prompt in prompts]
        + [{"name": SAME, "group": group} for group in groups],
        "resources/read": [{"uri": part(resource, "uri")} for resource in resources]
        + [{"uri": SAME_URI, "group": group} for group in groups],
    }
    reached = {"tools/call": [_who(answer) for answer in tools]}
    for method in declared_methods(proxy, ways):
        tries = ways[method]
        reached[method] = [_who(await proxy.request(method, params)) for params in tries]
    for method, whom in reached.items():
        workbench.expect(set(groups) <= set(whom), f"{method} can reach both {groups}", whom)
