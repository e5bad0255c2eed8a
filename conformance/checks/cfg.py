"""CFG: the configuration file, its fields and ${VAR} expansion.

A refusal proves nothing about a program that refuses everything, nor does silence about one that never starts
anything. So every check of that kind has a witness: the valid twin of the same configuration has to work.
"""

from __future__ import annotations

import json
import re
import stat
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conformance.checks import check
from mock_servers.script import Script, on_call, silence, sleep

if TYPE_CHECKING:
    from conformance.workbench import Proxy, StdioUpstream, Workbench

CONFIG_VARIABLE = "DYNAMIC_MCP_CONFIG"


async def works(bench: Workbench, upstream: StdioUpstream, **start: Any) -> None:
    """The implementation, started like this, makes the upstream's tools available."""
    async with bench.proxy(**start) as proxy:
        await proxy.handshake()
        await proxy.ready(upstream)


async def refuses(bench: Workbench, what: str, config: Path, mentioning: str | None = None) -> None:
    """The implementation, started with this configuration, ends with an explanation."""
    outcome = await bench.run_to_exit(config=config)
    with bench.case(what):
        outcome.refused(mentioning)


async def start_with(bench: Workbench, upstream: StdioUpstream, env: dict[str, str]) -> tuple[list[str], str]:
    """The arguments that the upstream is started with, and what the implementation has written to stderr."""
    async with bench.proxy(upstream, env=env) as proxy:
        await proxy.handshake()
        await proxy.ready(upstream)
    return upstream.starts[-1].args, proxy.stderr


@check("CFG-001", timeout=30)
async def without_a_named_configuration_the_proxy_refuses_to_start(bench: Workbench) -> None:
    """Started bare among configurations in all the tempting places, the proxy explains its usage and starts
    nothing.
    """
    places = [
        bench.sandbox.cwd / "config.json",
        bench.sandbox.cwd / "dynamic-mcp.json",
        bench.sandbox.home / ".dynamic-mcp" / "config.json",
        bench.sandbox.home / ".config" / "dynamic-mcp" / "config.json",
    ]
    decoys = [bench.stdio(f"decoy{number}") for number, _ in enumerate(places)]
    for decoy, place in zip(decoys, places, strict=True):
        bench.config(decoy, folder=place.parent, name=place.name)
    (await bench.run_to_exit(args=[])).refused("usage|config")
    for decoy in decoys:
        decoy.was_never_started()
    with bench.witness("a decoy works when it is named"):
        await works(bench, decoys[0], config=places[0])


@check("CFG-002", timeout=30)
async def the_argument_beats_the_environment(bench: Workbench) -> None:
    """With one file named by the argument and another by the variable, only the first one's upstream ever
    starts.
    """
    chosen, other = bench.stdio("chosen"), bench.stdio("other")
    other_config = bench.config(other)
    async with bench.proxy(chosen, env={CONFIG_VARIABLE: str(other_config)}) as proxy:
        await proxy.handshake()
        with bench.must("the file named by the argument is loaded"):
            await proxy.ready(chosen)
        await bench.throughout(3.0, other.was_never_started)
        groups = await proxy.groups()
        bench.expect("other" not in groups, "no group of the file named by the variable", groups)
    with bench.witness("the other file works when the argument names it"):
        await works(bench, other, config=other_config)


@check("CFG-003", timeout=30)
async def the_environment_variable_alone_is_enough_unless_it_is_empty(bench: Workbench) -> None:
    """Named by the variable alone a file is loaded; an empty variable is no name, and the start fails."""
    upstream = bench.stdio("a")
    config = bench.config(upstream)
    with bench.must("the file named by the variable is loaded"):
        await works(bench, upstream, args=[], env={CONFIG_VARIABLE: str(config)})
    with bench.case("the variable is empty"):
        (await bench.run_to_exit(args=[], env={CONFIG_VARIABLE: ""})).refused("usage|config")


