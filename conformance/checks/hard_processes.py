"""HARD: the environment, the limits and the command prefix of a child.

A child with a limited environment keeps the variable by which the workbench finds its processes.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any

from conformance.checks import check
from conformance.workbench.sandbox import TOKEN_VARIABLE
from mock_servers.journal import resource_limits
from mock_servers.script import Grandchild, Script, allocate, compute, crash, on_call

if TYPE_CHECKING:
    from conformance.workbench.mocks import StdioMockUpstream
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


@check("HARD-007")
async def the_environment_of_a_child_can_be_limited(workbench: Workbench) -> None:
    """The list has names and a prefix. The server's `env` may refer to a variable that is not on the list."""
    allowed = ["LISTED", "FAMILY_*", "ABSENT", TOKEN_VARIABLE]
    own = {"OWN": "own", "LISTED_TOO": "from-${UNLISTED}"}
    limited = workbench.stdio("limited", env=own, **workbench.sut.profile.configured(environment=allowed))
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
    async with workbench.serving(limited, free, env=given):
        seen, all_of_it = limited.starts[-1].env, free.starts[-1].env
    with workbench.case("the child without a list"):
        workbench.expect(given.items() <= all_of_it.items(), f"all of {given}", all_of_it)
    platform = {name: value for name, value in all_of_it.items() if NEEDED.fullmatch(name)}
    expected = {name: given[name] for name in ("LISTED", "FAMILY_A", "FAMILY_")}
    expected |= {"OWN": "own", "LISTED_TOO": "from-6"}
    got = {name: seen.get(name) for name in expected}
    workbench.expect(got == expected, f"the variables {expected}", got)
    for name in ("PATH", "HOME"):
        workbench.expect(seen.get(name) == platform[name], f"{name}={platform[name]}", seen.get(name))
    foreign = sorted(set(seen) - set(expected) - {TOKEN_VARIABLE} - set(platform))
    workbench.expect(not foreign, "no other variable of the proxy", foreign)


@check("HARD-008", timeout=60, slow=True)
async def resources_of_a_child_can_be_limited(workbench: Workbench) -> None:
    """More upstreams exceed their memory, or their CPU time, in a call."""

    def limited(name: str, script: Script, **limits: int) -> StdioMockUpstream:
        return workbench.stdio(name, script, **workbench.sut.profile.configured(limits=limits))

    every = {"memory": MEMORY, "cpu_time": CPU_TIME + 20, "open_files": OPEN_FILES, "processes": PROCESSES}
    reads = limited("reads", Script(grandchildren=[Grandchild()]), **every)
    free = workbench.stdio("free")
    # The mock requests this memory without touching it, so a missing limit uses up no memory.
    much = allocate(4 * MEMORY)
    starting = limited("starting", Script(startup=[much]), memory=MEMORY)
    calling = limited("calling", Script(on=[on_call("echo", much)]), memory=MEMORY)
    busy = limited("busy", Script(on=[on_call("echo", compute(CPU_TIME + 5.0))]), cpu_time=CPU_TIME)
    async with workbench.proxy(reads, free, starting, calling, busy) as proxy:
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
        await workbench.run_cases(
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
    """The prefix also runs at the start after a crash."""
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
    free = workbench.stdio("free")
    async with workbench.proxy(behind, bare, free) as proxy:
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
        calls = log.read_text().count("\n\n")
        workbench.expect(calls == len(behind.starts), "the prefix runs at each start", calls)
        answer = await proxy.tools_of("bare")
        workbench.expect(answer.is_error, "the group with a missing prefix has failed", answer.raw)
        workbench.expect(missing.name in answer.text, f"the reason names {missing.name}", answer.text)
        await workbench.holds_for(2.5, bare.must_not_have_started)
