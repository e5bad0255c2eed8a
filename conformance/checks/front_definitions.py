"""FRONT: the answer of the listing tool: its form, the instructions of the upstream, large groups, and the search."""

from __future__ import annotations

import json
import random
import re
from typing import TYPE_CHECKING, Any

from conformance.checks import check
from conformance.checks.common import must_be_callable
from conformance.errors import NotApplicable
from conformance.workbench.launcher import random_name
from conformance.workbench.listing_forms import BY_NAME, BY_WORDS, definitions, listing_text, selecting
from mock_servers.script import Script, tool

if TYPE_CHECKING:
    from collections.abc import Collection

    from conformance.workbench.inbox import Answer
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.workbench import Workbench

#: characters of an answer that the clients in the sources show
MAX_ANSWER = 10_000
#: characters of an answer with long instructions, and of these instructions
MAX_INSTRUCTED = 20_000
INSTRUCTIONS = 200_000
NOUNS = ("Invoice", "Customer", "Parcel", "Contract", "Meeting")


@check("FRONT-100")
async def the_tools_of_a_group_are_an_object(workbench: Workbench) -> None:
    upstream = workbench.stdio("a")
    async with workbench.serving(upstream) as proxy:
        for name in upstream.tool_names:
            workbench.expect(await proxy.definitions_of("a", name), f"the definition of {name}", "none")
        answer = await proxy.tools_of("a")
        values = [value for block in answer.member("content") or [] if (value := _json_in(block)) is not None]
        if "structuredContent" in answer.result:
            values.append(answer.result["structuredContent"])
        for value in values:
            workbench.expect(isinstance(value, dict), "each JSON value is an object", answer.raw)


def _json_in(block: Any) -> Any:
    try:
        return json.loads(block["text"])
    except (TypeError, KeyError, ValueError):
        return None


@check("FRONT-101")
async def instructions_reach_the_client(workbench: Workbench) -> None:
    words = {era: random_name() for era in workbench.eras()}
    told = [
        workbench.stdio(era, Script(era=era, instructions=f"Call echo before {word}."))
        for era, word in words.items()
    ]
    silent = workbench.stdio("silent")
    async with workbench.serving(*told, silent) as proxy:
        for upstream, word in zip(told, words.values(), strict=True):
            with workbench.case(f"the {upstream.name} upstream"):
                own = proxy.of(upstream.name)
                greeting = own.greeting.raw if own.greeting else ""
                of_proxy = f"{greeting}{(await own.request('tools/list', {})).raw}"
                await must_be_callable(workbench, proxy, upstream)
                listing = await proxy.tools_of(upstream.name)
                shown = listing_text(listing) + of_proxy
                workbench.expect(word in shown, "its instructions", f"{of_proxy}\n{listing.raw}")
        listing = await proxy.tools_of("silent")
        foreign = [word for word in words.values() if word in listing_text(listing)]
        what = "no instructions of other servers with the tools of a group"
        workbench.expect(not foreign, what, listing.raw)