@check("CFG-004", timeout=40)
async def any_path_the_operating_system_can_open_is_accepted(bench: Workbench) -> None:
    """Relative, with spaces, with other letters, through a link, without .json: each starts its upstream."""
    upstreams = [bench.stdio(f"a{number}") for number in range(6)]
    plain, near, spaced, foreign, linked, bare = upstreams
    with bench.witness("an absolute path of plain letters works"):
        await works(bench, plain, config=bench.config(plain))
    link = bench.sandbox.configs / "link.json"
    link.symlink_to(bench.config(linked))
    paths = {
        "a relative path": (near, Path("..") / bench.config(near).relative_to(bench.sandbox.root)),
        "a path with spaces": (spaced, bench.config(spaced, name="my servers.json")),
        "a path with non-ASCII letters": (foreign, bench.config(foreign, name="Köln-設定.json")),
        "a symbolic link": (linked, link),
        "a name without .json": (bare, bench.config(bare, name="servers.conf")),
    }

    async def loads(what: str, upstream: StdioUpstream, path: Path) -> None:
        with bench.must(f"the proxy loads {what}"):
            await works(bench, upstream, config=path)

    await bench.together(*(partial(loads, what, *pair) for what, pair in paths.items()))


@check("CFG-005", timeout=30)
async def a_file_that_is_not_json_ends_the_start(bench: Workbench) -> None:
    """Whatever is no JSON object ends the start with an explanation, before any upstream is contacted."""
    # grows with the HTTP mock: the truncated file names a remote upstream too, which counts no request
    upstream = bench.stdio("a")
    valid = bench.config(upstream)
    text = valid.read_bytes().rstrip()
    broken = {
        "a stray brace": b"{bad",
        "an empty file": b"",
        "an array": b"[]",
        "a truncated configuration": text[:-1],
        "invalid UTF-8": text.replace(b"The a upstream", b"The \xff upstream"),
    }
    await bench.together(
        *(partial(refuses, bench, what, bench.config_text(content)) for what, content in broken.items())
    )
    upstream.was_never_started()
    with bench.witness("the whole configuration works"):
        await works(bench, upstream, config=valid)


@check("CFG-006", timeout=30)
async def a_server_entry_without_its_required_fields_is_rejected(bench: Workbench) -> None:
    """An entry without description, or with neither command nor url, ends the start; the message names the
    field.
    """
    upstream = bench.stdio("a")
    remote = json.dumps({"mcpServers": {"b": {"url": "http://127.0.0.1:9/mcp"}}})
    await bench.together(
        partial(refuses, bench, "no description", bench.config(upstream.but("description")), "description"),
        partial(refuses, bench, "url, no description", bench.config_text(remote), "description"),
        partial(
            refuses, bench, "no command, no url", bench.config(upstream.but("command", "args")), "command|url"
        ),
    )
    upstream.was_never_started()
    with bench.witness("the complete entry works"):
        await works(bench, upstream, config=bench.config(upstream))


@check("CFG-007", timeout=30)
async def unknown_fields_are_rejected_at_every_level(bench: Workbench) -> None:
    """One misspelt key at any of the four levels ends the start and is named; `$schema` at the root is
    welcome.
    """
    upstream = bench.stdio("a")
    misspelt = {
        "mcpServerz": bench.config(upstream, extra={"mcpServerz": {}}),
        "enabeld": bench.config(upstream.but(enabeld=True)),
        "toolz": bench.config(upstream.but(features={"toolz": True})),
        "resorces": bench.config(upstream.but(timeout={"resorces": "5s"})),
    }
    await bench.together(
        *(partial(refuses, bench, f"the key {key}", config, key) for key, config in misspelt.items())
    )
    upstream.was_never_started()
    with bench.witness("the same entry works when nothing is misspelt"):
        right = upstream.but(enabled=True, features={"tools": True}, timeout={"resources": "5s"})
        await works(bench, upstream, config=bench.config(right))
    with bench.must("$schema at the root is allowed"):
        schema = {"$schema": "https://example.invalid/config-schema.json"}
        await works(bench, upstream, config=bench.config(upstream, extra=schema))


@check("CFG-008", timeout=30)
async def the_fields_of_an_entry_select_its_transport(bench: Workbench) -> None:
    """`command` selects stdio; types that contradict the entry or do not exist end the start."""
    # grows with the HTTP mock: url alone and type "http" begin with a POST, type "sse" begins with a GET
    upstream = bench.stdio("a")
    wrong = {
        "type stdio with url": {"type": "stdio", "url": "http://127.0.0.1:9/mcp"},
        "type http with command": {**upstream.entry, "type": "http"},
        "type ws": {"type": "ws", "url": "ws://127.0.0.1:9/mcp"},
    }
    await bench.together(
        *(
            partial(refuses, bench, what, bench.config(upstream.exactly({"description": "wrong", **entry})))
            for what, entry in wrong.items()
        )
    )
    upstream.was_never_started()
    with bench.must("command selects stdio"):
        await works(bench, upstream, config=bench.config(upstream))


