"""HARD: the environment, the limits and the command prefix of a child.

A child with a limited environment keeps the variable by which the workbench finds its processes.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any

from conformance.checks import check
from conformance.checks.rld import must_be_added
from conformance.workbench.sandbox import TOKEN_VARIABLE
from mock_servers.journal import resource_limits
from mock_servers.script import Grandchild, Script, allocate, compute, crash, on_call

if TYPE_CHECKING:
    from conformance.workbench.mocks import StdioMockUpstream
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.workbench import Workbench

MEMORY = 256 << 20
CPU_TIME = 1
OPEN_FILES = 100
PROCESSES = 5000

#: what programs need on the platforms of these checks; the mock's interpreter may add one of them
NEEDED = re.compile(
    r"(HOME|LANG|LC_\w+|LOGNAME|PATH|PWD|SHELL|TERM|TMPDIR|TZ|USER|__CF_USER_TEXT_ENCODING|SYSTEMROOT)"
)
SHIM = """#!/bin/sh
for word in "$@"; do printf '%s\\n' "$word" >> "{log}"; done
printf '\\n' >> "{log}"
exec "$@"
"""


@check("HARD-007", timeout=40, slow=True)
async def the_environment_of_a_child_can_be_limited(workbench: Workbench) -> None:
    """The list has names and a prefix. The server's `env` may refer to a variable that is not on the list.

    A save adds a server with the same list, which starts again after a crash.
    """
    allowed = ["LISTED", "FAMILY_*", "ABSENT", TOKEN_VARIABLE]
    own = {"OWN": "own", "LISTED_TOO": "from-${UNLISTED}"}

    def limited(name: str, script: Script | None = None) -> StdioMockUpstream:
        settings = workbench.sut.profile.configured(environment=allowed)
        return workbench.stdio(name, script, env=own, **settings)

    first, later = limited("limited"), limited("later", Script(on=[on_call("echo", crash())]))
    free = workbench.stdio("free")
    given = {
        "LISTED": "1",
        "LISTED_LONGER": "2",
        "FAMILY_A": "3",
        "FAMILY_": "4",
        "FAMILYB": "5",
        "UNLISTED": "6",
        "AWS_SECRET_ACCESS_KEY": "7",
        "TERM": "dumb",
        "LC_TIME": "C",
    }
    config = workbench.config(first, free)
    async with workbench.serving(first, free, config=config, env=given) as proxy:
        if workbench.reloads:
            workbench.save(config, first, free, later)
            await _must_start_twice(workbench, proxy, later)
    all_of_it = free.starts[-1].env
    with workbench.case("the child without a list"):
        workbench.expect(given.items() <= all_of_it.items(), f"all of {given}", all_of_it)
    platform = {name: value for name, value in all_of_it.items() if NEEDED.fullmatch(name)}
    expected = {name: given[name] for name in ("LISTED", "FAMILY_A", "FAMILY_")}
    expected |= {"OWN": "own", "LISTED_TOO": "from-6"}
    starts = {
        "a child": first.starts,
        "a start after a reload": later.starts[:1],
        "a start after a crash": later.starts[1:],
    }
    for what, start in ((what, start) for what, those in starts.items() for start in those):
        with workbench.case(what):
            _must_be_limited(workbench, start.env, expected, platform)


async def _must_start_twice(workbench: Workbench, proxy: Proxy, added: StdioMockUpstream) -> None:
    """Wait for an added server, end it by a call of `echo`, and wait for its second start. Raises `Untestable`."""
    with workbench.precondition("a server that a save adds starts, and starts again after a crash"):
        await must_be_added(workbench, proxy, added)
        await proxy.call(added.name, "echo")
        await proxy.ready(added)
        await workbench.eventually(lambda: len(added.starts) > 1, within=10.0, what="a second start")


def _must_be_limited(
    workbench: Workbench, seen: dict[str, str], expected: dict[str, str], platform: dict[str, str]
) -> None:
    got = {name: seen.get(name) for name in expected}
    workbench.expect(got == expected, f"the variables {expected}", got)
    for name in ("PATH", "HOME"):
        workbench.expect(seen.get(name) == platform[name], f"{name}={platform[name]}", seen.get(name))
    foreign = sorted(set(seen) - set(expected) - {TOKEN_VARIABLE} - set(platform))
    workbench.expect(not foreign, "no other variable of the proxy", foreign)


@check("HARD-008", timeout=60, slow=True)
async def resources_of_a_child_can_be_limited(workbench: Workbench) -> None:
    """More upstreams exceed their memory, or their CPU time, in a call. A save adds another one with limits."""

    def limited(name: str, script: Script, **limits: int) -> StdioMockUpstream:
        return workbench.stdio(name, script, **workbench.sut.profile.configured(limits=limits))

    every = {"memory": MEMORY, "cpu_time": CPU_TIME + 20, "open_files": OPEN_FILES, "processes": PROCESSES}
    reads = limited("reads", Script(grandchildren=[Grandchild()]), **every)
    later, free = limited("later", Script(), **every), workbench.stdio("free")
    # The mock requests this memory without touching it, so a missing limit uses up no memory.
    much = allocate(4 * MEMORY)
    starting = limited("starting", Script(startup=[much]), memory=MEMORY)
    calling = limited("calling", Script(on=[on_call("echo", much)]), memory=MEMORY)
    busy = limited("busy", Script(on=[on_call("echo", compute(CPU_TIME + 5.0))]), cpu_time=CPU_TIME)
    config = workbench.config(reads, free, starting, calling, busy)

    async def a_server_that_a_save_adds() -> None:
        with workbench.precondition("an added server works"):
            await must_be_added(workbench, proxy, later)
        _must_have_limits(workbench, later.starts[-1].limits, every)

    async with workbench.proxy(config=config) as proxy:
        await proxy.handshake()
        with workbench.precondition("the upstreams that keep to their limits work"):
            await proxy.ready(reads, free, calling, busy)
        with workbench.case("the child"):
            _must_have_limits(workbench, reads.starts[-1].limits, every)
        with workbench.case("its grandchild"):
            _must_have_limits(workbench, reads.events("grandchild-start")[-1].data["limits"], every)
        with workbench.case("a child without limits of its own"):
            ours = {name: list(limits) for name, limits in resource_limits().items()}
            others = free.starts[-1].limits
            workbench.expect(others == ours, "the limits of the proxy at its start", others)
        if workbench.reloads:
            workbench.save(config, reads, free, starting, calling, busy, later)
        await workbench.run_cases(
            *([a_server_that_a_save_adds] if workbench.reloads else []),
            partial(_must_die_of, workbench, starting, "memory", proxy.tools_of),
            partial(_must_die_of, workbench, calling, "memory", partial(proxy.call, tool="echo")),
            partial(
                _must_die_of, workbench, busy, r"cpu.?time", partial(proxy.call, tool="echo", within=30.0)
            ),
        )


def _must_have_limits(workbench: Workbench, seen: dict[str, list[int]], every: dict[str, int]) -> None:
    """Raise `Violation` for a missing limit. A memory limit may apply to writable memory or to mapped memory."""
    kinds = {
        "memory": ("data", "as"),
        "cpu_time": ("cpu",),
        "open_files": ("nofile",),
        "processes": ("nproc",),
    }
    for name, value in every.items():
        soft = {kind: seen[kind][0] for kind in kinds[name] if kind in seen}
        workbench.expect(value in soft.values(), f"{value} for {name}", soft)


async def _must_die_of(workbench: Workbench, upstream: StdioMockUpstream, limit: str, ask: Any) -> None:
    """Raise `Violation` unless the upstream dies, and the answer about it names the limit."""
    answer = await ask(upstream.name)
    with workbench.case(upstream.name):
        workbench.expect(not upstream.alive or len(upstream.starts) > 1, "the process dies", upstream.alive)
        named = answer.is_error and re.search(limit, answer.text, re.IGNORECASE)
        workbench.expect(named, f"an error that names the limit /{limit}/", answer.raw)


@check("HARD-010", timeout=40, slow=True)
async def a_server_can_be_started_behind_a_command_prefix(workbench: Workbench) -> None:
    """The prefix also runs at the start after a crash, and at that of a server that a save adds."""
    log, shim = workbench.sandbox.root / "shim.log", workbench.sandbox.root / "shim"
    shim.write_text(SHIM.format(log=log))
    shim.chmod(0o755)
    missing = workbench.sandbox.root / "no-such-program"
    words = ["one argument", "$HOME"]

    def prefixed(name: str, prefix: list[str], script: Script | None = None) -> StdioMockUpstream:
        settings = workbench.sut.profile.configured(command_prefix=prefix)
        return workbench.stdio(name, script, args=words, **settings)

    behind = prefixed("behind", [str(shim), "/usr/bin/env"], Script(on=[on_call("echo", crash())]))
    bare = prefixed("bare", [str(missing)])
    later, free = prefixed("later", [str(shim)]), workbench.stdio("free")
    config = workbench.config(behind, bare, free)
    async with workbench.proxy(config=config) as proxy:
        await proxy.handshake()
        with workbench.must("a server behind a prefix that runs it works"):
            await proxy.ready(behind, free)
        expected = ["/usr/bin/env", behind.entry["command"], *behind.entry["args"]]
        workbench.expect(log.exists(), "the program of the prefix starts", "it never did")
        called = log.read_text().split("\n\n")[0].splitlines()
        workbench.expect(called == expected, f"the prefix gets {expected}", called)
        seen = behind.starts[-1].args
        workbench.expect(seen == words, f"the server's own arguments {words}", seen)
        await proxy.call("behind", "echo")
        with workbench.precondition("the server comes back after a crash"):
            what = "a second start"
            await workbench.eventually(lambda: len(behind.starts) > 1, within=10.0, what=what)
        if workbench.reloads:
            workbench.save(config, behind, bare, free, later)
            with workbench.precondition("an added server works"):
                await must_be_added(workbench, proxy, later)
        calls, starts = log.read_text().count("\n\n"), len(behind.starts) + len(later.starts)
        workbench.expect(calls == starts, f"the prefix runs at each of {starts} starts", calls)
        answer = await proxy.tools_of("bare")
        workbench.expect(answer.is_error, "the group with a missing prefix has failed", answer.raw)
        workbench.expect(missing.name in answer.text, f"the reason names {missing.name}", answer.text)
        await workbench.holds_for(2.5, bare.must_not_have_started)
