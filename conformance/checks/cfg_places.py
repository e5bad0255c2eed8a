"""CFG, OPS: where a server and its configuration are: commands, working directories, `~`, and scripts without `#!`."""

from __future__ import annotations

import os
import shlex
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from conformance.checks import check
from conformance.checks.cfg import CONFIG_VARIABLE
from conformance.checks.common import must_be_callable, must_be_usable, must_sign_in, must_work
from conformance.errors import NotApplicable
from mock_servers.oauth_script import OAuth

if TYPE_CHECKING:
    from conformance.workbench.mocks import StdioMockUpstream
    from conformance.workbench.workbench import Workbench

WITH_INTERPRETER = "#!/bin/sh\n"


def program(workbench: Workbench, name: str, place: Path, begin: str = WITH_INTERPRETER) -> StdioMockUpstream:
    """An upstream whose command is the path of a shell script that begins with `begin` and runs a mock."""
    upstream = workbench.stdio(name)
    entry = upstream.entry
    if "command" not in entry:
        raise NotApplicable("its servers are behind URLs, so it starts none")
    words = shlex.join([entry["command"], *entry["args"]])
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(f'{begin}exec {words} "$@"\n')
    place.chmod(0o755)
    return upstream.variant(command=str(place), args=[])


def _is_same(folder: str, other: Path) -> bool:
    return os.path.realpath(folder) == os.path.realpath(other)


@check("CFG-030")
async def var_expands_in_command(workbench: Workbench) -> None:
    tools = workbench.sandbox.root / "tools"
    whole, part = (
        program(workbench, "whole", tools / "server"),
        program(workbench, "part", tools / "b" / "server"),
    )
    upstreams = [whole.variant(command="${SERVER}"), part.variant(command="${TOOLS}/b/server")]
    variables = {"SERVER": str(tools / "server"), "TOOLS": str(tools)}
    async with workbench.proxy(*upstreams, env=variables) as proxy:
        await proxy.handshake()
        for upstream in upstreams:
            with workbench.case(upstream.entry["command"]):
                await must_be_usable(workbench, proxy, upstream)


@check("CFG-031", timeout=30)
async def var_expands_in_oauth_scopes(workbench: Workbench) -> None:
    upstream = await workbench.oauth("a", OAuth(), oauth_scopes=["plain", "${FIRST}", "team:${SECOND}"])
    browser = workbench.browser()
    async with workbench.proxy(upstream, env={"FIRST": "read write", "SECOND": "blue"}) as proxy:
        await proxy.handshake()
        await proxy.wake("a")
        page = await browser.opened()
        scopes = page.params.get("scope", "").split(" ")
        wanted = {"plain", "read", "write", "team:blue"}
        workbench.expect({*scopes} == wanted and len(scopes) == 4, f"the scopes {sorted(wanted)}", page)
        await must_sign_in(workbench, proxy, upstream)


@check("CFG-032")
async def a_tilde_in_a_command_is_the_home_folder(workbench: Workbench) -> None:
    upstream = program(workbench, "a", workbench.sandbox.home / "bin" / "server")
    async with workbench.proxy(upstream.variant(command="~/bin/server", args=["~/x"])) as proxy:
        await proxy.handshake()
        await must_be_usable(workbench, proxy, upstream)
    args = upstream.starts[-1].args
    workbench.expect(args == ["~/x"], "an argument keeps its ~", args)


@check("CFG-033", timeout=30)
async def a_tilde_in_the_path_of_the_configuration_is_the_home_folder(workbench: Workbench) -> None:
    upstream = workbench.stdio("a")
    workbench.config(upstream, folder=workbench.sandbox.home / "mcp", name="servers.json")
    path = "~/mcp/servers.json"
    with workbench.case("as the argument"), workbench.must("the proxy finds the file"):
        await must_work(workbench, upstream, config=Path(path))
    with workbench.case("in the variable"), workbench.must("the proxy finds the file"):
        await must_work(workbench, upstream, args=[], env={CONFIG_VARIABLE: path})