@check("CFG-009")
async def var_expands_in_every_documented_place(bench: Workbench) -> None:
    """References inside longer strings of args and env arrive as values, each as often as it occurs."""
    # grows with the HTTP mock: url, headers and oauth_client_id
    mixed = "pre-${FIRST}-mid-${SECOND}"
    upstream = bench.stdio("a", args=[mixed, "${FIRST}", "${FIRST}${FIRST}/x"], env={"MIXED": mixed})
    args, _ = await start_with(bench, upstream, {"FIRST": "VAL", "SECOND": "VAL2"})
    bench.expect(args == ["pre-VAL-mid-VAL2", "VAL", "VALVAL/x"], "every reference in args is expanded", args)
    value = upstream.starts[-1].env.get("MIXED")
    bench.expect(value == "pre-VAL-mid-VAL2", "every reference in a value of env is expanded", value)


@check("CFG-010")
async def no_other_expansion_syntax_exists(bench: Workbench) -> None:
    """Everything that is not exactly ${NAME} reaches the upstream byte for byte, and no command is run."""
    marker = bench.sandbox.root / "marker"
    literals = ["$VAR", "%VAR%", "~", "~/x", "$(touch " + str(marker) + ")", f"`touch {marker}`", "$$", "*"]
    literals += ["${}", "${1X}", "${VAR:-default}", "${VAR", "$ {VAR}", "#{VAR}"]
    upstream = bench.stdio("a", args=literals, env={"MIXED": " ".join(literals)})
    args, _ = await start_with(bench, upstream, {"VAR": "value", "1X": "value"})
    bench.expect(args == literals, f"the arguments are the literals {literals}", args)
    value = upstream.starts[-1].env.get("MIXED")
    bench.expect(value == " ".join(literals), "the value of env is the literals too", value)
    bench.expect(not marker.exists(), "no command in the configuration is run", f"{marker} exists")


@check("CFG-011", timeout=30)
async def an_undefined_variable_stays_literal_and_is_warned_about(bench: Workbench) -> None:
    """References to an unset variable arrive literally; stderr names the variable, and nothing that stands
    around it.
    """
    # grows with the HTTP mock: a header
    upstream = bench.stdio("a", args=["canary-${NOPE_X}"], env={"MIXED": "canary-${NOPE_X}"})
    neighbour = bench.stdio("b")
    async with bench.proxy(upstream, neighbour) as proxy:
        with bench.must("the start goes on"):
            await proxy.handshake()
            await proxy.ready(upstream, neighbour)
        start = upstream.starts[-1]
        bench.expect(start.args == ["canary-${NOPE_X}"], "the argument is literal", start.args)
        value = start.env.get("MIXED")
        bench.expect(value == "canary-${NOPE_X}", "the environment value is literal", value)
        what = "stderr names the undefined variable NOPE_X"
        await bench.eventually(lambda: _seen("NOPE_X", proxy.stderr), within=3.0, what=what)
    bench.expect("canary" not in proxy.stderr, "the warning shows no value, only the name", proxy.stderr)
    bench.expect(not proxy.junk, "only JSON messages on stdout", proxy.junk)


def _seen(name: str, stderr: str) -> re.Match[str] | None:
    return re.search(rf"\b{name}\b", stderr)


@check("CFG-012")
async def empty_is_a_value_and_names_are_case_sensitive(bench: Workbench) -> None:
    """A variable that is set but empty expands to nothing, without a warning; ${foo} is not ${FOO}."""
    upstream = bench.stdio("a", args=["${SET_EMPTY}x${SET_EMPTY}", "${foo_case}"])
    args, stderr = await start_with(bench, upstream, {"SET_EMPTY": "", "FOO_CASE": "wrong"})
    bench.expect(args[:1] == ["x"], "${SET_EMPTY}x${SET_EMPTY} arrives as x", args)
    bench.expect(args[1:] == ["${foo_case}"], "${foo_case} arrives literally when only FOO_CASE is set", args)
    bench.expect(not _seen("SET_EMPTY", stderr), "no warning about the empty variable", stderr)