@check("FRONT-102")
async def long_instructions_are_bounded(workbench: Workbench) -> None:
    word = random_name()
    text = f"Call echo before {word}. " + "More to know. " * (INSTRUCTIONS // 14)
    upstream = workbench.stdio("a", Script(instructions=text))
    async with workbench.serving(upstream) as proxy:
        await must_be_callable(workbench, proxy, upstream)
        shown = listing_text(await proxy.tools_of("a"))
        greeting = proxy.greeting.raw if proxy.greeting else ""
        with workbench.precondition("the instructions reach the client"):
            workbench.expect(word in shown + greeting, "their beginning", shown)
        workbench.expect(len(shown) <= MAX_INSTRUCTED, f"at most {MAX_INSTRUCTED:,} characters", len(shown))
        for name in upstream.tool_names:
            workbench.expect(await proxy.definitions_of("a", name), f"the definition of {name}", shown)


def _large(name: str, description: str) -> dict[str, Any]:
    """A tool with a definition of about a thousand characters, which ends with a random word."""
    words = ["Decides about one of the many details of this call"] * 15
    schema = {"type": "object", "properties": {"detail": {"description": " ".join([*words, random_name()])}}}
    return {"name": name, "description": description, "inputSchema": schema}


@check("FRONT-103")
async def a_large_group_fits(workbench: Workbench) -> None:
    tools = {
        name: _large(name, f"Does step {number}") for number in range(60) if (name := f"step_{number:02}")
    }
    upstream = workbench.stdio("a", Script(tools=[*tools.values()]))
    async with workbench.serving(upstream) as proxy:
        text = listing_text(await proxy.tools_of("a"))
        workbench.expect(len(text) <= MAX_ANSWER, f"at most {MAX_ANSWER:,} characters", len(text))
        missing = [name for name in tools if name not in text]
        workbench.expect(not missing, "the name of each tool", text)
        for name in ("step_00", "step_31", "step_59"):
            selection = selecting(await proxy.listing_tool(), BY_NAME, name)
            workbench.expect(selection, f"an argument for a name, such as one of {BY_NAME}", "none")
            answer = await proxy.tools_of("a", **selection)
            seen = definitions(answer, name)
            workbench.expect(seen == [tools[name]], f"the complete definition of {name}", answer.raw)
            await must_be_callable(workbench, proxy, upstream, name)


#: the tools of the search, and the search that each of them answers best
SEARCHED = {
    "theme_manage": ("Changes the colours of the pages that others see here", None),
    "create_issue_comment": ("Adds a comment to an issue that somebody has created", "issue comments"),
    "update_issue": ("Changes the fields of an issue", "updating an issue"),
    "create_issue": ("Creates an issue", "CREATE ISSUE"),
    "list_branches": ("Shows what the others do", "branch list"),
    "delete_branch": ("Removes it for good", "deleted branches"),
    "create_pull_request": ("Asks others to review", "please open a new pull request"),
    "send_message": ("Writes to a person. Then the hem of the text is cut", "hem"),
    "getWeather": ("Zeigt das Wetter in Gro\u00dfst\u00e4dten", "GROSSSTA\u0308DTEN"),
    "read": (
        "\u30d5\u30a1\u30a4\u30eb\u306e\u5185\u5bb9\u3092\u8aad\u307f\u53d6\u308a\u307e\u3059",
        "\u30d5\u30a1\u30a4\u30eb",
    ),
}


@check("FRONT-104")
async def the_best_match_comes_first(workbench: Workbench) -> None:
    tools = [tool(name, description) for name, (description, _) in SEARCHED.items()]
    upstream = workbench.stdio("a", Script(tools=tools))
    async with workbench.serving(upstream) as proxy:
        await must_be_callable(workbench, proxy, upstream, "create_issue")
        for best, (_, search) in SEARCHED.items():
            if search is not None:
                with workbench.case(f"the search {search!r}"):
                    answer = await _search(proxy, "a", search)
                    first = _names_in(answer, SEARCHED)[:1]
                    workbench.expect(first == [best], f"{best} comes first", answer.raw)
                    # With the whole list, the first name says nothing.
                    shown = len(_names_in(answer, SEARCHED))
                    workbench.expect(shown < len(tools), "not every tool matches", answer.raw)


async def _search(proxy: Proxy, group: str, words: str) -> Answer:
    """The answer to a search. Raises `NotApplicable` if the listing tool has no argument for it."""
    selection = selecting(await proxy.listing_tool(), BY_WORDS, words)
    if not selection:
        raise NotApplicable(f"its listing tool has none of the arguments {', '.join(BY_WORDS)}")
    return await proxy.tools_of(group, **selection)


def _names_in(answer: Answer, names: Collection[str]) -> list[str]:
    """Those of the names that the answer contains, in the order of their first places."""
    return [word for word in dict.fromkeys(re.findall(r"\w+", listing_text(answer))) if word in names]


@check("FRONT-105")
async def a_thousand_tools_stay_usable(workbench: Workbench) -> None:
    names = [f"{noun.lower()}_{number:03}" for number in range(200) for noun in NOUNS]
    tools = [tool(name, f"Handles {name.replace('_', ' number ')} of the archive") for name in names]
    wanted = f"{random.choice(NOUNS)}Rescue{random_name()}"
    tools.insert(random.randrange(700, 900), tool(wanted, "Restores lost papers"))
    upstream = workbench.stdio("a", Script(tools=tools))
    async with workbench.serving(upstream) as proxy:
        everything = await proxy.tools_of("a")
        _must_be_bounded(workbench, everything, {*names, wanted})
        broad = await _search(proxy, "a", "archive")
        with workbench.case("a search for a word of all tools"):
            _must_be_bounded(workbench, broad, {*names})
        narrow = await _search(proxy, "a", "restore papers")
        first = _names_in(narrow, {*names, wanted})[:1]
        workbench.expect(first == [wanted], f"the search shows {wanted} first", narrow.raw)
        definition = await proxy.definitions_of("a", wanted)
        workbench.expect(definition, f"the definition of {wanted}", narrow.raw)
        await must_be_callable(workbench, proxy, upstream, wanted)


def _must_be_bounded(workbench: Workbench, answer: Answer, names: Collection[str]) -> None:
    text = listing_text(answer)
    workbench.expect(len(text) <= MAX_ANSWER, f"at most {MAX_ANSWER:,} characters", len(text))
    shown = len(_names_in(answer, names))
    numbers = {int(number.replace(",", "")) for number in re.findall(r"\b\d[\d,]*\b", text)}
    known = {len(names), len(names) - shown}
    workbench.expect(
        numbers & known or shown == len(names), f"{shown} names, and one of the numbers {known}", text
    )
