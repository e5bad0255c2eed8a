"""CFG: finding the configuration file and reading its fields.

A proxy that refuses every configuration, or never starts an upstream, would pass a check of a refusal. So
each such check has a precondition: the valid twin of the same configuration works.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from conformance.checks import check
from conformance.checks.common import must_refuse_to_start, must_work

if TYPE_CHECKING:
    from conformance.workbench.mocks import StdioMockUpstream
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.remotes import RemoteMockUpstream
    from conformance.workbench.workbench import Workbench

CONFIG_VARIABLE = "DYNAMIC_MCP_CONFIG"
#: an entry of a server behind a URL; the checks that use it never start the proxy, or have it disabled
_REMOTE = {"description": "A server behind a URL", "url": "http://127.0.0.1:9/mcp"}


@check("CFG-001", timeout=30)
async def without_a_named_configuration_the_proxy_refuses_to_start(workbench: Workbench) -> None:
    places = [
        workbench.sandbox.cwd / "config.json",
        workbench.sandbox.cwd / "dynamic-mcp.json",
        workbench.sandbox.cwd / ".mcp.json",
        workbench.sandbox.cwd / "mcp.json",
        workbench.sandbox.cwd / "servers.json",
        workbench.sandbox.cwd / "config" / "config.json",
        workbench.sandbox.home / ".mcp.json",
        workbench.sandbox.home / ".dynamic-mcp" / "config.json",
        workbench.sandbox.home / ".config" / "dynamic-mcp" / "config.json",
    ]
    decoys = [workbench.stdio(f"decoy{number}") for number, _ in enumerate(places)]
    for decoy, place in zip(decoys, places, strict=True):
        workbench.config(decoy, folder=place.parent, name=place.name)
    (await workbench.run_to_exit(args=[])).refused("usage|config")
    for decoy in decoys:
        decoy.must_not_have_started()
    with workbench.precondition("a decoy works when it is named"):
        await must_work(workbench, decoys[0], config=places[0])


@check("CFG-002", timeout=30, slow=True)
async def the_argument_beats_the_environment(workbench: Workbench) -> None:
    chosen, other = workbench.stdio("chosen"), workbench.stdio("other")
    other_config = workbench.config(other)
    async with workbench.proxy(chosen, env={CONFIG_VARIABLE: str(other_config)}) as proxy:
        await proxy.handshake()
        with workbench.must("the proxy loads the file that the argument names"):
            await proxy.ready(chosen)
        await workbench.holds_for(3.0, other.must_not_have_started)
        groups = await proxy.groups("chosen", "other")
        workbench.expect("other" not in groups, "no group of the file named by the variable", groups)
    with workbench.precondition("the other file works when the argument names it"):
        await must_work(workbench, other, config=other_config)


@check("CFG-003", timeout=30)
async def the_environment_variable_alone_is_enough_unless_it_is_empty(workbench: Workbench) -> None:
    upstream = workbench.stdio("a")
    config = workbench.config(upstream)
    with workbench.must("the proxy loads the file that the variable names"):
        await must_work(workbench, upstream, args=[], env={CONFIG_VARIABLE: str(config)})
    with workbench.case("the variable is empty"):
        (await workbench.run_to_exit(args=[], env={CONFIG_VARIABLE: ""})).refused("usage|config")


@check("CFG-004", timeout=40, slow=True)
async def any_path_the_operating_system_can_open_is_accepted(workbench: Workbench) -> None:
    upstreams = [workbench.stdio(f"a{number}") for number in range(6)]
    plain, near, spaced, foreign, linked, bare = upstreams
    with workbench.precondition("an absolute path of plain letters works"):
        await must_work(workbench, plain, config=workbench.config(plain))
    link = workbench.sandbox.configs / "link.json"
    link.symlink_to(workbench.config(linked))
    paths = {
        "a relative path": (near, Path("..") / workbench.config(near).relative_to(workbench.sandbox.root)),
        "a path with spaces": (spaced, workbench.config(spaced, name="my servers.json")),
        "a path with non-ASCII letters": (foreign, workbench.config(foreign, name="Köln-設定.json")),
        "a symbolic link": (linked, link),
        "a name without .json": (bare, workbench.config(bare, name="servers.conf")),
    }

    async def must_load(what: str, upstream: StdioMockUpstream, path: Path) -> None:
        with workbench.must(f"the proxy loads {what}"):
            await must_work(workbench, upstream, config=path)

    await workbench.run_cases(*(partial(must_load, what, *pair) for what, pair in paths.items()))


@check("CFG-005", timeout=30, slow=True)
async def a_file_that_is_not_json_ends_the_start(workbench: Workbench) -> None:
    upstream = workbench.stdio("a")
    remotes = [await workbench.http("b")] if workbench.has("HTTP") else []
    valid = workbench.config(upstream, *remotes)
    text = valid.read_bytes().rstrip()
    broken = {
        "a stray brace": b"{bad",
        "an empty file": b"",
        "an array": b"[]",
        "a truncated configuration": text[:-1],
        "a comment": b"// the servers\n" + text,
        "a comment between members": text.replace(b",", b", /* next */", 1),
        "a trailing comma": text[:-1] + b",}",
        "invalid UTF-8": text.replace(b"The a upstream", b"The \xff upstream"),
    }
    await workbench.run_cases(
        *(
            partial(must_refuse_to_start, workbench, what, workbench.config_text(content))
            for what, content in broken.items()
        )
    )
    upstream.must_not_have_started()
    for remote in remotes:
        remote.saw_nothing()
    with workbench.precondition("the whole configuration works"):
        await must_work(workbench, upstream, *remotes, config=valid)


@check("CFG-006", timeout=30)
async def a_server_entry_without_its_required_fields_is_rejected(workbench: Workbench) -> None:
    upstream = workbench.stdio("a")
    remote = json.dumps({"mcpServers": {"b": {"url": "http://127.0.0.1:9/mcp"}}})
    await workbench.run_cases(
        partial(
            must_refuse_to_start,
            workbench,
            "no description",
            workbench.config(upstream.variant("description")),
            "description",
        ),
        partial(
            must_refuse_to_start,
            workbench,
            "url, no description",
            workbench.config_text(remote),
            "description",
        ),
        partial(
            must_refuse_to_start,
            workbench,
            "no command, no url",
            workbench.config(upstream.variant("command", "args")),
            "command|url",
        ),
        partial(
            must_refuse_to_start,
            workbench,
            "disabled, no description",
            workbench.config(upstream, workbench.stdio("off", enabled=False).variant("description")),
            "description",
        ),
    )
    upstream.must_not_have_started()
    with workbench.precondition("the complete entry works"):
        await must_work(workbench, upstream, config=workbench.config(upstream))


@check("CFG-007", timeout=30, slow=True)
async def unknown_fields_are_rejected_at_every_level(workbench: Workbench) -> None:
    upstream, off = workbench.stdio("a"), workbench.stdio("off", enabled=False)
    remote = workbench.stdio("remote").with_entry(_REMOTE)
    misspelt = {
        "mcpServerz": workbench.config(upstream, extra={"mcpServerz": {}}),
        "enabeld": workbench.config(upstream.variant(enabeld=True)),
        "toolz": workbench.config(upstream.variant(features={"toolz": True})),
        "resorces": workbench.config(upstream.variant(timeout={"resorces": "5s"})),
        "oauth_scopez": workbench.config(upstream, remote.variant(oauth_scopez=[])),
        "comand": workbench.config(upstream, off.variant(comand="x")),
    }
    await workbench.run_cases(
        *(
            partial(must_refuse_to_start, workbench, f"the key {key}", config, key)
            for key, config in misspelt.items()
        )
    )
    upstream.must_not_have_started()
    with workbench.precondition("the same entry works when nothing is misspelt"):
        right = upstream.variant(enabled=True, features={"tools": True}, timeout={"resources": "5s"})
        also = (remote.variant(headers={}, enabled=False), off)
        await must_work(workbench, upstream, config=workbench.config(right, *also))
    with workbench.must("$schema at the root is allowed"):
        schema = {"$schema": "https://example.invalid/config-schema.json"}
        await must_work(workbench, upstream, config=workbench.config(upstream, extra=schema))


@check("CFG-008", timeout=30, slow=True)
async def the_fields_of_an_entry_select_its_transport(workbench: Workbench) -> None:
    upstream = workbench.stdio("a")
    wrong = {
        "type stdio with url": {**_REMOTE, "type": "stdio"},
        "type http with command": {**upstream.entry, "type": "http"},
        "type sse with command": {**upstream.entry, "type": "sse"},
        "command and url": {**upstream.entry, **_REMOTE},
        "type ws": {"type": "ws", "url": "ws://127.0.0.1:9/mcp"},
        "type ws, disabled": {"type": "ws", "url": "ws://127.0.0.1:9/mcp", "enabled": False},
    }
    await workbench.run_cases(
        *(
            partial(
                must_refuse_to_start,
                workbench,
                what,
                workbench.config(upstream.with_entry({"description": "wrong", **entry})),
            )
            for what, entry in wrong.items()
        )
    )
    upstream.must_not_have_started()
    with workbench.must("command selects stdio"):
        await must_work(workbench, upstream, config=workbench.config(upstream))
    bare, typed = (await workbench.http("bare")).variant("type"), await workbench.http("typed")
    older = [await workbench.sse("older")] if workbench.has("SSE") else []
    first = [(bare, "POST"), (typed, "POST"), *((one, "GET") for one in older)]
    async with workbench.proxy(bare, typed.variant(type="http"), *older) as proxy:
        await proxy.handshake()
        for remote, verb in first:
            await _must_begin_with(workbench, proxy, remote, verb)


async def _must_begin_with(workbench: Workbench, proxy: Proxy, remote: RemoteMockUpstream, verb: str) -> None:
    await proxy.tools_of(remote.name)  # wakes a lazy proxy
    what = f"a request reaches the upstream of the {remote.name} entry"
    await workbench.eventually(lambda: remote.verbs, within=5.0, what=what)
    first = next(request for request in remote.http if not request.is_probe)
    workbench.expect(first.method == verb, f"the {remote.name} entry begins with {verb}", first)