@check("CFG-013")
async def expansion_works_on_parsed_values_and_only_once(bench: Workbench) -> None:
    """A value full of JSON syntax and references arrives as one argument, exactly as it is."""
    value = 'a","b\\\n${HOME}\\"}'
    upstream = bench.stdio("a", args=["${VALUE}", "${OUTER}"], env={"COPY": "${VALUE}"})
    with bench.must("a value cannot break the configuration"):
        args, _ = await start_with(bench, upstream, {"VALUE": value, "OUTER": "${INNER}", "INNER": "twice"})
    bench.expect(args == [value, "${INNER}"], f"two arguments, {value!r} and '${{INNER}}'", args)
    copy = upstream.starts[-1].env.get("COPY")
    bench.expect(copy == value, f"the environment value {value!r}", copy)


@check("CFG-014", slow=True, timeout=60)
async def a_disabled_server_is_left_alone(bench: Workbench) -> None:
    """For 35 s, the periodic retry included, a disabled upstream is not started and named nowhere."""
    # grows with the HTTP mock: a disabled remote upstream counts no request
    disabled, enabled = bench.stdio("sleeper"), bench.stdio("worker")
    async with bench.proxy(disabled.but(enabled=False), enabled) as proxy:
        await proxy.handshake()
        await proxy.ready(enabled)
        await bench.throughout(35.0, disabled.was_never_started)
        for method in ("tools/list", "resources/list", "prompts/list"):
            listing = await proxy.request(method, {})
            bench.expect("sleeper" not in listing.raw, f"{method} does not name the server", listing.raw)
        result = await proxy.call("worker", "echo", {"x": 1})
        bench.expect(not result.is_error, "the enabled server beside it works", result.raw)
        disabled.was_never_started()
    with bench.witness("the same entry works when it is enabled"):
        await works(bench, disabled, config=bench.config(disabled))


RESOURCE = "mock://one"
EVERYTHING = Script(
    resources=[{"uri": RESOURCE, "name": "one"}], prompts=[{"name": "greet", "description": "Greet"}]
)


@check("CFG-015", timeout=40)
async def a_feature_flag_switches_a_feature_off_on_both_sides(bench: Workbench) -> None:
    """What is switched off is never asked of the upstream and is an error at the proxy; what is not, works."""
    # grows with the HTTP mock: the same flags on a remote upstream
    no_tools = bench.stdio("notools", features={"tools": False})
    no_resources = bench.stdio("noresources", EVERYTHING, features={"resources": False})
    async with bench.proxy(no_tools, no_resources) as proxy:
        await proxy.handshake()
        await proxy.ready(no_resources)
        await _is_connected(bench, proxy, no_tools)
        for _ in range(2):
            refused = await proxy.call("notools", "echo", {"x": 1})
            bench.expect(refused.is_error, "calling a tool of a group without tools is an error", refused.raw)
        asked = [line for line in no_tools.lines if '"tools/' in line]
        bench.expect(not asked, "no request about tools reaches the upstream", asked)

        called = await proxy.call("noresources", "echo", {"x": 1})
        bench.expect(not called.is_error, "tools work when only resources are off", called.raw)
        for method, params in {"resources/list": {}, "resources/read": {"uri": RESOURCE}}.items():
            answer = await proxy.request(method, {"group": "noresources", **params})
            what = f"{method} is an error for a group without resources"
            bench.expect(answer.is_error, what, answer.raw)
        asked = [line for line in no_resources.lines if '"resources/' in line]
        bench.expect(not asked, "no request about resources reaches the upstream", asked)
        # A proxy that passes on no prompts at all has nothing that the flag could have left on.
        if "prompts" in _capabilities(proxy):
            prompts = await proxy.request("prompts/list", {"group": "noresources"})
            bench.expect("greet" in prompts.raw, "prompts work when only resources are off", prompts.raw)


async def _is_connected(bench: Workbench, proxy: Proxy, upstream: StdioUpstream) -> None:
    """Wait until an upstream whose tools are off has answered, so that an error is not about its absence."""
    await proxy.tools_of(upstream.name)  # wakes a lazy proxy
    with bench.witness("the upstream without tools is connected"):
        answered = f"{upstream.name} has answered the first request"
        await bench.eventually(
            lambda: [entry for entry in upstream.entries if entry.event == "sent"], within=10.0, what=answered
        )


def _capabilities(proxy: Proxy) -> dict[str, Any]:
    assert proxy.greeting is not None
    capabilities = proxy.greeting.result.get("capabilities")
    return capabilities if isinstance(capabilities, dict) else {}


