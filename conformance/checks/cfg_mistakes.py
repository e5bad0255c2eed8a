"""CFG: mistakes in the configuration that a person makes by hand, and what the proxy says about them.

A refusal and a warning are both fine where the sources leave the choice. So the checks read the lines of stderr, and demand that one
line names the member and the mistake.
"""

from __future__ import annotations

import json
import re
from functools import partial
from typing import TYPE_CHECKING

from conformance.checks import check
from conformance.checks.common import must_refuse_to_start, must_work
from conformance.checks.rld import NOTICED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from conformance.workbench.workbench import Workbench

TWICE = r"twice|duplicat|more than once|repeat|already|ambiguous|not unique|unique"
#: the text of c:\temp\bvb with single backslashes, as it stands in the file
ONE_BACKSLASH = r'"c:\temp\bvb"'
TWO_BACKSLASHES = r'"c:\\temp\\bvb"'


def _lines(stderr: str, *patterns: str) -> list[str]:
    """The lines of stderr that match each of these."""
    return [
        line
        for line in stderr.splitlines()
        if all(re.search(pattern, line, re.IGNORECASE) for pattern in patterns)
    ]


def _entry(entry: Mapping[str, object], **changed: object) -> str:
    return json.dumps({**entry, **changed})


@check("CFG-020", timeout=60)
async def a_member_that_is_there_twice_is_never_lost_silently(workbench: Workbench) -> None:
    one, other = workbench.stdio("weather"), workbench.stdio("calendar")
    first, second = _entry(one.entry), _entry(other.entry)
    variable = _entry(one.entry, env={"REGION_NAME": "a"})
    limited = _entry(one.entry, timeout={"resources": "5s"})
    twice = {
        "weather": f'{{"mcpServers": {{"weather": {first},\n"weather": {second}}}}}',
        "mcpServers": f'{{"mcpServers": {{"weather": {first}}},\n"mcpServers": {{"calendar": {second}}}}}',
        "REGION_NAME": f'{{"mcpServers": {{"weather": {variable}}}}}'.replace(
            '"REGION_NAME": "a"', '"REGION_NAME": "a",\n"REGION_NAME": "b"'
        ),
        "resources": f'{{"mcpServers": {{"weather": {limited}}}}}'.replace(
            '"resources": "5s"', '"resources": "5s",\n"resources": "6s"'
        ),
    }

    async def must_be_reported(name: str, text: str) -> None:
        outcome = await workbench.run_to_exit(config=workbench.config_text(text))
        with workbench.case(f"{name} is there twice"):
            what = f"a line of stderr names {name} and says that it is there twice"
            workbench.expect(_lines(outcome.stderr, name, TWICE), what, outcome)

    await workbench.run_cases(*(partial(must_be_reported, name, text) for name, text in twice.items()))
    with workbench.precondition("the configuration with each member once works"):
        right = one.variant(env={"REGION_NAME": "a"}, timeout={"resources": "5s"})
        await must_work(workbench, one, other, config=workbench.config(right, other))


@check("CFG-021", timeout=40, slow=True)
async def a_member_that_is_there_twice_in_a_saved_file_is_reported_too(workbench: Workbench) -> None:
    upstream = workbench.stdio("weather")
    config = workbench.config(upstream)
    async with workbench.serving(upstream, config=config) as proxy:
        before = len(proxy.stderr)
        other, own = _entry(upstream.entry, description="The second one"), _entry(upstream.entry)
        text = f'{{"mcpServers": {{"weather": {other},\n"weather": {own}}}}}'
        workbench.config_text(text, name=config.name, folder=config.parent)
        await workbench.eventually(
            lambda: _lines(proxy.stderr[before:], "weather", TWICE),
            within=NOTICED,
            what="a line of stderr names weather and says that it is there twice",
        )
        answer = await proxy.call("weather", "add", {"a": 1, "b": 2})
        workbench.expect(not answer.is_error, "a call works after the save", answer.raw)
        pids = [start.pid for start in upstream.starts]
        workbench.expect(len(pids) == 1, "the process from before the save", pids)


@check("CFG-022", timeout=30)
async def all_mistakes_of_a_configuration_are_reported_at_once(workbench: Workbench) -> None:
    names = ("alpha", "bravo", "charlie", "delta")
    alpha, bravo, charlie, delta = upstreams = [workbench.stdio(name) for name in names]
    wrong = workbench.config(
        alpha.variant(comand="x"),
        bravo.variant(timeout={"toolz": "5s"}),
        charlie.variant(args=["a", 5], enabled=False),
        delta.variant("description"),
    )
    outcome = await workbench.run_to_exit(config=wrong)
    outcome.refused()
    for mistake in ("comand", "toolz", "charlie", "delta"):
        found = re.search(rf"\b{mistake}\b", outcome.stderr)
        workbench.expect(found, f"stderr names {mistake}", outcome)
    for upstream in upstreams:
        upstream.must_not_have_started()
    with workbench.precondition("the same configuration without mistakes works"):
        await must_work(workbench, *upstreams, config=workbench.config(*upstreams))


@check("CFG-023", timeout=30)
async def the_report_of_a_mistake_says_where_it_is_and_what_belongs_there(workbench: Workbench) -> None:
    upstream = workbench.stdio("weather", env={"REGION_NUMBER": "5"})
    right = workbench.config(upstream)
    lines = right.read_text(encoding="utf-8").replace("{", "{\n\n", 1).splitlines()
    (at,) = (number for number, line in enumerate(lines, 1) if "REGION_NUMBER" in line)
    lines[at - 1] = lines[at - 1].replace('"5"', "5")
    wrong = workbench.config_text("\n".join(lines))
    await must_refuse_to_start(workbench, "a number in env", wrong, "weather")
    outcome = await workbench.run_to_exit(config=wrong)
    for what, pattern in {
        "the name of the variable": "REGION_NUMBER",
        f"the line, {at}": rf"\b{at}\b",
        "the type that the member must have": r"\bstring\b",
    }.items():
        workbench.expect(_lines(outcome.stderr, pattern), f"stderr has {what}", outcome)
    with workbench.precondition("the same configuration with a string works"):
        await must_work(workbench, upstream, config=right)


@check("CFG-024", timeout=30, slow=True)
async def a_windows_path_that_lost_its_backslashes_is_pointed_out(workbench: Workbench) -> None:
    upstream = workbench.stdio("weather", args=["c:\\temp\\bvb"])
    config = workbench.config(upstream)
    text = config.read_text(encoding="utf-8")
    wrong = text.replace(TWO_BACKSLASHES, ONE_BACKSLASH)
    with workbench.precondition("the file has the path"):
        workbench.expect(wrong != text, TWO_BACKSLASHES, text)
    outcome = await workbench.run_to_exit(config=workbench.config_text(wrong))
    what = "a line of stderr names weather and a backslash"
    workbench.expect(_lines(outcome.stderr, "weather", r"backslash|\\"), what, outcome)
    async with workbench.serving(upstream, config=config) as proxy:
        given = upstream.starts[-1].args
        workbench.expect("c:\\temp\\bvb" in given, "the server gets the path", given)
        said = _lines(proxy.stderr, "weather", r"backslash|\\")
        workbench.expect(not said, "no such line for a path with two backslashes", said)
