"""SEC: what servers say, as it reaches the terminal and the log of the user, and the client."""

from __future__ import annotations

import json
import re
from functools import partial
from typing import TYPE_CHECKING

from conformance.checks import check
from conformance.errors import Untestable
from conformance.workbench.leak_scan import leaked
from conformance.workbench.listing_forms import definitions
from conformance.workbench.terminal import Terminal
from mock_servers.hostile.texts import (
    EVIL_TEXT,
    MARK,
    describes_itself_with_escapes,
    forges_log_lines,
    opens_the_terminal,
    repeats_its_arguments,
)
from mock_servers.script import Rule, Script, crash, error, stderr

if TYPE_CHECKING:
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.workbench import Workbench

# Only characters before the marker: a proxy may colour its own words.
_RAW = re.compile(f"({'|'.join(map(re.escape, filter(None, EVIL_TEXT.split(MARK))))}){MARK}")


@check("SEC-015", timeout=40)
async def no_server_writes_to_the_terminal_or_forges_a_log_line(workbench: Workbench) -> None:
    forges = workbench.stdio("forges", forges_log_lines())
    describes = workbench.stdio("describes", describes_itself_with_escapes())
    opens = workbench.stdio("opens", opens_the_terminal())
    env, serves_one = workbench.sut.profile.log_switch, workbench.sut.profile.upstreams == "one"
    async with workbench.proxy(forges, describes, env=env) as proxy:
        await proxy.handshake()
        with workbench.precondition("the servers are in use"):
            await proxy.ready(describes)
            failed = await _has_failed(proxy, "forges")
            workbench.expect(failed, "a server that refuses everything has failed", "it has tools")
        for group in ["describes"] if serves_one else ["describes", EVIL_TEXT]:
            await proxy.call(group, EVIL_TEXT if group == "describes" else "echo")
    with workbench.case("what servers and a client say"):
        _must_be_printable(workbench, proxy.stderr)
    with Terminal() as terminal:
        async with workbench.proxy(opens, terminal=terminal, env=env) as proxy:
            await proxy.handshake()
            with workbench.precondition("the proxy has a terminal, and the server is in use"):
                is_its_own = terminal.controls(proxy.pid)
                workbench.expect(is_its_own, f"its terminal is {terminal.name}", "another one, or none")
                await proxy.ready(opens)
            await proxy.call("opens", "attack")
            with workbench.precondition("the server has tried to open the terminal"):
                tries = opens.events("terminal")
                workbench.expect(tries, "an entry in its journal", opens.entries)
        with workbench.case("a server opens /dev/tty"):
            workbench.expect(tries[-1].data["error"], "an error", tries[-1].data)
            workbench.expect(MARK not in terminal.text, "nothing on the terminal", terminal.text)
    if workbench.sut.profile.single is not None:
        return  # the rest is about a configuration file
    folder = workbench.sandbox.configs
    named = workbench.config_text(json.dumps({"mcpServers": {EVIL_TEXT: {"command": EVIL_TEXT, "args": 5}}}))
    good = workbench.config(describes)

    async def refuses(what: str, **start: object) -> None:
        outcome = await workbench.run_to_exit(**start, within=3.0)  # type: ignore[arg-type]
        with workbench.case(what):
            _must_be_printable(workbench, outcome.stderr)

    await workbench.run_cases(
        partial(refuses, "an unknown option", config=good, args=[f"--x{EVIL_TEXT}"]),
        partial(refuses, "a path", config=folder / f"x{EVIL_TEXT}.json"),
        partial(refuses, "an invalid configuration", config=named),
    )


async def _has_failed(proxy: Proxy, group: str) -> bool:
    """Whether the proxy lists no tools of a group. A process that serves this group alone can have refused its handshake."""
    try:
        listed = await proxy.tools_of(group)
    except Untestable:
        return True
    return listed.is_error or not definitions(listed, "echo")


def _must_be_printable(workbench: Workbench, text: str) -> None:
    found = sorted({ascii(match[0]) for match in _RAW.finditer(text)})
    workbench.expect(not found, "no control character of others on stderr", found)


@check("SEC-016", timeout=40, slow=True)
async def what_a_dying_server_says_shows_no_value_of_the_configuration(workbench: Workbench) -> None:
    """The parts are alone on a line, and one arrives in two writes."""
    names = ("word", "option", "header", "password", "query", "first", "second", "url", "key")
    secrets = {name: f"canary-{name}-4711" for name in names}
    args = [
        secrets["word"],
        f"--token={secrets['option']}",
        f"Authorization: Bearer {secrets['header']}",
        f"https://jane:{secrets['password']}@example.com/?a=1&key={secrets['query']}",
    ]
    env = {"KEYS": f"{secrets['first']}\n{secrets['second']}"}
    half = len(secrets["word"]) // 2
    words = [
        stderr("usage: $args\n"),
        *(stderr(f"bad {secrets[name]}\n") for name in ("option", "header", "password", "query")),
        stderr(f"{secrets['first']} {secrets['second']} {secrets['word'][:half]}"),
        stderr(f"{secrets['word'][half:]}\n"),
        crash(3),
    ]
    whole = workbench.stdio("whole", repeats_its_arguments(), args=args, env=env)
    parts = workbench.stdio("parts", Script(startup=words), args=args, env=env)
    refusal = f"no access: {secrets['url']} {secrets['key']}"
    remotes, failing = [], ["parts"]
    if workbench.has_remotes:
        refuses = await workbench.remote("refuses", Script(on=[Rule("initialize", [error(-32000, refusal)])]))
        place = f"{refuses.url}?key={secrets['url']}"
        remotes, failing = (
            [refuses.variant(url=place, headers={"X-Key": secrets["key"]})],
            [*failing, "refuses"],
        )
    async with workbench.proxy(whole, parts, *remotes) as proxy:
        await proxy.handshake()
        with workbench.precondition("one server works, and the others fail at their start"):
            await proxy.ready(whole)
            for name in failing:
                workbench.expect(await _has_failed(proxy, name), f"group {name} has failed", "it has tools")
            reached = parts.starts and all(one.http for one in remotes)
            workbench.expect(reached, "all were reached", parts.entries)
        # The first death may be repaired before the next call; the second one has an answer of its own.
        answers = [await proxy.call("whole", "attack") for _ in range(3)]
        with workbench.precondition("a call that kills the server fails"):
            workbench.expect(all(answer.is_error for answer in answers), "an error each time", answers)
        for name in failing:
            await proxy.call(name, "echo")
    found = leaked(proxy.output, secrets)
    workbench.expect(not found, "no value of the configuration in a message to the client", found)