@check("CFG-016", timeout=40)
async def timeouts_accept_four_text_forms_and_whole_seconds(bench: Workbench) -> None:
    """A silent upstream is cut at the configured time, an answer within it is not, nonsense ends the start."""
    await _nonsense_is_refused(bench)
    hanging = Script(on=[on_call("echo", silence())])
    answering = Script(on=[on_call("echo", sleep(0.6))])
    cut = {"t1500ms": ("1500ms", 1.5), "t2": (2, 2.0)}
    kept = {"t5s": "5s", "t1min": "1min", "t2m": "2m"}
    forms = {"resources": "500ms", "prompts": "1min"}
    slow = [bench.stdio(name, hanging, timeout={"tools": text, **forms}) for name, (text, _) in cut.items()]
    good = [bench.stdio(name, answering, timeout={"tools": text, **forms}) for name, text in kept.items()]
    async with bench.proxy(*slow, *good) as proxy:
        with bench.must("every documented form is accepted"):
            await proxy.handshake()
            await proxy.ready(*slow, *good)
        await bench.together(
            *(partial(_is_cut, bench, proxy, upstream, *cut[upstream.name]) for upstream in slow),
            *(partial(_is_kept, bench, proxy, upstream) for upstream in good),
        )


async def _nonsense_is_refused(bench: Workbench) -> None:
    upstream = bench.stdio("a")
    nonsense: list[tuple[str, Any]] = [("tools", value) for value in ("abc", -1, True, "5 parsecs", "")]
    nonsense += [("resources", "abc"), ("prompts", "abc")]
    await bench.together(
        *(
            partial(refuses, bench, f"{kind}: {value!r}", bench.config(upstream.but(timeout={kind: value})))
            for kind, value in nonsense
        )
    )
    upstream.was_never_started()


async def _is_cut(
    bench: Workbench, proxy: Proxy, upstream: StdioUpstream, value: Any, seconds: float
) -> None:
    """Not before the time has passed since the call, not long after it has passed since the call's arrival.

    The tool never answers, so any answer is the proxy's own; how it words a timeout is not judged here.
    """
    sent = time.monotonic()
    answer = await proxy.call(upstream.name, "echo", within=seconds + 10)
    arrived = upstream.requests("tools/call")
    bench.expect(arrived, f"timeout {value!r}: the call reaches the upstream", upstream.lines)
    after_sending, after_arrival = answer.t - sent, answer.t - arrived[-1].t
    bench.expect(after_sending >= seconds - 0.1, f"{value!r} waits {seconds} s", f"{after_sending:.2f} s")
    bench.expect(
        after_arrival <= seconds + 2.5, f"{value!r} ends the call after {seconds} s", f"{after_arrival:.2f} s"
    )


async def _is_kept(bench: Workbench, proxy: Proxy, upstream: StdioUpstream) -> None:
    answer = await proxy.call(upstream.name, "echo", {"x": 1})
    what = f"timeout {upstream.entry['timeout']['tools']!r}: an answer after 0.6 s is passed on"
    bench.expect(not answer.is_error, what, answer.raw)


@check("CFG-017", slow=True, timeout=40)
async def the_configuration_file_is_only_read(bench: Workbench) -> None:
    """For 10 s of work, a configuration of mode 0644 keeps its content, mode and time, and gets no
    neighbours.
    """
    # grows with the authorization server: an OAuth flow
    upstream = bench.stdio("a")
    config = bench.config(upstream)
    config.chmod(0o644)
    before = _state_of(config)

    def is_unchanged() -> None:
        now = _state_of(config)
        bench.expect(now == before, f"the file stays {before}", now)

    async with bench.proxy(config=config) as proxy:
        with bench.must("a file of mode 0644 is accepted"):
            await proxy.handshake()
            await proxy.ready(upstream)
        result = await proxy.call("a", "echo", {"x": 1})
        bench.expect(not result.is_error, "a call works", result.raw)
        await bench.throughout(10.0, is_unchanged)
    is_unchanged()


def _state_of(config: Path) -> tuple[str, int, bytes, list[str]]:
    status = config.stat()
    neighbours = sorted(entry.name for entry in config.parent.iterdir())
    return stat.filemode(status.st_mode), status.st_mtime_ns, config.read_bytes(), neighbours