@check("CFG-034")
async def cwd_is_the_folder_of_the_server(workbench: Workbench) -> None:
    folder = workbench.sandbox.configs / "project"
    elsewhere = workbench.sandbox.root / "elsewhere"
    near = folder / "tools"
    at_home = workbench.sandbox.home / "notes"
    for made in (near, elsewhere, at_home):
        made.mkdir(parents=True)
    relative = program(workbench, "relative", near / "server").variant(command="./server", cwd="tools")
    places = [
        (workbench.stdio("absolute", cwd=str(elsewhere)), elsewhere),
        (relative, near),
        (workbench.stdio("variable", cwd="${PLACE}"), elsewhere),
        (workbench.stdio("home", cwd="~/notes"), at_home),
        (workbench.stdio("without"), workbench.sandbox.cwd),
    ]
    config = workbench.config(*(upstream for upstream, _ in places), folder=folder)
    async with workbench.proxy(config=config, env={"PLACE": str(elsewhere)}) as proxy:
        with workbench.must("the proxy accepts cwd"):
            await proxy.handshake()
        await workbench.run_cases(
            *(partial(must_be_usable, workbench, proxy, upstream) for upstream, _ in places)
        )
    for upstream, place in places:
        cwd = upstream.starts[-1].cwd
        with workbench.case(upstream.name):
            workbench.expect(_is_same(cwd, place), f"it starts in {place}", cwd)


@check("CFG-035")
async def a_cwd_that_does_not_exist_is_an_error_that_names_it(workbench: Workbench) -> None:
    missing = workbench.sandbox.root / "no-such-folder"
    file = workbench.sandbox.root / "a-file"
    file.write_text("")
    places = {"missing": missing, "file": file}
    upstreams = [workbench.stdio(name, cwd=str(place)) for name, place in places.items()]
    good = workbench.stdio("good")
    async with workbench.proxy(*upstreams, good) as proxy:
        with workbench.must("the proxy accepts cwd"):
            await proxy.handshake()
        await must_be_usable(workbench, proxy, good)
        for upstream in upstreams:
            with workbench.case(upstream.name):
                answer = await proxy.tools_of(upstream.name)
                workbench.expect(answer.is_error, "an error about its group", answer.raw)
                place = places[upstream.name]
                workbench.expect(place.name in str(answer.raw), f"the error names {place.name}", answer.raw)
                upstream.must_not_have_started()
        await must_be_callable(workbench, proxy, good)


@check("CFG-036", timeout=30)
async def a_changed_cwd_starts_the_server_anew(workbench: Workbench) -> None:
    before, after = workbench.sandbox.root / "before", workbench.sandbox.root / "after"
    before.mkdir()
    after.mkdir()
    moved, other = workbench.stdio("moved", cwd=str(before)), workbench.stdio("other", cwd=str(before))
    config = workbench.config(moved, other)
    async with workbench.proxy(config=config) as proxy:
        with workbench.must("the proxy accepts cwd"):
            await proxy.handshake()
        await proxy.ready(moved, other)
        workbench.save(config, moved.variant(cwd=str(after)), other)
        starts = await workbench.eventually(
            lambda: moved.starts[1:], within=10.0, what="the server whose cwd changed starts again"
        )
        cwd = starts[0].cwd
        workbench.expect(_is_same(cwd, after), f"the new start is in {after}", cwd)
        await must_be_callable(workbench, proxy, moved)
        await must_be_callable(workbench, proxy, other)
    workbench.one(other.starts, "the other server starts once")


@check("OPS-040")
async def a_script_without_an_interpreter_line_runs(workbench: Workbench) -> None:
    tools = workbench.sandbox.root / "tools"
    upstreams = [
        program(workbench, "path", tools / "by-path", begin=""),
        program(workbench, "comment", tools / "commented", begin="# starts the server\n\n"),
        program(workbench, "found", tools / "found-on-path", begin="").variant(command="found-on-path"),
    ]
    path = os.pathsep.join([str(tools), os.environ.get("PATH", os.defpath)])
    async with workbench.proxy(*upstreams, env={"PATH": path}) as proxy:
        await proxy.handshake()
        for upstream in upstreams:
            with workbench.case(upstream.name):
                await must_be_usable(workbench, proxy, upstream)
